// Known jumps (JUMPS): when an epoch of them ends, and which pages may have them.
import { describe, expect, it } from 'vitest';
import { CPU, ITLB_GLOBAL, JUMP_PAGES } from '../../src/isa/layout.ts';
import type { Machine } from './machine.ts';
import { longMachine } from './modes.ts';

const key = (m: Machine): bigint => m.view.getBigUint64(m.cpu + CPU.jump_key!, true);
const PAGE = 0x1000n;

describe('known jumps', () => {
  it('end when a page that has some is invalidated, and not with another', () => {
    const m = longMachine(0);
    expect(m.call('note_jumps', 0x5123n, ITLB_GLOBAL)).toBe(1);
    const before = key(m);
    m.call('flush_page', 0x6000n);
    expect(key(m)).toBe(before);
    m.call('flush_page', 0x5000n);
    expect(key(m)).toBeGreaterThan(before);
    const after = key(m);
    m.call('flush_page', 0x5000n);
    expect(key(m)).toBe(after);
  });

  it('are not of supervisor pages that a switch of the address space drops', () => {
    expect(longMachine(0).call('note_jumps', 0x5000n, 0)).toBe(0);
    expect(longMachine(3).call('note_jumps', 0x5000n, 0)).toBe(1);
  });

  it('of global pages end from every address space', () => {
    for (const cpl of [0, 3] as const) {
      const m = longMachine(cpl);
      m.call('note_jumps', 0x5000n, ITLB_GLOBAL);
      m.call('flush_non_global');
      const before = key(m);
      m.call('flush_page', 0x5000n);
      expect(key(m)).toBeGreaterThan(before);
    }
  });

  it('of users end with their address space, those of the supervisor do not', () => {
    const [user, supervisor] = [longMachine(3), longMachine(0)];
    for (const m of [user, supervisor]) {
      const before = key(m);
      m.call('flush_non_global');
      if (m === user) expect(key(m)).not.toBe(before);
      else expect(key(m)).toBe(before);
    }
  });

  it('never have the key of an earlier epoch, whatever was flushed', () => {
    const m = longMachine(0);
    const seen = new Set<bigint>();
    for (let i = 0; i < 100; i++) {
      expect(seen.has(key(m))).toBe(false);
      seen.add(key(m));
      m.call('note_jumps', 0x7000n, ITLB_GLOBAL);
      if (i % 3 === 0) m.call('flush_all');
      else m.call('flush_page', 0x7000n);
    }
  });

  it('end when there is no room for another page, and that page has some then', () => {
    const m = longMachine(0);
    const before = key(m);
    let n = 0n;
    for (; key(m) === before && n < 2 * JUMP_PAGES.ENTRIES; n++) m.call('note_jumps', n * PAGE, ITLB_GLOBAL);
    expect(n).toBeGreaterThan(BigInt(JUMP_PAGES.ENTRIES) / 2n);
    expect(n).toBeLessThan(BigInt(2 * JUMP_PAGES.ENTRIES));
    const after = key(m);
    m.call('flush_page', (n - 1n) * PAGE);
    expect(key(m)).toBeGreaterThan(after);
  });
});
