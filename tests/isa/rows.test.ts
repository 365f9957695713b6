/** The rows as data: encodings do not collide, notation and meaning agree, helpers and fields exist. */
import { describe, expect, it } from 'vitest';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { ccOp } from '../../src/isa/flags.ts';
import { HELPERS } from '../../src/isa/helpers.ts';
import { FLAGS } from '../../src/isa/ops.ts';
import type { Row } from '../../src/isa/row.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { vectorOp } from '../../src/isa/vector-ops.ts';
import { operandInMemory, type Shape, shapesOf, type Uses, usesOf } from './row-uses.ts';

const SPECS = new Map(HELPERS.map((h) => [h.name, h]));
const title = (row: Row): string => `${row.name} ${row.operands.map((o) => o.text).join(',')} (${row.enc.text})`;

interface Run {
  readonly row: Row;
  readonly shape: Shape;
  readonly fx: Uses;
}
const RUNS: readonly Run[] = ROWS.flatMap((row) =>
  shapesOf(row).map((shape) => ({ row, shape, fx: usesOf(row, shape) })),
);

/** What is wrong with the rows, one line each; the tests expect none. */
const complaints = (check: (run: Run) => (string | false | undefined)[]): string[] => [
  ...new Set(RUNS.flatMap((run) => check(run).flatMap((text) => (text ? [`${title(run.row)}: ${text}`] : [])))),
];

describe('encodings', () => {
  it('are claimed by one row each', () => {
    expect(makeDecoder(ROWS).conflicts).toEqual([]);
    const baseline = ROWS.filter((r) => r.feature === undefined);
    expect(makeDecoder(baseline).conflicts).toEqual([]);
  });

  it('would be found to collide', () => {
    const twice = ROWS.filter((r) => r.name === 'lea');
    expect(makeDecoder([...ROWS, { ...twice[0]!, name: 'lea2' }]).conflicts.length).toBeGreaterThan(0);
  });

  const decoder = makeDecoder(ROWS);
  const PREFIXES = [0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];
  const ELSEWHERE = [0x9b, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];
  /** Opcodes behind `prefix` that are no instruction whatever ModRM.reg and ModRM.mod. */
  const holes = (code: 32 | 64, prefix: readonly number[]): number[] =>
    Array.from({ length: 256 }, (_, op) => op).filter((op) => {
      if (prefix.length === 0 && (PREFIXES.includes(op) || ELSEWHERE.includes(op))) return false;
      if (prefix.length === 0 && code === 64 && op >= 0x40 && op < 0x50) return false;
      return Array.from({ length: 32 }, (_, i) => ((i >> 2) << 3) | ((i & 3) << 6)).every((modrm) => {
        const bytes = Uint8Array.from([...prefix, op, modrm, ...new Array(14).fill(0)]);
        return 'failure' in decoder.decode(bytes, 0, bytes.length, { code, stack: code });
      });
    });

  it('fill the one-byte map in 64-bit mode but for what the manual leaves out (SDM vol.2 table A-2)', () => {
    const invalid = [
      0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x62, 0x82, 0x9a, 0xc4, 0xc5, 0xce,
      0xd4, 0xd5, 0xd6, 0xea,
    ];
    expect(holes(64, [])).toEqual(invalid);
  });

  it('fill the one-byte map in 32-bit mode', () => {
    expect(holes(32, [])).toEqual([]);
  });

  it('have the integer instructions of the two-byte map (SDM vol.2 table A-3)', () => {
    const open = new Set(holes(64, [0x0f]));
    const integer = [
      0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0d, 0x18, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31,
      0x32, 0x33, 0x34, 0x35, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa8, 0xa9, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xb0, 0xb1,
      0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc7, 0xff,
    ];
    const sixteen = (base: number): number[] => Array.from({ length: 16 }, (_, i) => base + i);
    const all = [...integer, ...sixteen(0x40), ...sixteen(0x80), ...sixteen(0x90), ...sixteen(0xc8).slice(0, 8)];
    expect(all.filter((op) => open.has(op))).toEqual([]);
  });
});

describe('meanings', () => {
  it('call helpers that exist, with as many arguments as they take, and check only those with a status', () => {
    expect(
      complaints(({ row, fx }) => [
        ...fx.helpers.map(({ name, args, how }) => {
          const spec = SPECS.get(name);
          if (!spec) return `no helper ${name}`;
          if (spec.params.length !== args) return `${name} takes ${spec.params.length} arguments, not ${args}`;
          return how !== 'call' && spec.result !== 'i' && `${how} ${name}, which gives no status`;
        }),
        row.bulk !== undefined && SPECS.get(row.bulk)?.params !== 'iii' && `bulk helper ${row.bulk} is not (iii)`,
      ]),
    ).toEqual([]);
  });

  it('name recipes and vector operations that exist', () => {
    for (const { fx } of RUNS) {
      for (const recipe of fx.recipes) expect(ccOp(recipe, 8)).toBeGreaterThan(0);
      for (const op of fx.vectors) expect(vectorOp(op)).toBeDefined();
    }
  });

  it('write nothing before the last access that can fault', () => {
    expect(complaints(({ fx }) => fx.late)).toEqual([]);
  });

  it('read and write the operands that the notation says', () => {
    const implicit = (row: Row, n: number): boolean =>
      'SXY'.includes(row.operands[n]!.where) || row.operands[n]!.size === '';
    expect(
      complaints(({ row, shape, fx }) =>
        row.operands.flatMap((op, n) => [
          fx.gets.has(n) && !op.read && `reads operand ${n}`,
          fx.sets.has(n) && !op.write && `writes operand ${n}`,
          op.write && !implicit(row, n) && op.where !== 'C' && op.where !== 'D' && op.where !== 'fixed'
            ? !fx.sets.has(n) && !fx.offsets.has(n) && `never writes operand ${n}${shape.inMemory ? ' in memory' : ''}`
            : undefined,
        ]),
      ),
    ).toEqual([]);
  });
});

describe('attributes', () => {
  const hasMemory = (row: Row): boolean => row.operands.some((op) => operandInMemory(op, true));

  it('agree with each other', () => {
    expect(
      complaints(({ row }) => [
        row.no64 && row.only64 && 'no64 and only64',
        row.bulk !== undefined && row.rep === undefined && 'bulk without rep',
        row.rep !== undefined && !row.asize && 'rep without asize',
        row.implicitLock && !row.lock && 'implicitLock without lock',
        row.lock && !(row.operands[0]?.write && operandInMemory(row.operands[0], true)) && 'lock without a destination',
        row.bitOffset &&
          !(row.operands[0]?.where === 'E' && row.operands[1]?.where === 'G') &&
          'bitOffset without E, G',
        row.popsFirst && !row.stack && 'popsFirst without stack',
        row.noAccess && !hasMemory(row) && row.operands[0]?.where !== 'R' && 'noAccess without memory',
        row.noRexB && row.enc.modrm && 'noRexB with ModRM',
        row.name.includes('/') && row.name.split('/').length !== 3 && 'a name that is not one or three',
        ...(row.undef?.split(' ') ?? []).map((f) => !(FLAGS as readonly string[]).includes(f) && `undef ${f}`),
      ]),
    ).toEqual([]);
  });

  it('say where control may go, what the stack is used for and what a user may not do', () => {
    const outOfReach = new Set(['io_in', 'io_out', 'io_ins', 'load_segment', 'load_far_segment']);
    expect(
      complaints(({ row, fx }) => {
        const transfers = fx.helpers.some((h) => h.how === 'transfer');
        return [
          (fx.branches > 0 || fx.jumps > 0 || transfers) && !row.ends && 'changes rip without ends',
          fx.branches > 0 && !row.operands.some((op) => op.where === 'J') && 'branches without a target',
          transfers && row.user !== false && 'leaves for the runtime but is for users',
          fx.fields.has('cpl') && row.user !== false && 'checks the privilege but is for users',
          fx.helpers.some((h) => outOfReach.has(h.name)) && row.user !== false && 'uses devices or tables, for users',
          fx.helpers.some((h) => h.name.startsWith('io_')) && !row.ends && 'does I/O without ends',
          fx.segments.has('ss') && !row.stack && 'uses the stack without saying so',
          row.noAccess &&
            (fx.segments.size > 0 || [...fx.gets].some((n) => operandInMemory(row.operands[n]!, true))
              ? !fx.helpers.some((h) => h.name === 'invlpg') && 'accesses memory in spite of noAccess'
              : false),
        ];
      }),
    ).toEqual([]);
  });

  it('leave no flag undefined that is not written, except for divisions, which keep all', () => {
    expect(
      complaints(({ row, fx }) => [
        row.undef !== undefined && fx.flagsWritten.size === 0 && !/^i?div$/.test(row.name) && 'undef without flags',
      ]),
    ).toEqual([]);
  });
});
