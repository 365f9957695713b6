// The architectural state of a machine's vCPU, compared word by word.
import { CPU, CPU_FIELDS, CPU_SIZE } from '../../src/isa/layout.ts';
import type { Machine } from './machine.ts';
import { PAGE } from './places.ts';

/** Fields that are architectural state, or follow from it. The x87 registers and the arithmetic flags come besides. */
const STATE = `gpr rip eflags cpl mode shadow halted irq_pending nmi_pending nmi_blocked exc_depth exc_dr6
  seg_base seg_limit seg_attr seg_sel gdtr_base gdtr_limit idtr_base idtr_limit
  cr0 cr2 cr3 cr4 cr8 xcr0 xcr0_mask dr pdpte efer star lstar cstar fmask kernel_gs_base
  sysenter_cs sysenter_esp sysenter_eip tsc_aux pat tsc_offset misc_enable feature_control xss debugctl apic_base
  mtrr_def_type mtrr_phys mtrr_fix ymm mxcsr fcw fsw ftop fempty fop fip fdp fcs fds ferr
  fpu_trap sse_trap avx_trap code_base code_mask watched a20_mask`.split(/\s+/);

interface Part {
  readonly name: string;
  /** Words from the start of the state. */
  readonly at: number;
  readonly words: number;
}
const PARTS: readonly Part[] = STATE.map((name) => {
  const f = CPU_FIELDS.find((field) => field.name === name);
  if (!f) throw new Error(`the state has no field ${name}`);
  // Selectors are 16-bit: two to a word. The others are whole words.
  return { name, at: f.offset / 4, words: Math.ceil((f.stride * f.count) / 4) };
});
const WORDS = Int32Array.from(PARTS.flatMap((p) => Array.from({ length: p.words }, (_, i) => p.at + i)));
const CC = CPU.cc_r! & ~7;
const CC_BYTES = CPU.cc_op! + 4 - CC;
const ARITH = 0x8d5;

/** The arithmetic flags as bits; the lazy ones stay as they are. */
function arithmeticFlags(m: Machine): number {
  const at = m.vcpu.cpu + CC;
  const saved = m.bytes.slice(at, at + CC_BYTES);
  m.vcpu.getRegs();
  const bits = m.get32('cc_x') & ARITH;
  m.bytes.set(saved, at);
  return bits;
}

const wordsOf = new WeakMap<Machine, Int32Array>();
function words(m: Machine): Int32Array {
  let w = wordsOf.get(m);
  if (!w) {
    w = new Int32Array(m.bytes.buffer, m.vcpu.cpu, CPU_SIZE / 4);
    wordsOf.set(m, w);
  }
  return w;
}

/** Whether registers, flags and floating point are the same. */
function sameRegisters(a: Machine, b: Machine): boolean {
  const [x, y] = [words(a), words(b)];
  for (let i = 0; i < WORDS.length; i++) if (x[WORDS[i]!] !== y[WORDS[i]!]) return false;
  const fpr = CPU.fpr! / 4;
  for (let i = fpr; i < fpr + 32; i++) {
    const mask = (i - fpr) % 4 === 3 ? 0 : (i - fpr) % 4 === 2 ? 0xffff : -1;
    if ((x[i]! ^ y[i]!) & mask) return false;
  }
  return arithmeticFlags(a) === arithmeticFlags(b);
}

/** Words of registers that differ. */
export function distance(a: Machine, b: Machine): number {
  const [x, y] = [words(a), words(b)];
  let n = 0;
  for (let i = 0; i < WORDS.length; i++) if (x[WORDS[i]!] !== y[WORDS[i]!]) n++;
  return n;
}

/** Whether the whole state is the same: registers, memory, what the board was told. */
export function same(a: Machine, b: Machine): boolean {
  return (
    a.get64('rip') === b.get64('rip') &&
    a.log.length === b.log.length &&
    sameRegisters(a, b) &&
    Buffer.compare(a.used, b.used) === 0 &&
    a.log.every((v, i) => v === b.log[i])
  );
}

const hex = (m: Machine, at: number, words_: number): string => {
  const bytes = m.bytes.slice(m.vcpu.cpu + at * 4, m.vcpu.cpu + (at + words_) * 4);
  return Buffer.from(bytes.reverse())
    .toString('hex')
    .replace(/^0+(?=.)/, '');
};

/** What differs between two states, as texts: `a` is what is expected. Memory only if asked: it takes long. */
export function stateDifferences(a: Machine, b: Machine, memory: boolean): string[] {
  const list: string[] = [];
  for (const p of PARTS) {
    const unit = p.name === 'gpr' || p.name === 'dr' || p.name === 'seg_base' ? 2 : p.name === 'ymm' ? 8 : p.words;
    for (let i = 0; i < p.words; i += unit) {
      const [x, y] = [hex(a, p.at + i, unit), hex(b, p.at + i, unit)];
      if (x !== y) list.push(`${p.name}${p.words > unit ? `[${i / unit}]` : ''} ${x} expected, got ${y}`);
    }
  }
  for (let i = 0; i < 8; i++) {
    const at = CPU.fpr! / 4 + i * 4;
    const [x, y] = [a, b].map((m) => `${hex(m, at, 2)}:${(m.get32('fpr', i * 4 + 2) & 0xffff).toString(16)}`);
    if (x !== y) list.push(`fpr[${i}] ${x} expected, got ${y}`);
  }
  const [x, y] = [arithmeticFlags(a), arithmeticFlags(b)];
  if (x !== y) list.push(`flags ${x.toString(16)} expected, got ${y.toString(16)}`);
  if (memory) list.push(...memoryDifferences(a, b));
  const log = a.log.findIndex((v, i) => v !== b.log[i]);
  if (log >= 0 || a.log.length !== b.log.length) list.push(`board: ${a.log.length} and ${b.log.length}, first ${log}`);
  return list;
}

function memoryDifferences(a: Machine, b: Machine): string[] {
  const [x, y] = [a.used, b.used];
  const list: string[] = [];
  if (x.length !== y.length) list.push(`${x.length} bytes in use expected, got ${y.length}`);
  for (let i = 0; i < x.length && list.length < 4; i++) {
    if (i % PAGE === 0 && Buffer.compare(x.subarray(i, i + PAGE), y.subarray(i, i + PAGE)) === 0) i += PAGE - 1;
    else if (x[i] !== y[i])
      list.push(`gpa 0x${i.toString(16)} ${x[i]?.toString(16)} expected, got ${y[i]?.toString(16)}`);
  }
  return list;
}
