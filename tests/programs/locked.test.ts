// Locked accesses that look first whether their stores will go well: CMPXCHG8B and CMPXCHG16B in regions.
import { describe, expect, it } from 'vitest';
import type { Cfg } from '../../src/engine/bt/cfg.ts';
import { CODE_PAGE } from '../differential/case.ts';
import { Guest, PTE } from '../differential/guest.ts';

const DATA = 0x4000_0000n;
const TURNS = 500n;
// lock cmpxchg16b [rsi] or cmpxchg8b; add rbx, 1; dec rdi; jnz back; a jmp to itself
const COUNT = [0x48, 0x83, 0xc3, 1, 0x48, 0xff, 0xcf];
const LOOPS = {
  'cmpxchg16b, aligned': { code: [0xf0, 0x48, 0x0f, 0xc7, 0x0e, ...COUNT, 0x75, 0xf2, 0xeb, 0xfe], at: DATA + 0xff0n },
  'cmpxchg8b within a page': { code: [0xf0, 0x0f, 0xc7, 0x0e, ...COUNT, 0x75, 0xf3, 0xeb, 0xfe], at: DATA + 0xff3n },
  'cmpxchg8b over a page': { code: [0xf0, 0x0f, 0xc7, 0x0e, ...COUNT, 0x75, 0xf3, 0xeb, 0xfe], at: DATA + 0xffdn },
} as const;

function run(engine: 'interp' | 'bt', { code, at }: (typeof LOOPS)[keyof typeof LOOPS]) {
  const graphs: Cfg[] = [];
  const guest = new Guest({ vcpu: { engine, hotThreshold: 40, onRegion: (_rip, cfg) => graphs.push(cfg) } });
  const page = guest.frames(1);
  guest.map(CODE_PAGE, page, PTE.P | PTE.US);
  guest.memory.write(page, Uint8Array.from(code));
  const data = [guest.frames(1), guest.frames(1)].reverse();
  data.forEach((frame, i) => {
    guest.map(DATA + BigInt(i * 4096), frame, PTE.P | PTE.US | PTE.RW);
  });
  guest.enterMode(64, 3);
  guest.set64('rip', CODE_PAGE);
  [0n, 2n, 0n, 3n, 4n, 5n, at, TURNS].forEach((v, r) => {
    guest.set64('gpr', v, r);
  });
  for (let n = 0n; n < TURNS * 8n; n += 100n) expect(guest.vcpu.run(100)).toBe('budget');
  const registers = Array.from({ length: 8 }, (_, r) => guest.get64('gpr', r));
  return { graphs, state: [registers, ...data.map((frame) => [...guest.memory.read(frame, 4096)])] };
}

describe('locked accesses in regions', () => {
  it.each(Object.keys(LOOPS) as (keyof typeof LOOPS)[])('do what the interpreter does: %s', (name) => {
    const [interpreter, regions] = [run('interp', LOOPS[name]), run('bt', LOOPS[name])];
    expect(regions.state).toEqual(interpreter.state);
    expect(regions.state[0]![7]).toBe(0n);
    expect(regions.graphs.length).toBeGreaterThan(0);
    for (const { blocks } of regions.graphs) {
      for (const { end } of blocks.values()) expect(end.kind).not.toBe('interpret');
    }
  });
});
