// Regions go when there are too many modules, the oldest first, and come back when their code is hot again.
import { describe, expect, it } from 'vitest';
import type { TranslatorLimits } from '../../src/engine/bt/translator.ts';
import type { SoftVcpuOptions } from '../../src/hv/soft/vcpu.ts';
import { Guest, PTE } from '../differential/guest.ts';

const CODE_PAGE = 0x1000_0000n;
const LOOPS = 6;
const TURNS = 60;
const SLICES = 200;
const SLICE = 120;

/** Loops one behind the other, round and round: mov ecx, TURNS; l: inc rax; dec ecx; jnz l; jmp to the next. */
function loops(): Uint8Array {
  const bytes = new Uint8Array(LOOPS * 0x100).fill(0xcc);
  for (let n = 0; n < LOOPS; n++) {
    const next = n === LOOPS - 1 ? 0 : n + 1;
    const jump = next * 0x100 - (n * 0x100 + 17);
    const to = [jump & 255, (jump >> 8) & 255, (jump >> 16) & 255, (jump >> 24) & 255];
    bytes.set([0xb9, TURNS, 0, 0, 0, 0x48, 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xf9, 0xe9, ...to], n * 0x100);
  }
  return bytes;
}

interface Run {
  /** Where regions begin, in the order in which they are made. */
  readonly made: readonly bigint[];
  readonly evicted: number;
  readonly state: readonly bigint[];
}
function run(limits: Partial<TranslatorLimits> | undefined): Run {
  const made: bigint[] = [];
  const bt = { engine: 'bt', hotThreshold: 20, onRegion: (rip: bigint) => made.push(rip) } as const;
  const vcpu: Partial<SoftVcpuOptions> = limits ? { ...bt, translatorLimits: limits } : {};
  const guest = new Guest({ vcpu });
  const frame = guest.frames(1);
  guest.map(CODE_PAGE, frame, PTE.P | PTE.US);
  guest.memory.write(frame, loops());
  guest.enterMode(64, 3);
  guest.set64('rip', CODE_PAGE);
  guest.set64('gpr', 0n, 0);
  for (let n = 0; n < SLICES; n++) expect(guest.vcpu.run(SLICE)).toBe('budget');
  const evicted = guest.vcpu.translator?.counters.evicted ?? 0;
  return { made, evicted, state: [BigInt(guest.vcpu.retired), guest.get64('gpr', 0), guest.get64('gpr', 1)] };
}
/** Instructions of a whole loop and those that come to a place in it: what RAX and RCX are follows from how many were done. */
function isConsistent([retired, rax, rcx]: readonly bigint[]): boolean {
  const length = BigInt(2 + 3 * TURNS);
  const [whole, rest] = [retired! / length, retired! % length];
  const partial = rest === 0n ? 0n : (rest + 1n) / 3n;
  const counted = partial > BigInt(TURNS) ? BigInt(TURNS) : partial;
  return rax === whole * BigInt(TURNS) + counted && rcx! <= BigInt(TURNS);
}

describe('modules', () => {
  it('are made once where there is room', () => {
    const { made, evicted, state } = run({});
    expect([evicted, new Set(made).size]).toEqual([0, made.length]);
    expect(isConsistent(state)).toBe(true);
  });
  it('give way to new ones, the oldest first', () => {
    const { made, evicted, state } = run({ maxLiveModules: 2 });
    expect(evicted).toBeGreaterThan(LOOPS);
    expect(new Set(made).size).toBeLessThan(made.length);
    expect(isConsistent(state)).toBe(true);
  });
  it('go round through the table', () => {
    const { made, evicted, state } = run({ tableSlots: 5 });
    expect(evicted).toBeGreaterThan(LOOPS);
    expect(new Set(made).size).toBeLessThan(made.length);
    expect(isConsistent(state)).toBe(true);
  });
  it('leave the guest what it has without them', () => {
    expect(isConsistent(run(undefined).state)).toBe(true);
  });
});
