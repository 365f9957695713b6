// What rows read and write, as the effects recorder sees it; and that no row can fault after its first write.
import { describe, expect, it } from 'vitest';
import { makeDecoder } from '../../src/isa/decoder.ts';
import { disassemble } from '../../src/isa/disasm.ts';
import { type Effects, effectsOf } from '../../src/isa/effects.ts';
import type { CodeMode, Insn } from '../../src/isa/insn.ts';
import { EFLAGS } from '../../src/isa/layout.ts';
import { ROWS } from '../../src/isa/rows.ts';
import { drawBytes } from '../differential/generate.ts';
import { Random, seedOf } from './random.ts';

const M64: CodeMode = { code: 64, stack: 64 };
const MODES: readonly CodeMode[] = [{ code: 16, stack: 16 }, { code: 32, stack: 32 }, { code: 32, stack: 16 }, M64];
const decoder = makeDecoder(ROWS);

function decode(hex: string): Insn {
  const bytes = Uint8Array.from(hex.split(' '), (x) => Number.parseInt(x, 16));
  const insn = decoder.decode(bytes, 0, bytes.length, M64);
  if ('failure' in insn) throw new Error(`${hex}: ${insn.failure}`);
  return insn;
}
const effects = (hex: string): Effects => effectsOf(decode(hex));

describe('effects', () => {
  it('of ADD are two registers and all flags', () => {
    const e = effects('48 01 C8');
    expect(e).toMatchObject({ gprRead: 0b11, gprWritten: 0b1, flagsRead: 0, flagsKilled: EFLAGS.ARITH, loads: false });
    expect(effects('00 C8').gprRead).toBe(0b11);
    expect(effects('B0 05').gprRead).toBe(0b1); // the rest of RAX is kept
    expect(effects('B8 05 00 00 00').gprRead).toBe(0);
  });
  it('of ADC and Jcc include the flags they read', () => {
    expect(effects('48 11 C8')).toMatchObject({ flagsRead: EFLAGS.CF, flagsKilled: EFLAGS.ARITH });
    expect(effects('7F 00').flagsRead).toBe(EFLAGS.ZF | EFLAGS.SF | EFLAGS.OF);
  });
  it('of INC keep CF and of a shift by CL kill nothing', () => {
    expect(effects('FF C0').flagsRead).toBe(EFLAGS.CF);
    expect(effects('D3 E0')).toMatchObject({ flagsWritten: EFLAGS.ARITH, flagsKilled: 0 });
  });
  it('of memory operands include the registers of the address', () => {
    const e = effects('48 01 44 8B 10');
    expect(e).toMatchObject({ gprRead: 0b1011, gprWritten: 0, loads: true, stores: true });
    expect(effects('48 8D 44 8B 10')).toMatchObject({ gprRead: 0b1010, loads: false });
  });
  it('of repeated instructions include the count', () => {
    expect(effects('F3 A4')).toMatchObject({ gprRead: 0b1100_0010, gprWritten: 0b1100_0010 });
    expect(effects('F3 A6').flagsKilled).toBe(0);
  });
});

describe('all rows', () => {
  it('fault only before their first write', () => {
    const random = new Random(seedOf('effects of all rows'));
    const found = new Map<string, string>();
    let seen = 0;
    for (const row of ROWS) {
      for (let i = 0; i < 40; i++) {
        const mode = random.pick(MODES);
        const bytes = drawBytes(row, mode, random);
        const insn = bytes && decoder.decode(bytes, 0, bytes.length, mode);
        if (!insn || 'failure' in insn || insn.row !== row) continue;
        seen++;
        const [first] = effectsOf(insn).violations;
        if (first) found.set(`${row.name} ${row.enc.text}`, `${disassemble(insn)}: ${first}`);
      }
    }
    expect(Object.fromEntries(found)).toEqual({});
    expect(seen).toBeGreaterThan(ROWS.length * 10);
  });
});
