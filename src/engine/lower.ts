/** Turns scanned instructions into records: an address-generation record where one is needed, then the row's own. */
import type { Form } from '../isa/decode-forms.ts';
import { isHighByte, type OperandForm, widthIndex } from '../isa/decode-operands.ts';
import type { CodeMode } from '../isa/insn.ts';
import { CPU, REC, SEG } from '../isa/layout.ts';
import type { Operand, Row } from '../isa/row.ts';
import type { Scan } from '../isa/scan.ts';
import type { Fusion } from './fusion.ts';
import {
  AGEN_ALIGNED,
  AGEN_LOG2_SHIFT,
  AGEN_UNIT_SHIFT,
  AGEN_WRITE,
  SPECIAL,
  STACK_NONE,
  UNITS,
} from './interp/special.ts';
import { envIndexOf, isConditionalBranch, memoryOperand, RowShapes } from './shape.ts';

/** Most instructions in one trace. */
export const MAX_TRACE = 64;
/** Most records of one: two an instruction, and what ends it or stands in front of it. */
export const MAX_RECORDS = MAX_TRACE * 2 + 4;

const FILE: Readonly<Record<string, { base: number; stride: number }>> = {
  gpr: { base: CPU.gpr!, stride: 8 },
  xmm: { base: CPU.ymm!, stride: 32 },
  mm: { base: CPU.fpr!, stride: 16 },
};
/** Registers that rows treat by number. */
const BY_NUMBER = { base: 0, stride: 1 };

function slot(o: Operand): number {
  if ('GVPSCD'.includes(o.where)) return REC.A;
  if ('HB'.includes(o.where)) return REC.C;
  if (o.where === 'L') return REC.IMM;
  return o.where === 'K' ? REC.INDEX : REC.B;
}

/** What a field of a record holds of an operand: its register, 64 or 32 bits of what was read for it, or its target. */
type Holds = 'register' | 'u64' | 'u32' | 'target';

/** A field of a record that an operand is written to. */
interface Field {
  readonly holds: Holds;
  readonly operand: number;
  /** Offset in the record. */
  readonly at: number;
  readonly source: number;
  /** Of the file of registers. */
  readonly base: number;
  readonly stride: number;
  readonly isByte: boolean;
  /** Only when there is no memory operand, which takes its place. */
  readonly orMemory: boolean;
}

function fieldOf(form: OperandForm, operand: number, holds: Holds, at: number): Field {
  const { base, stride } = FILE[form.cls] ?? BY_NUMBER;
  const isByte = form.cls === 'gpr' && form.operand.size === 'b';
  return { holds, operand, at, source: form.source, base, stride, isByte, orMemory: form.place === 'either' };
}

/** The fields of a form's operands. Fixed registers and constants are the handler's own; memory has other fields. */
function fieldsOf({ row, operands }: Form): Field[] {
  let immediates = 0;
  return operands.flatMap((form, i): Field[] => {
    switch (form.operand.where) {
      case 'fixed':
        return [];
      case 'I':
        if (row.enc.vex) return [fieldOf(form, i, 'u32', REC.IMM)];
        return [immediates++ === 0 ? fieldOf(form, i, 'u64', REC.IMM) : fieldOf(form, i, 'u32', REC.DISP)];
      case 'J':
        return [fieldOf(form, i, 'target', REC.DISP)];
      case 'A':
        return [fieldOf(form, i, 'u64', REC.IMM)];
      default:
        return form.place === 'mem' ? [] : [fieldOf(form, i, 'register', slot(form.operand))];
    }
  });
}

/** Value of a register field: the offset of the register in the vCPU's state, or its number. */
function registerField(s: Scan, f: Field): number {
  const n = s.register(f.source, f.operand);
  return f.isByte && isHighByte(8, n, s.rex) ? f.base + (n - 4) * f.stride + 1 : f.base + n * f.stride;
}

/** Offset of the segment's base as address computation uses it. */
function segmentField(s: Scan): number {
  const { seg } = s;
  if (!s.long || seg >= SEG.fs) return CPU.seg_base! + seg * 8;
  return seg === SEG.ss ? STACK_NONE : CPU.seg_none!;
}

function agenHandler(s: Scan, bits: boolean): number {
  if (s.long) {
    if (s.asize === 64) return bits ? SPECIAL.agenBitLong64 : SPECIAL.agenLong64;
    return bits ? SPECIAL.agenBitLong32 : SPECIAL.agenLong32;
  }
  if (s.asize === 32) return bits ? SPECIAL.agenBitLegacy32 : SPECIAL.agenLegacy32;
  return bits ? SPECIAL.agenBitLegacy16 : SPECIAL.agenLegacy16;
}

/** Nothing of the trace is executed in sequence after such a row. */
const endsTrace = (row: Row): boolean => (row.ends ?? false) && !isConditionalBranch(row);

/** What the records of a form's instructions have in common. Made when a form is met first. */
class Lowering {
  readonly shapes: RowShapes;
  readonly ends: boolean;
  readonly popsFirst: boolean;
  readonly fields: readonly Field[];
  /** For address generation: widths of the memory operand, what of AGEN is the row's, register of the bit offset. */
  readonly memory: OperandForm | undefined;
  readonly agenInfo: number;
  readonly bitField: Field | undefined;

  constructor(form: Form, rowId: number) {
    const { row, operands } = form;
    this.shapes = new RowShapes(row, rowId);
    this.ends = endsTrace(row);
    this.popsFirst = row.popsFirst ?? false;
    this.fields = fieldsOf(form);
    const memory = memoryOperand(row);
    this.memory = operands.find((o) => o.operand === memory);
    const unit = row.unit ? (UNITS.indexOf(row.unit) + 1) << AGEN_UNIT_SHIFT : 0;
    this.agenInfo = (memory?.write ? AGEN_WRITE : 0) | unit | (row.aligned ? AGEN_ALIGNED : 0);
    this.bitField = row.bitOffset ? this.fields.find((f) => f.operand === 1 && f.holds === 'register') : undefined;
  }
}

/** Fields of a special record that are not 0. `disp` is relative to page_base, `a` as the handler defines it. */
export interface SpecialFields {
  readonly disp?: number;
  readonly a?: number;
}

/**
 * Writes the records of one trace, apart from where they will lie: how much room they take is known at the end only.
 * What is in them depends on their place in the page of code, not on their own.
 */
export class RecordWriter {
  private readonly rowIds: ReadonlyMap<Row, number>;
  /** Table index by shape key, 0 where there is none. */
  private readonly handlers: Uint16Array;
  private readonly fusion: Fusion;
  private readonly lowerings: (Lowering | undefined)[] = [];
  private readonly bytes = new Uint8Array(MAX_RECORDS * REC.SIZE);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly words = new Int32Array(this.bytes.buffer);
  private mode: CodeMode | undefined;
  /** Place in ENVS of the mode. */
  private env = 0;
  private end = 0;
  /** Instructions written. */
  count = 0;
  /** Heat that records begin with (1-65535): how often they are jumped to before the translator hears of it. */
  heat = 0xffff;
  /** For each, its offset in the page of code and that of its first record behind the trace's start, in bytes. */
  readonly offsets = new Uint16Array(MAX_TRACE);
  readonly starts = new Uint16Array(MAX_TRACE);

  constructor(rowIds: ReadonlyMap<Row, number>, handlers: Uint16Array, fusion: Fusion) {
    this.rowIds = rowIds;
    this.handlers = handlers;
    this.fusion = fusion;
  }

  /** Begins a trace of code of a mode. */
  begin(mode: CodeMode): void {
    this.bytes.fill(0, 0, this.end);
    this.end = 0;
    this.count = 0;
    if (mode === this.mode) return;
    this.mode = mode;
    this.env = envIndexOf(mode);
  }
  get records(): number {
    return this.end / REC.SIZE;
  }
  /** Puts the trace's records at an address, which is a multiple of 4, of memory given as words. */
  copyTo(memory: Int32Array, at: number): void {
    const { words } = this;
    const to = at >>> 2;
    const count = this.end >>> 2;
    // Most traces are short: a loop takes less than a view of the part and a call.
    for (let i = 0; i < count; i++) memory[to + i] = words[i]!;
  }

  private lowering(form: Form): Lowering {
    const known = this.lowerings[form.id];
    if (known !== undefined) return known;
    const made = new Lowering(form, this.rowIds.get(form.row)!);
    while (this.lowerings.length <= form.id) this.lowerings.push(undefined);
    this.lowerings[form.id] = made;
    return made;
  }

  private handlerOf(s: Scan, { shapes }: Lowering): number {
    const key = shapes.keyOf(s, this.env);
    const handler = this.handlers[key];
    if (handler) return handler;
    const { row } = shapes;
    throw new Error(`no handler for ${row.name} (${row.enc.text}), shape ${key.toString(16)}`);
  }

  /** Adds a record of zeros but for what all have; returns its offset. */
  private record(handler: number, length: number, offset: number): number {
    const { view, end: at } = this;
    view.setUint16(at + REC.HANDLER, handler, true);
    view.setUint16(at + REC.HEAT, this.heat, true);
    view.setUint8(at + REC.LEN, length);
    view.setUint16(at + REC.OFFSET, offset, true);
    view.setUint16(at + REC.COUNT, this.count, true);
    this.end = at + REC.SIZE;
    return at;
  }

  /** Adds the instruction that was scanned at an offset of the page; true when the trace ends behind it. */
  insn(s: Scan, offset: number): boolean {
    const lowering = this.lowering(s.form);
    const { count } = this;
    this.offsets[count] = offset;
    this.starts[count] = this.end;
    const agen = lowering.shapes.needsAgen(s);
    if (agen) this.agen(s, lowering, offset);
    const handler = this.handlerOf(s, lowering);
    if (count > 0 && !agen) this.fuse(handler);
    const at = this.record(handler, s.length, offset);
    const { view } = this;
    view.setUint16(at + REC.SEG, segmentField(s), true);
    if (agen) {
      view.setUint16(at + REC.BASE, CPU.ea!, true);
      view.setUint16(at + REC.INDEX, CPU.zero!, true);
    } else if (s.hasMem) view.setInt32(at + REC.DISP, this.address(at, s, lowering, offset), true);
    const { fields } = lowering;
    for (let i = 0; i < fields.length; i++) this.field(at, s, fields[i]!, offset);
    this.count = count + 1;
    return lowering.ends;
  }

  /** Gives the instruction written last the handler that carries out the next one, too, if there is one. */
  private fuse(next: number): void {
    const at = this.end - REC.SIZE + REC.HANDLER;
    const fused = this.fusion.handlerOf(this.view.getUint16(at, true), next);
    if (fused !== 0) this.view.setUint16(at, fused, true);
  }

  private field(at: number, s: Scan, f: Field, offset: number): void {
    const { view } = this;
    switch (f.holds) {
      case 'register':
        if (!(f.orMemory && s.hasMem)) view.setUint16(at + f.at, registerField(s, f), true);
        break;
      case 'u64':
        view.setInt32(at + f.at, s.low[f.operand]!, true);
        view.setInt32(at + f.at + 4, s.high[f.operand]!, true);
        break;
      case 'u32':
        view.setInt32(at + f.at, s.low[f.operand]!, true);
        break;
      case 'target':
        view.setInt32(at + f.at, offset + s.length + s.low[f.operand]!, true);
        break;
    }
  }

  /** Writes base, index and scale of the memory operand. Returns the displacement, a safe integer. */
  private address(at: number, s: Scan, { popsFirst }: Lowering, offset: number): number {
    const { view } = this;
    const base = s.ripRelative ? CPU.page_base! : s.base < 0 ? CPU.zero! : CPU.gpr! + s.base * 8;
    view.setUint16(at + REC.BASE, base, true);
    view.setUint16(at + REC.INDEX, s.index < 0 ? CPU.zero! : CPU.gpr! + s.index * 8, true);
    view.setUint8(at + REC.SCALE, s.scale);
    if (s.ripRelative) return s.disp + offset + s.length;
    // POP computes its address with the rSP after the pop (SDM vol.2 POP).
    return popsFirst && s.base === 4 ? s.disp + s.w / 8 : s.disp;
  }

  private agen(s: Scan, lowering: Lowering, offset: number): void {
    const { view } = this;
    const { bitField } = lowering;
    const at = this.record(agenHandler(s, lowering.shapes.bitOffset), s.length, offset);
    const disp = this.address(at, s, lowering, offset);
    view.setUint16(at + REC.SEG, segmentField(s), true);
    view.setInt32(at + REC.IMM, disp, true);
    view.setInt32(at + REC.IMM + 4, s.absolute ? s.dispHigh : disp < 0 ? -1 : 0, true);
    const bytes = Math.max(1, lowering.memory!.widths[widthIndex(s)]! / 8);
    view.setUint16(at + REC.B, bytes | (Math.log2(s.w / 8) << AGEN_LOG2_SHIFT) | lowering.agenInfo, true);
    if (bitField) view.setUint16(at + REC.A, registerField(s, bitField), true);
  }

  /** Adds a record that is no instruction; returns its offset behind the trace's start. */
  special(handler: number, offset: number, fields: SpecialFields = {}): number {
    const at = this.record(handler, 0, offset);
    if (fields.disp !== undefined) this.view.setInt32(at + REC.DISP, fields.disp, true);
    if (fields.a !== undefined) this.view.setUint16(at + REC.A, fields.a, true);
    return at;
  }
}
