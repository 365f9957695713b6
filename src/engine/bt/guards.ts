/** What a region asks of the vCPU's state before an entry: it is written for that state only. */
import { ATTR, CPU, SEG } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import { vectorOp } from '../interp/pure.ts';
import type { Cfg } from './cfg.ts';

type Expr = x.Expr;

/** Conditions under which the region is left at once. */
export const guardsOf = (cfg: Cfg, cpu: Expr): Expr[] => [...segmentGuards(cfg, cpu), ...unitGuards(cfg, cpu)];

/** 32-bit code is translated for flat segments: base 0, limit 4 GiB, writable data. Others are the interpreter's. */
function segmentGuards(cfg: Cfg, cpu: Expr): Expr[] {
  if (isLong(cfg)) return [];
  // ES, CS, SS and DS follow each other: four limits and attributes are a vector, two bases are one.
  const [bases, limits, attributes] = [CPU.seg_base!, CPU.seg_limit!, CPU.seg_attr!] as const;
  const wanted = BigInt(ATTR.WRITABLE | ATTR.P);
  const writable = x.v128Const([SEG.es, SEG.ss, SEG.ds].reduce((all, s) => all | (wanted << BigInt(s * 32)), 0n));
  const wrong = [
    x.load('v128', cpu, bases + SEG.es * 8),
    x.load('v128', cpu, bases + SEG.ss * 8),
    vectorOp('v128.not', x.load('v128', cpu, limits)),
    vectorOp('v128.andnot', writable, x.load('v128', cpu, attributes)),
  ].reduce((a, b) => vectorOp('v128.or', a, b));
  const extended = [SEG.fs, SEG.gs].filter((s) => usesSegment(cfg, s));
  const short = extended.map((s) => x.compare('ne', x.load('i32', cpu, limits + s * 4), x.i32Const(-1)));
  return [short.reduce((a, b) => x.or(a, b), vectorOp('v128.any_true', wrong))];
}

function isLong(cfg: Cfg): boolean {
  const { insns, end } = cfg.blocks.get(cfg.entry)!;
  const first = insns[0] ?? (end.kind === 'interpret' ? end.insn : undefined);
  return first!.insn.mode.code === 64;
}
function usesSegment(cfg: Cfg, seg: number): boolean {
  for (const b of cfg.blocks.values()) {
    if (b.insns.some((i) => (i.insn.mem?.seg ?? i.insn.seg) === seg)) return true;
  }
  return false;
}

/** What makes SSE and AVX available cannot change inside a region. */
function unitGuards(cfg: Cfg, cpu: Expr): Expr[] {
  const units = new Set([...cfg.blocks.values()].flatMap((b) => b.insns.map((i) => i.insn.row.unit)));
  const traps = { sse: CPU.sse_trap!, avx: CPU.avx_trap! } as const;
  return (['sse', 'avx'] as const).filter((u) => units.has(u)).map((u) => x.load('i32', cpu, traps[u]));
}
