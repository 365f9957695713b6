// Loops of one block, which regions write in turns (see src/engine/bt/region.ts): random ones, run to their end by the
// translator in slices and by the interpreter at once, must leave the same registers, flags, MXCSR and memory. Their
// accesses go over page boundaries, to pages that are not there or cannot be written, and to numbers of all kinds. The
// seeds are fixed, the first found a mistake once; PLINTH_SEED is another second one.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Guest, PTE } from '../differential/guest.ts';
import { awkwardQuad } from '../differential/values.ts';
import { Random } from '../isa/random.ts';
import { LoopCode } from './turn-code.ts';

const LOOPS = 250;
const SEEDS = [43_478_253, Number(process.env.PLINTH_SEED ?? 50_000)];
const TIMEOUT = 300_000;
/** Of the guest. */
const RAM = 2 << 20;
const CODE_PAGE = 0x1000_0000n;
const DATA = 0x2000_0000n;
const PAGES = 8;
const STACK = 0x3000_0000n;
/** Instructions that the longest program runs for. */
const BUDGET = 6000;
const [AX, CX, DX, BX, SP, BP, SI, DI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;

/** A guest with a page of code, pages of data that are not neighbours in memory, and a stack over two pages. */
class Bench {
  readonly guest: Guest;
  readonly code: number;
  readonly data: readonly number[];
  private before = 0;

  constructor(options: ConstructorParameters<typeof Guest>[0]) {
    this.guest = new Guest(options);
    const { guest } = this;
    this.code = guest.frames(1);
    guest.map(CODE_PAGE, this.code, PTE.P | PTE.US);
    const frames = Array.from({ length: PAGES }, () => guest.frames(1));
    this.data = [...frames.filter((_, i) => i % 2), ...frames.filter((_, i) => i % 2 === 0)];
    for (const page of [0n, 0x1000n]) guest.map(STACK + page, guest.frames(1), PTE.P | PTE.US | PTE.RW);
  }
  /** Puts a program and its state into the guest; the same seed gives the same. */
  load(seed: number, bits: 32 | 64): void {
    const { guest } = this;
    const random = new Random(seed);
    const loop = new LoopCode(random, bits);
    this.before = guest.vcpu.retired;
    guest.vcpu.dropCode();
    guest.memory.write(this.code, loop.bytes);
    const kinds = [PTE.P | PTE.US | PTE.RW, PTE.P | PTE.US | PTE.RW, PTE.P | PTE.US, 0n];
    const all = random.once(2) ? 2 : 4;
    // Numbers with one of them in so many that is special or denormal, or whose products are among the smallest that are normal.
    const isAny = random.once(2);
    const strange = random.pick([1, 20, 60]);
    const [exponent, range] = random.pick([
      [0x3f0, 32],
      [0x1fe, 6],
      [0, 3],
    ] as const);
    this.data.forEach((frame, i) => {
      guest.map(DATA + BigInt(i * 4096), frame, kinds[random.below(all)]!);
      const words = new Int32Array(1024);
      for (let n = 0; n < 1024; n += 2) {
        if (random.once(strange)) {
          if (isAny) awkwardQuad(words, n, random);
          else words.set([random.u32(), random.u32() & 0x800f_ffff], n);
        } else words.set([random.u32(), (random.u32() & 0x800f_ffff) | ((exponent + random.below(range)) << 20)], n);
      }
      guest.memory.write(frame, new Uint8Array(words.buffer));
    });
    guest.vcpu.runtime.flush_all(guest.vcpu.cpu);
    guest.enterMode(bits, 3);
    const alignment = random.pick([-1, -8, -16]);
    // Not far from the end of a page, or anywhere.
    const base = (): bigint =>
      BigInt((random.once(2) ? random.below(0x4000) : 0x1000 * (1 + random.below(4)) - random.below(200)) & alignment);
    const middle = DATA + 0x1000n;
    const far = random.pick([2, 0x40, 0x900]);
    for (const r of [AX, CX, DX]) guest.set64('gpr', BigInt(random.below(far)), r);
    for (const r of [BX, SI, DI]) guest.set64('gpr', middle + base(), r);
    for (const r of [8, 9, 10, 11, 12, 13, 14, 15]) guest.set64('gpr', 0n, r);
    guest.set64('gpr', STACK + 0x1000n + BigInt(8 * random.below(4)), SP);
    guest.set64('gpr', BigInt(3 + random.below(60)), BP);
    const words = new Int32Array(16 * 8);
    for (let n = 0; n < words.length; n += 2) {
      if (isAny) awkwardQuad(words, n, random);
      else words.set([random.u32(), 0x3ff0_0000 + random.below(0x10_0000)], n);
    }
    guest.bytes.set(new Uint8Array(words.buffer), guest.vcpu.cpu + loop.offsets.ymm);
    const masks = random.once(5) ? random.below(64) << 7 : 0x1f80;
    guest.set32('mxcsr', masks | (random.once(4) ? random.below(4) << 13 : 0) | (random.once(2) ? 0x20 : 0));
    guest.set32('eflags', 2);
    guest.set64('rip', CODE_PAGE + BigInt(loop.entry));
    guest.vcpu.runtime.set_state_done(guest.vcpu.cpu);
  }
  /** What is compared. */
  result(): readonly unknown[] {
    const { guest } = this;
    const gpr = Array.from({ length: 16 }, (_, r) => guest.get64('gpr', r).toString(16));
    const ymm = Array.from({ length: 64 }, (_, i) => guest.get64('ymm', i).toString(16));
    const ram = createHash('sha1')
      .update(guest.bytes.subarray(guest.ram, guest.ram + RAM))
      .digest('hex');
    return [
      guest.vcpu.retired - this.before,
      gpr,
      ymm,
      guest.get32('mxcsr').toString(16),
      guest.get64('rip').toString(16),
      guest.get64('cr2').toString(16),
      ram,
    ];
  }
}

describe.for([64, 32] as const)('loops of one block in %i-bit code', (bits) => {
  it.for(SEEDS)('do in turns what they do one instruction at a time, seed %i', { timeout: TIMEOUT }, (first) => {
    const tested = new Bench({ vcpu: { engine: 'bt', hotThreshold: 2 } });
    const reference = new Bench({});
    for (let n = 0; n < LOOPS; n++) {
      const seed = first + n;
      const random = new Random(seed ^ 0x5bd1e995);
      reference.load(seed, bits);
      const expected = [reference.guest.vcpu.run(BUDGET), ...reference.result()];
      tested.load(seed, bits);
      let how = 'budget';
      for (let spent = 0; spent < 2 * BUDGET && how === 'budget'; ) {
        const slice = 1 + random.below(random.once(3) ? 400 : 40);
        how = tested.guest.vcpu.run(slice);
        spent += slice;
      }
      expect(how, `seed ${seed}`).toBe('hlt');
      expect([how, ...tested.result()], `seed ${seed}`).toEqual(expected);
    }
    expect(tested.guest.vcpu.translator!.counters.regions).toBeGreaterThan(LOOPS / 2);
    expect(tested.guest.vcpu.translator!.counters.failed).toBe(0);
  });
});
