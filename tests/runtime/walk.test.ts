import { describe, expect, it } from 'vitest';
import { CPU, CR0, CR4, EFER, EXC } from '../../src/isa/layout.ts';
import { Machine } from './machine.ts';
import { type Access, type PagingState, referenceWalk, type Tables } from './reference-walk.ts';

/** xorshift: the same sequence in every run. */
class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed;
  }
  below(n: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % n;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

const ROOT = 0x10000;
const TABLE_FRAMES = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const MODES = ['32', 'pae', '4level'] as const;
const INDICES = [0, 1, 511];

function tables(m: Machine): Tables {
  return {
    read: (gpa, size) => (gpa >> 12n < 1024n ? m.read(Number(gpa), size) : BigInt.asUintN(size * 8, m.hostValue)),
    write: (gpa, size, value) => gpa >> 12n < 1024n && m.write(Number(gpa), size, value),
  };
}

/** A table entry: mostly a pointer to another table frame, so that every frame serves at every level. */
function randomEntry(r: Random, wide: boolean): bigint {
  let e = BigInt(r.pick(TABLE_FRAMES)) << 12n;
  if (r.chance(10)) e = BigInt(r.below(1024)) << 12n;
  if (r.chance(94)) e |= 1n;
  if (r.chance(70)) e |= 2n;
  if (r.chance(70)) e |= 4n;
  if (r.chance(wide ? 10 : 25)) {
    e |= 0x80n;
    if (r.chance(80)) e &= ~0x1fe000n;
    if (r.chance(60)) e &= ~0x3fffe000n;
    if (!wide && r.chance(30)) e |= 0x200000n;
  }
  if (r.chance(20)) e |= 0x100n;
  if (r.chance(30)) e |= BigInt(r.below(4)) << 5n;
  if (wide && r.chance(10)) e |= 1n << 63n;
  if (wide && r.chance(3)) e |= 1n << BigInt(40 + r.below(23));
  return e;
}

function fill(m: Machine, r: Random, wide: boolean): void {
  for (const frame of TABLE_FRAMES) {
    for (let i = 0; i < (wide ? 512 : 1024); i++) {
      m.write((frame << 12) + i * (wide ? 8 : 4), wide ? 8 : 4, randomEntry(r, wide));
    }
  }
}

function setUp(m: Machine, r: Random): PagingState {
  const mode = r.pick(MODES);
  fill(m, r, mode !== '32');
  const s: PagingState = {
    mode,
    cr3: BigInt(ROOT),
    pse: r.chance(50),
    pge: r.chance(50),
    nxe: r.chance(50),
    wp: r.chance(50),
    smep: r.chance(50),
    smap: r.chance(50),
    ac: r.chance(50),
    physBits: 40n,
    pdptes: [0, 1, 2, 3].map((i) => (i === 2 ? 0n : (BigInt(TABLE_FRAMES[i + 1]!) << 12n) | 1n)),
  };
  if (mode === 'pae') s.pdptes.forEach((p, i) => void m.write(ROOT + i * 8, 8, p));
  m.set('cr0', BigInt(CR0.PE | (s.wp ? CR0.WP : 0)) | BigInt(CR0.PG));
  let cr4 = mode === '32' ? 0 : CR4.PAE;
  if (s.pse) cr4 |= CR4.PSE;
  if (s.pge) cr4 |= CR4.PGE;
  if (s.smep) cr4 |= CR4.SMEP;
  if (s.smap) cr4 |= CR4.SMAP;
  m.set('cr4', BigInt(cr4));
  m.set('cr3', s.cr3);
  m.set('efer', BigInt((s.nxe ? EFER.NXE : 0) | (mode === '4level' ? EFER.LMA | EFER.LME : 0)));
  m.set('eflags', BigInt(2 | (s.ac ? 1 << 18 : 0)));
  m.set('seg_attr', r.chance(50) ? 0xf3n : 0x93n, 2);
  m.call('set_state_done');
  return s;
}

function address(r: Random, mode: PagingState['mode']): bigint {
  const offset = BigInt(r.below(0xff0));
  if (mode === '32') return (BigInt(r.pick([0, 1, 1023])) << 22n) | (BigInt(r.pick([0, 3, 1023])) << 12n) | offset;
  const low = (BigInt(r.pick(INDICES)) << 21n) | (BigInt(r.pick(INDICES)) << 12n) | offset;
  if (mode === 'pae') return (BigInt(r.below(4)) << 30n) | low;
  return BigInt.asUintN(
    64,
    BigInt.asIntN(48, (BigInt(r.pick(INDICES)) << 39n) | (BigInt(r.pick(INDICES)) << 30n) | low),
  );
}

/** What the runtime does: gpa, or the error code of the page fault. */
function run(m: Machine, va: bigint, a: Access): string {
  if (a.fetch) {
    const gpa = m.call64('exec_translate', va);
    return gpa === 0xffff_ffff_ffff_ffffn ? faultText(m, va) : gpa.toString(16);
  }
  m.log.length = 0;
  const host = m.call(a.write ? 'mem_rmw' : 'mem_read', va, 4);
  if (host === 0) return faultText(m, va);
  if (host !== m.cpu + CPU.bounce!) return m.gpa(host).toString(16);
  m.set('bounce_size', 0n);
  return m.log.find((x) => x.kind === 'read')!.at.toString(16);
}
function faultText(m: Machine, va: bigint): string {
  expect(m.num('exc_vector')).toBe(EXC.PF);
  expect(m.get('exc_cr2')).toBe(va);
  return `#PF ${m.num('exc_error').toString(16)}`;
}
const tableBytes = (m: Machine): string =>
  TABLE_FRAMES.map((f) => Buffer.from(m.memory.buffer, m.machine(f << 12), 4096).toString('latin1')).join('');

describe('page walks', () => {
  it.each([11, 22, 33, 44])('agree with the reference over random tables, seed %i', (seed) => {
    const r = new Random(seed);
    const m = new Machine();
    const seen = new Set<string>();
    for (let n = 0; n < 80; n++) {
      const s = setUp(m, r);
      const user = m.num('cpl') === 3;
      for (let i = 0; i < 40; i++) {
        const va = address(r, s.mode);
        const a: Access = { write: r.chance(40), user, fetch: false };
        const access = r.chance(20) ? { write: false, user, fetch: true } : a;
        const before = tableBytes(m);
        const got = run(m, va, access);
        const after = tableBytes(m);
        restore(m, before);
        const want = referenceWalk(s, tables(m), va, access);
        const text = 'gpa' in want ? want.gpa.toString(16) : `#PF ${want.error.toString(16)}`;
        expect(`${s.mode} ${va.toString(16)} ${JSON.stringify(access)} ${got}`).toBe(
          `${s.mode} ${va.toString(16)} ${JSON.stringify(access)} ${text}`,
        );
        expect(after === tableBytes(m), 'accessed and dirty bits').toBe(true);
        seen.add('gpa' in want ? s.mode : `${s.mode} ${want.error & 9}`);
        if (r.chance(10)) change(m, r, s, va);
      }
    }
    // The sample has successes and each kind of fault in each mode.
    for (const mode of MODES) for (const kind of ['', ' 0', ' 1', ' 9']) expect(seen).toContain(`${mode}${kind}`);
  });

  it('refuses PDPTEs with reserved bits and keeps those it has', () => {
    const m = new Machine();
    m.set('cr0', BigInt(CR0.PE | 16));
    m.write(ROOT, 8, 0x11001n | (1n << 45n));
    expect(m.call('write_cr', 4, BigInt(CR4.PAE))).toBe(0);
    expect(m.call('write_cr', 3, BigInt(ROOT))).toBe(0);
    expect(m.fault(m.call('write_cr', 0, BigInt(CR0.PE) | BigInt(CR0.PG)))).toEqual([EXC.GP, 0]);
    expect(m.num('cr0')).toBe(CR0.PE | 16);
    m.write(ROOT, 8, 0x11001n);
    expect(m.call('write_cr', 0, BigInt(CR0.PE) | BigInt(CR0.PG))).toBe(0);
    expect(m.get('pdpte')).toBe(0x11001n);
  });
});

function restore(m: Machine, bytes: string): void {
  TABLE_FRAMES.forEach((f, i) => {
    Buffer.from(m.memory.buffer, m.machine(f << 12), 4096).write(bytes.slice(i * 4096, (i + 1) * 4096), 'latin1');
  });
}

/** The guest changes a table entry and invalidates what it must; stale translations would show afterwards. */
function change(m: Machine, r: Random, s: PagingState, va: bigint): void {
  const size = s.mode === '32' ? 4 : 8;
  const index = s.mode === '32' ? (va >> 12n) & 1023n : (va >> 12n) & 511n;
  m.write((r.pick(TABLE_FRAMES) << 12) + Number(index) * size, size, randomEntry(r, size === 8));
  // The entry serves many addresses, so one INVLPG is not enough; a CR3 load leaves global pages alone.
  m.call(s.pge ? 'flush_all' : 'flush_non_global');
}
