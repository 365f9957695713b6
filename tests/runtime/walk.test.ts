import { describe, expect, it } from 'vitest';
import { CPU, CR0, CR4, EXC } from '../../src/isa/layout.ts';
import { Machine } from './machine.ts';
import { address, MODES, Random, ROOT, randomEntry, setUp, TABLE_FRAMES, tables } from './random-paging.ts';
import { type Access, type PagingState, referenceWalk } from './reference-walk.ts';

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
