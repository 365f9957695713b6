// SSE arithmetic of the software floating point against the host CPU: results, flags and faults, over all rounding
// modes, masks, DAZ and FTZ; and against JavaScript's doubles, which need no host.

import { describe, expect, it } from 'vitest';
import { compileHost, type Exports, hostUnavailable, loadRuntime } from './build.ts';
import { binary32, binary64, integer, Random } from './operands.ts';

type Kind = 'f32' | 'f64' | 'i32' | 'i64';
/** One instruction: operands arrive in xmm0-2 (and the first in rax), the result is in xmm0 or rax. */
interface Op {
  readonly asm: string;
  readonly in: readonly Kind[];
  readonly out: Kind;
  readonly reg: 'xmm' | 'rax';
  readonly call: string;
  readonly extra?: readonly number[];
  /** Which operand each argument of the helper is, where it is not the order of the registers. */
  readonly order?: readonly number[];
}

const ops: Op[] = [];
const scalar = { f32: 'ss', f64: 'sd' } as const;
for (const f of ['f32', 'f64'] as const) {
  const s = scalar[f];
  const to = { in: [f], reg: 'rax' } as const;
  for (const name of ['add', 'sub', 'mul', 'div', 'min', 'max']) {
    ops.push({ asm: `${name}${s} %%xmm1,%%xmm0`, in: [f, f], out: f, reg: 'xmm', call: `${f}_${name}` });
  }
  ops.push({ asm: `sqrt${s} %%xmm0,%%xmm0`, in: [f], out: f, reg: 'xmm', call: `${f}_sqrt` });
  for (const [index, name] of ['vfmadd', 'vfnmadd', 'vfmsub', 'vfnmsub'].entries()) {
    for (const form of ['132', '213', '231']) {
      const asm = `${name}${form}${s} %%xmm2,%%xmm1,%%xmm0`;
      // The digits name the operands (xmm0 = 1, ...) in the order multiplicand, multiplier, addend.
      const order = [...form].map((digit) => Number(digit) - 1);
      ops.push({ asm, in: [f, f, f], out: f, reg: 'xmm', call: `${f}_fma_signed`, extra: [index], order });
    }
  }
  for (const imm of [0, 1, 2, 3, 4, 8, 11, 12]) {
    const asm = `round${s} $${imm},%%xmm0,%%xmm0`;
    ops.push({ asm, in: [f], out: f, reg: 'xmm', call: `${f}_round`, extra: [imm] });
  }
  for (let imm = 0; imm < 32; imm++) {
    const asm = `vcmp${s} $${imm},%%xmm1,%%xmm0,%%xmm0`;
    ops.push({ asm, in: [f, f], out: f, reg: 'xmm', call: `${f}_cmp`, extra: [imm] });
  }
  for (const signal of [0, 1]) {
    const asm = `${signal ? '' : 'u'}comi${s} %%xmm1,%%xmm0; lahf; movzbl %%ah,%%eax; and $0x45,%%eax`;
    ops.push({ asm, in: [f, f], out: 'i32', reg: 'rax', call: `${f}_comi`, extra: [signal] });
  }
  ops.push({ ...to, asm: `cvt${s}2si %%xmm0,%%eax`, out: 'i32', call: `${f}_to_i32` });
  ops.push({ ...to, asm: `cvt${s}2si %%xmm0,%%rax`, out: 'i64', call: `${f}_to_i64` });
  ops.push({ ...to, asm: `cvtt${s}2si %%xmm0,%%eax`, out: 'i32', call: `${f}_to_i32_trunc` });
  ops.push({ ...to, asm: `cvtt${s}2si %%xmm0,%%rax`, out: 'i64', call: `${f}_to_i64_trunc` });
  ops.push({ asm: `cvtsi2${s}l %%eax,%%xmm0`, in: ['i32'], out: f, reg: 'xmm', call: `i32_to_${f}` });
  ops.push({ asm: `cvtsi2${s}q %%rax,%%xmm0`, in: ['i64'], out: f, reg: 'xmm', call: `i64_to_${f}` });
}
ops.push({ asm: 'cvtss2sd %%xmm0,%%xmm0', in: ['f32'], out: 'f64', reg: 'xmm', call: 'f32_to_f64' });
ops.push({ asm: 'cvtsd2ss %%xmm0,%%xmm0', in: ['f64'], out: 'f32', reg: 'xmm', call: 'f64_to_f32' });

// Record: u32 op, u32 mxcsr, u64 a, b, c -> u64 result, u32 mxcsr, u32 faulted.
const program = `
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <ucontext.h>
struct in { uint32_t op, mxcsr; uint64_t a, b, c; };
struct out { uint64_t result; uint32_t mxcsr, faulted; };
static sigjmp_buf back;
static volatile uint32_t fault_mxcsr;
static void on_fpe(int sig, siginfo_t *info, void *context) {
  fault_mxcsr = ((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr;
  siglongjmp(back, 1);
}
#define OP(n, code, pick) static void op##n(const struct in *i, struct out *o) { \\
  uint64_t x = i->a, r = i->a; uint32_t m = i->mxcsr; \\
  __asm__ volatile("movq %[x],%%xmm0; movq %[b],%%xmm1; movq %[c],%%xmm2; ldmxcsr %[m]; " code \\
    "; stmxcsr %[m]; movq %%xmm0,%[x]" : [x] "+m"(x), "+a"(r), [m] "+m"(m) : [b] "m"(i->b), [c] "m"(i->c) \\
    : "xmm0", "xmm1", "xmm2", "cc"); \\
  o->result = pick; o->mxcsr = m; }
${ops.map((op, n) => `OP(${n}, "${op.asm}", ${op.reg === 'xmm' ? 'x' : 'r'})`).join('\n')}
static void (*const table[])(const struct in *, struct out *) = { ${ops.map((_, n) => `op${n}`).join(', ')} };
int main(void) {
  struct sigaction action = { .sa_sigaction = on_fpe, .sa_flags = SA_SIGINFO | SA_NODEFER };
  sigaction(SIGFPE, &action, 0);
  struct in i;
  while (fread(&i, sizeof i, 1, stdin) == 1) {
    struct out o = { 0 };
    if (sigsetjmp(back, 0) == 0) table[i.op](&i, &o);
    else { o.faulted = 1; o.mxcsr = fault_mxcsr; o.result = 0; }
    uint32_t calm = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(calm));
    fwrite(&o, sizeof o, 1, stdout);
  }
  return 0;
}
`;

const IN = 32;
const OUT = 16;

function operand(random: Random, kind: Kind): bigint {
  if (kind === 'f32') return binary32(random);
  if (kind === 'f64') return binary64(random);
  return integer(random, kind === 'i32' ? 32 : 64);
}

/** A number near -a*b, so that a fused multiply-add cancels. */
function nearProduct(kind: Kind, a: bigint, b: bigint, random: Random): bigint {
  const cell = new DataView(new ArrayBuffer(8));
  const near = BigInt(random.below(3));
  if (kind === 'f32') {
    cell.setUint32(0, Number(a));
    cell.setUint32(4, Number(b));
    cell.setFloat32(0, -cell.getFloat32(0) * cell.getFloat32(4));
    return BigInt(cell.getUint32(0)) ^ near;
  }
  cell.setBigUint64(0, a);
  const x = cell.getFloat64(0);
  cell.setBigUint64(0, b);
  cell.setFloat64(0, -x * cell.getFloat64(0));
  return cell.getBigUint64(0) ^ near;
}

const width = (kind: Kind): number => (kind === 'f32' || kind === 'i32' ? 32 : 64);
const argument = (kind: Kind, bits: bigint): number | bigint => (width(kind) === 32 ? Number(bits) | 0 : bits);
const bitsOf = (kind: Kind, value: number | bigint): bigint => BigInt.asUintN(width(kind), BigInt(value));

/** Runs one operation; the fault and the flags as a row would see them. */
function ours(sf: Exports, op: Op, mxcsr: number, args: readonly bigint[]) {
  sf.sse_begin!(mxcsr);
  const given = op.in.map((kind, i) => argument(kind, args[i]!));
  const ordered = op.order ? op.order.map((i) => given[i]!) : given;
  const result = bitsOf(op.out, sf[op.call]!(...ordered, ...(op.extra ?? [])));
  const fault = Number(sf.sse_fault!(mxcsr)) !== 0;
  return { result: fault ? 0n : result, flags: Number(sf.sse_end!(mxcsr)) & 0x3f, fault };
}

const hex = (n: bigint | number): string => `0x${n.toString(16)}`;

function compare(sf: Exports, host: (input: Buffer) => Buffer, perOp: number, mxcsrOf: (r: Random) => number) {
  const random = new Random(perOp);
  const count = ops.length * perOp;
  const input = Buffer.alloc(count * IN);
  for (let n = 0; n < count; n++) {
    const op = ops[n % ops.length]!;
    input.writeUInt32LE(n % ops.length, n * IN);
    input.writeUInt32LE(mxcsrOf(random), n * IN + 4);
    const args = op.in.map((kind) => operand(random, kind));
    // Equal, neighbouring and opposite operands make the cancellations.
    if (args.length > 1 && random.below(4) === 0) args[1] = args[0]! ^ BigInt(random.below(3));
    if (args.length > 2 && random.below(3) === 0) {
      const [i = 0, j = 1, k = 2] = op.order ?? [];
      args[k] = nearProduct(op.in[0]!, args[i]!, args[j]!, random);
    }
    for (const [i, arg] of args.entries()) input.writeBigUInt64LE(arg, n * IN + 8 + 8 * i);
  }
  const output = host(input);
  expect(output.length).toBe(count * OUT);
  const wrong: string[] = [];
  for (let n = 0; n < count; n++) {
    const op = ops[n % ops.length]!;
    const mxcsr = input.readUInt32LE(n * IN + 4);
    const args = [0, 1, 2].map((i) => input.readBigUInt64LE(n * IN + 8 + 8 * i));
    const mine = ours(sf, op, mxcsr, args);
    const fault = output.readUInt32LE(n * OUT + 12) !== 0;
    const theirs = {
      result: fault ? 0n : bitsOf(op.out, output.readBigUInt64LE(n * OUT)),
      flags: output.readUInt32LE(n * OUT + 8) & 0x3f,
      fault,
    };
    if (mine.result !== theirs.result || mine.flags !== theirs.flags || mine.fault !== theirs.fault) {
      const show = (x: typeof mine) => `${hex(x.result)} flags ${hex(x.flags)}${x.fault ? ' fault' : ''}`;
      wrong.push(`${op.asm} mxcsr ${hex(mxcsr)} (${args.map(hex).join(', ')}): ${show(mine)}, host ${show(theirs)}`);
    }
  }
  expect(wrong.slice(0, 20), `${wrong.length} of ${count} differ`).toEqual([]);
}

const { exports: sf } = await loadRuntime('softfloat/index.ts');
const unavailable = hostUnavailable();
if (unavailable) console.log(`skipped: SSE against the host, because ${unavailable}`);

describe.skipIf(unavailable)('SSE operations give what the host CPU gives', () => {
  const host = unavailable ? () => Buffer.alloc(0) : compileHost(program);
  const modes = (random: Random) => random.below(4) << 13;

  it('with all exceptions masked', () => compare(sf, host, 1500, (r) => 0x1f80 | modes(r)));
  it('with DAZ and FTZ', () => compare(sf, host, 1000, (r) => 0x1f80 | modes(r) | [0x40, 0x8000, 0x8040][r.below(3)]!));
  it('with unmasked exceptions', () =>
    compare(sf, host, 300, (r) => (r.below(64) << 7) | modes(r) | [0, 0x40, 0x8000][r.below(3)]!));
});

describe('binary64 gives what JavaScript gives', () => {
  const cell = new DataView(new ArrayBuffer(8));
  const number = (bits: bigint): number => {
    cell.setBigUint64(0, bits);
    return cell.getFloat64(0);
  };
  const bits = (x: number): bigint => {
    cell.setFloat64(0, x);
    return cell.getBigUint64(0);
  };
  const table: [string, (a: number, b: number) => number][] = [
    ['f64_add', (a, b) => a + b],
    ['f64_sub', (a, b) => a - b],
    ['f64_mul', (a, b) => a * b],
    ['f64_div', (a, b) => a / b],
    ['f64_sqrt', (a) => Math.sqrt(a)],
  ];
  it.each(table)('%s', (name, reference) => {
    const random = new Random(7);
    sf.sse_begin!(0x1f80);
    for (let n = 0; n < 5000; n++) {
      const a = binary64(random);
      const b = binary64(random);
      const expected = reference(number(a), number(b));
      const mine = BigInt.asUintN(64, BigInt(sf[name]!(a, b)));
      if (Number.isNaN(expected)) expect(number(mine)).toBeNaN();
      else expect(hex(mine), `${name}(${hex(a)}, ${hex(b)})`).toBe(hex(bits(expected)));
    }
  });
});

describe('conversions that the host may lack', () => {
  it.each([32, 64])('f64 to u%i, in range and out of it', (width) => {
    const call = sf[`f64_to_u${width}_trunc`]!;
    const cell = new DataView(new ArrayBuffer(8));
    const convert = (x: number) => {
      cell.setFloat64(0, x);
      sf.sse_begin!(0x1f80);
      return [BigInt.asUintN(width, BigInt(call(cell.getBigUint64(0)))), Number(sf.sse_end!(0)) & 0x3f];
    };
    const ones = (1n << BigInt(width)) - 1n;
    expect(convert(0)).toEqual([0n, 0]);
    expect(convert(1.5)).toEqual([1n, 0x20]);
    expect(convert(-0.5)).toEqual([0n, 0x20]);
    expect(convert(-1)).toEqual([ones, 1]);
    expect(convert(2 ** (width - 1))).toEqual([1n << BigInt(width - 1), 0]);
    expect(convert(2 ** width)).toEqual([ones, 1]);
    expect(convert(Number.NaN)).toEqual([ones, 1]);
  });
});
