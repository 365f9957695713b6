// Compares engines over batches of generated cases and tallies what differs, for the sampled tests and for the fuzzer.
import { NoReference } from '../../src/engine/reference/ops.ts';
import { disassemble } from '../../src/isa/disasm.ts';
import type { Random } from '../isa/random.ts';
import { type Batch, batchOf, type Case, type Result } from './case.ts';
import { agree, type BatchEngine, caseKey, differences, type Engine } from './engine.ts';
import { type Generator, makeBatch } from './generate.ts';
import { knownDifference } from './known.ts';

export interface Mismatch {
  count: number;
  /** A case that shows it, in words. */
  readonly first: string;
}

/** What a comparison found. */
export class Tally {
  compared = 0;
  /** Tells of each kind of mismatch at once. */
  loud = false;
  /** Differences that the manuals allow. */
  allowed = 0;
  /** Differences that were gone when the case was run again: the oracle's. */
  unrepeated = 0;
  /** Cases per row name that were compared. */
  readonly rows = new Set<string>();
  readonly skipped = new Map<string, number>();
  readonly mismatches = new Map<string, Mismatch>();

  note(c: Case, list: readonly string[]): void {
    const seen = this.mismatches.get(caseKey(c));
    if (seen) seen.count++;
    else {
      const first = describe(c, list);
      this.mismatches.set(caseKey(c), { count: 1, first });
      if (this.loud) console.error(first);
    }
  }
  skip(why: string): void {
    this.skipped.set(why, (this.skipped.get(why) ?? 0) + 1);
  }
  /** Mismatches as lines, sorted. */
  lines(): string[] {
    return [...this.mismatches].map(([key, { count, first }]) => `${key} (${count}): ${first}`).sort();
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Fields of the state that a case's instruction may depend on, in the form of the filetests. */
function describe(c: Case, list: readonly string[]): string {
  const gpr = c.gpr.map((v) => v.toString(16)).join(' ');
  const unit = c.insn.row.unit === undefined ? '' : ` fx ${hex(c.fx)}`;
  const text = `${c.insn.mode.code}: ${hex(c.code)} ${disassemble(c.insn)}: ${list.slice(0, 5).join('; ')}`;
  return `${text} | rflags ${c.rflags.toString(16)} gpr ${gpr} window ${hex(c.window)}${unit}`;
}

/**
 * Runs a case that differed once more on its own. An engine that then gives something else is at fault; where it is
 * the oracle that changes its mind (a host that is itself emulated), the difference is only counted.
 */
function judgeAgain(c: Case, oracle: BatchEngine, engine: BatchEngine, first: Result, tally: Tally): void {
  const single = batchOf([c]);
  const got = engine.runAll(single).at(0);
  const changed = differences(c, first, got);
  if (changed.length > 0 && !knownDifference(c, first, got)) tally.note(c, ['two results of one case', ...changed]);
  else if (differences(c, oracle.runAll(single).at(0), got).length === 0) tally.unrepeated++;
  else judge(c, oracle.runAll(single).at(0), got, tally);
}

function judge(c: Case, want: Result, got: Result, tally: Tally): void {
  const list = differences(c, want, got);
  if (list.length === 0) return;
  if (knownDifference(c, want, got)) tally.allowed++;
  else tally.note(c, list);
}

/** Compares `engines` with `oracle` on one batch. */
export function compareBatch(batch: Batch, oracle: BatchEngine, engines: readonly BatchEngine[], tally: Tally): void {
  const want = oracle.runAll(batch);
  for (const engine of engines) {
    const got = engine.runAll(batch);
    for (let i = 0; i < batch.count; i++) {
      if (agree(batch, i, want, got)) continue;
      const c = batch.case(i);
      if (differences(c, want.at(i), got.at(i)).length === 0) continue;
      if (knownDifference(c, want.at(i), got.at(i))) tally.allowed++;
      else judgeAgain(c, oracle, engine, got.at(i), tally);
    }
    tally.compared += batch.count;
  }
  for (const insn of batch.insns) tally.rows.add(`${insn.row.name} ${insn.row.enc.text}`);
}

/** Compares an engine with one that takes a case at a time and may decline. */
export function compareSingly(batch: Batch, oracle: Engine, engine: BatchEngine, tally: Tally): void {
  const got = engine.runAll(batch);
  for (let i = 0; i < batch.count; i++) {
    const c = batch.case(i);
    let want: Result;
    try {
      want = oracle.run(c);
    } catch (e) {
      if (!(e instanceof NoReference)) throw new Error(describe(c, [String(e)]), { cause: e });
      tally.skip(e.helper);
      continue;
    }
    tally.compared++;
    tally.rows.add(`${c.insn.row.name} ${c.insn.row.enc.text}`);
    judge(c, want, got.at(i), tally);
  }
}

export interface Plan {
  readonly generator: Generator;
  readonly cases: number;
  /** States per instruction. */
  readonly values: number;
  readonly random: Random;
  /** Called with each batch. */
  run(batch: Batch): void;
  /** Called after each batch with the number of cases done; false ends early. */
  readonly progress?: (done: number) => boolean;
}

const BATCH = 8_000;

/** Makes batch after batch, row after row. */
export function inBatches({ generator, cases, values, random, run, progress }: Plan): void {
  let first = random.below(generator.rows.length);
  for (let done = 0; done < cases; ) {
    const count = Math.min(BATCH, cases - done);
    const batch = makeBatch(generator, count, values, random, first);
    run(batch);
    done += count;
    first = (first + Math.ceil(count / values)) % generator.rows.length;
    if (progress && !progress(done)) return;
  }
}
