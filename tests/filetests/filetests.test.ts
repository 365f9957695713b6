// Runs the cases of the text files in this folder on every engine there is. PLINTH_BLESS=1 rewrites what is expected:
// by the reference, or by the host CPU where the reference has no helper.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NoReference } from '../../src/engine/reference/ops.ts';
import { MAX_LENGTH, makeDecoder } from '../../src/isa/decoder.ts';
import { disassemble } from '../../src/isa/disasm.ts';
import type { DecodeFailure } from '../../src/isa/insn.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { batchOf, type Case, CODE, CODE_PAGE, type Result } from '../differential/case.ts';
import type { BatchEngine, Engine } from '../differential/engine.ts';
import { isThere, notForHost } from '../differential/generate.ts';
import { buildHarness, hostEngine, hostFeatures } from '../differential/host.ts';
import { intelDiffers } from '../differential/intel.ts';
import { SoftEngine } from '../differential/interpreter.ts';
import { referenceEngine } from '../differential/reference.ts';
import { describeResult, type FileCase, fileHead, parseFile } from './format.ts';

const FOLDER = import.meta.dirname;
const BLESS = process.env.PLINTH_BLESS === '1';
const decoder = makeDecoder(ROWS);
const reference: Engine = referenceEngine();
const soft = new SoftEngine();

const hosts = new Map<number, BatchEngine>();
for (const bits of [32, 64] as const) {
  const built = buildHarness(bits);
  if ('path' in built) hosts.set(bits, hostEngine(built.path));
  else console.log(`filetests are not confirmed by the host CPU in ${bits}-bit mode: ${built.missing}`);
}
const features = hosts.size > 0 ? hostFeatures() : new Set<string>();

interface Expectation {
  readonly asm: string;
  readonly out: string;
}

/** Result by the reference; undefined where it lacks a helper. */
function byReference(c: Case): Result | undefined {
  try {
    return reference.run(c);
  } catch (e) {
    if (e instanceof NoReference) return undefined;
    throw e;
  }
}

function byHost(c: Case): Result | undefined {
  const { row, mode } = c.insn;
  if (notForHost(row) || !isThere(row, features)) return undefined;
  return hosts
    .get(mode.code)
    ?.runAll(batchOf([c]))
    .at(0);
}

/** The fault of bytes that are no instruction; what needs more bytes to tell has none. */
function invalid(f: FileCase, failure: DecodeFailure['failure']): Map<string, string> {
  if (failure === 'truncated') return new Map([['decoder', 'nothing']]);
  const by = new Map([['decoder', failure === 'ud' ? 'fault=6' : 'fault=13']]);
  const host = f.code.length <= MAX_LENGTH ? hosts.get(f.mode.code) : undefined;
  const batch = batchOf([{ code: f.code, ...f.values }]);
  if (host) by.set('host CPU', `fault=${host.runAll(batch).at(0).vector}`);
  if (f.code.length <= MAX_LENGTH) by.set(soft.name, `fault=${soft.runAll(batch, f.mode.code).at(0).vector}`);
  return by;
}

/** What each engine makes of a case, by engine. */
function outcomes(f: FileCase): { asm: string; by: Map<string, string> } {
  const insn = decoder.decode(f.code, 0, f.code.length, f.mode);
  if ('failure' in insn) return { asm: `(${insn.failure})`, by: invalid(f, insn.failure) };
  const c: Case = { insn, code: f.code, ...f.values };
  const rip = f.mode.code === 16 ? CODE - CODE_PAGE : CODE;
  const by = new Map<string, string>();
  const results: Record<string, Result | undefined> = {
    reference: byReference(c),
    'host CPU': byHost(c),
    [soft.name]: soft.runAll(batchOf([c])).at(0),
  };
  const stated = results.reference ?? results[soft.name];
  const host = results['host CPU'];
  if (stated && host && intelDiffers(c, stated, host)) delete results['host CPU'];
  for (const [name, result] of Object.entries(results)) if (result) by.set(name, describeResult(c, result));
  const rest = insn.length < f.code.length ? ` (${f.code.length - insn.length} bytes follow)` : '';
  return { asm: disassemble(insn, rip) + rest, by };
}

function bless(path: string, text: string): void {
  const paragraphs = parseFile(text).map((f) => {
    const { asm, by } = outcomes(f);
    const expected: Expectation = {
      asm,
      out: by.get('decoder') ?? by.get('reference') ?? by.get('host CPU') ?? 'nothing',
    };
    return [...f.head, `asm: ${expected.asm}`, `out: ${expected.out}`].join('\n');
  });
  writeFileSync(path, `${[fileHead(text), ...paragraphs].join('\n\n')}\n`);
}

const files = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'));

describe.for(files)('%s', (name) => {
  const path = join(FOLDER, name);
  if (BLESS) bless(path, readFileSync(path, 'utf8'));
  const cases = parseFile(readFileSync(path, 'utf8'));
  it('has cases', () => {
    expect(cases.length).toBeGreaterThan(0);
  });
  for (const f of cases) {
    it(`${name}:${f.line} ${f.asm}`, () => {
      const { asm, by } = outcomes(f);
      expect(asm).toBe(f.asm);
      for (const [engine, out] of by) expect(`${engine}: ${out}`).toBe(`${engine}: ${f.out}`);
      expect(f.out).not.toBe('');
    });
  }
});
