/**
 * The instruction decoder: bytes -> Insn (SDM vol.2 chapter 2). All tables come from the rows: which row bytes belong
 * to (decode-forms.ts) and what its operands are (decode-operands.ts); the bytes are read by `Scan`.
 */
import { type Form, FormTable, type Node, nodeIndex, vexIndex } from './decode-forms.ts';
import { memRefOf } from './decode-operands.ts';
import type { CodeMode, DecodeFailure, Insn, OperandValue } from './insn.ts';
import type { Row } from './row.ts';
import { Scan } from './scan.ts';

export { MAX_LENGTH } from './scan.ts';

export interface Decoder {
  /**
   * Decodes the instruction at `bytes[at]`, reading nothing at or behind `end`. A failure is a value: `truncated`
   * when more bytes than `end - at` are needed to tell, `too-long` (#GP) above 15 bytes, `ud` (#UD) otherwise.
   */
  decode(bytes: Uint8Array, at: number, end: number, mode: CodeMode): Insn | DecodeFailure;
  /** The same without an object for the instruction: it is in `found` until something else is decoded. */
  scan(bytes: Uint8Array, at: number, end: number, mode: CodeMode): DecodeFailure | undefined;
  readonly found: Scan;
  /** The instruction in `found` as an object. */
  insn(): Insn;
  /** Encodings that two rows claim with equal right; empty for a sound set of rows. */
  readonly conflicts: readonly string[];
}

const UD: DecodeFailure = { failure: 'ud' };
const TOO_LONG: DecodeFailure = { failure: 'too-long' };
const TRUNCATED: DecodeFailure = { failure: 'truncated' };

/** Map after an 0F escape: 0F 38 and 0F 3A have their own. */
const escapeMap = (byte: number): 1 | 2 | 3 => (byte === 0x38 ? 2 : byte === 0x3a ? 3 : 1);

function byRexB(form: Form, s: Scan): Form | undefined {
  if (!s.hasRexB) return form;
  return form.withRexB === 'none' ? undefined : form.withRexB;
}

function choose(node: Node, s: Scan): Form | undefined {
  const { only, choices } = node;
  if (only) {
    if (only.modrm) s.modrm = s.u8();
    return only.withRexB === undefined ? only : byRexB(only, s);
  }
  if (!choices) return undefined;
  s.modrm = s.u8();
  const form = choices[choices.length === 256 ? s.modrm : ((s.modrm >> 2) & 14) | (s.modrm >= 0xc0 ? 1 : 0)];
  return form?.withRexB === undefined ? form : byRexB(form, s);
}

/** How F3 or F2 (`repeat`; 0 for none) repeats the row. */
export function repeatOf(row: Row, repeat: number): Insn['rep'] {
  if (repeat === 0 || row.rep === undefined) return 'none';
  return repeat === 0xf3 || row.rep === 'plain' ? 'rep' : 'repne';
}

function insnOf(s: Scan): Insn {
  const { row, operands: forms } = s.form;
  const operands = new Array<OperandValue>(forms.length);
  for (let i = 0; i < forms.length; i++) operands[i] = forms[i]!.value(s, i);
  return {
    row,
    length: s.length,
    w: s.w,
    asize: s.asize,
    mode: s.mode,
    operands,
    mem: s.hasMem ? memRefOf(s) : undefined,
    modrm: s.modrm,
    opcode: s.opcode,
    lock: s.lock,
    rep: repeatOf(row, s.repeat),
    seg: s.seg,
  };
}

class TableDecoder implements Decoder {
  readonly found = new Scan();
  private readonly forms: FormTable;

  /** @throws Error when a row's notation makes no sense */
  constructor(rows: readonly Row[]) {
    this.forms = new FormTable(rows);
  }
  get conflicts(): readonly string[] {
    return this.forms.conflicts();
  }

  decode(bytes: Uint8Array, at: number, end: number, mode: CodeMode): Insn | DecodeFailure {
    return this.scan(bytes, at, end, mode) ?? insnOf(this.found);
  }
  insn(): Insn {
    return insnOf(this.found);
  }

  scan(bytes: Uint8Array, at: number, end: number, mode: CodeMode): DecodeFailure | undefined {
    const s = this.found;
    s.begin(bytes, at, end, mode);
    const index = this.opcode(s);
    const node = index < 0 || s.isPastEnd ? undefined : this.forms.node(index);
    const form = node && choose(node, s);
    if (s.isPastEnd) return s.isEndOfLongest ? TOO_LONG : TRUNCATED;
    if (!form || (s.vexMap !== 0 && !form.usesVvvv && !s.vvvvFree)) return UD;
    s.form = form;
    s.sizes(form);
    if (form.modrm && s.modrm < 0xc0 && !form.registerOnly) s.memory(form.vsib);
    const { checked, taking } = form;
    for (let i = 0; i < checked.length; i++) if (checked[i]!.isInvalid!(s)) return UD;
    for (let i = 0; i < taking.length; i++) s.take(form.operands[taking[i]!]!.take, taking[i]!);
    if (s.isPastEnd) return s.isEndOfLongest ? TOO_LONG : TRUNCATED;
    s.finish();
    return s.lock && !(form.lockable && s.hasMem) ? UD : undefined;
  }

  /** Reads prefixes and opcode. Returns the index of the node; negative when a VEX prefix is not valid. */
  private opcode(s: Scan): number {
    let opcode = s.prefixes();
    if (s.startsVex(opcode)) {
      const prefix = s.vexPrefix(opcode);
      if (prefix < 0) return -1;
      s.opcode = s.u8();
      return vexIndex(s.vexMap, s.opcode, s.vexL, s.vexW, prefix, s.long);
    }
    let map = 0;
    if (opcode === 0x0f) {
      opcode = s.u8();
      map = escapeMap(opcode);
      if (map > 1) opcode = s.u8();
    }
    s.opcode = opcode;
    const prefix = s.repeat === 0 ? (s.has66 ? 1 : 0) : s.repeat === 0xf3 ? 2 : 3;
    return nodeIndex(map, opcode, prefix, s.long);
  }
}

/**
 * Makes a decoder for the rows. With `features`, rows of a CPU feature that is not in the set are not there; without,
 * all are. Throws at start-up when a row's notation makes no sense.
 */
export function makeDecoder(rows: readonly Row[], features?: ReadonlySet<string>): Decoder {
  return new TableDecoder(rows.filter((r) => !features || r.feature === undefined || features.has(r.feature)));
}
