// Histories of a TLB: table entries change, pages are touched, INVLPG, INVPCID, CR3 loads and control bits come in
// between. An access may use a translation from before a change only until something invalidates it (SDM vol.3 4.10).
import { CR0, CR4, ITLB, ITLB_GLOBAL, ITLB_SPACE_IDS, TLB, WIDE_TLB } from '../../src/isa/layout.ts';
import { Machine } from './machine.ts';
import { address, Random, ROOT, randomEntry, setUp, TABLE_FRAMES } from './random-paging.ts';
import { type Access, type PagingState, referenceWalk, type Tables } from './reference-walk.ts';

const NO_FLUSH = 1n << 63n;
const ALL_ONES = 0xffff_ffff_ffff_ffffn;
/** Steps of a history. */
const STEPS = 160;
const ADDRESSES = 10;
const PAGE = ~0xfffn;
/** Some histories use more PCIDs than the TLBs keep. */
const FEW_PCIDS = 3;
const MANY_PCIDS = TLB.SPACES + 4;
/** Tags of the second-level TLB end before this number. */
const TAG_NUMBERS = 0xfff;

/** The tables at some time, and the PCID that was current then. */
interface Version {
  readonly frames: ReadonlyMap<number, Uint8Array>;
  readonly cr3: bigint;
  readonly pcid: number;
}

/** Bounds below which versions cannot be in a TLB any more, for one address. */
interface Bounds {
  readonly byPcid: Map<number, number>;
  global: number;
}

class History {
  readonly m = new Machine();
  private readonly r: Random;
  private state: PagingState;
  private readonly versions: Version[] = [];
  private readonly bounds = new Map<bigint, Bounds>();
  private readonly addresses: bigint[];
  private pcid = 0;
  private user: boolean;
  private readonly pcids: number;
  /** Percent of steps that load CR3. */
  private readonly switches: number;

  constructor(seed: number) {
    this.r = new Random(seed);
    this.state = setUp(this.m, this.r);
    this.user = this.m.num('cpl') === 3;
    const { mode } = this.state;
    this.pcids = this.r.chance(50) ? FEW_PCIDS : MANY_PCIDS;
    this.switches = this.r.chance(30) ? 25 : 6;
    if (mode === '4level' && this.r.chance(60)) this.m.set('cr4', this.m.get('cr4') | BigInt(CR4.PCIDE));
    this.addresses = Array.from({ length: ADDRESSES }, () => address(this.r, mode));
    for (const va of this.addresses) this.bounds.set(va, { byPcid: new Map(), global: 0 });
    this.m.call('set_state_done');
    this.remember();
  }

  private get now(): number {
    return this.versions.length - 1;
  }
  private remember(): void {
    const frames = new Map<number, Uint8Array>();
    const known = this.versions.at(-1)?.frames;
    for (const f of TABLE_FRAMES) {
      const bytes = new Uint8Array(this.m.memory.buffer, this.m.machine(f << 12), 4096);
      const before = known?.get(f);
      frames.set(f, before && Buffer.compare(before, bytes) === 0 ? before : bytes.slice());
    }
    this.versions.push({ frames, cr3: this.state.cr3, pcid: this.pcid });
  }

  /** Tables of a version, read-only: a walk's accessed and dirty bits are not what is compared here. */
  private tables(v: Version): Tables {
    return {
      read: (gpa, size) => {
        const frame = v.frames.get(Number(gpa >> 12n));
        if (frame) {
          const view = new DataView(frame.buffer, frame.byteOffset + Number(gpa & 0xfffn));
          return size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
        }
        if (gpa >> 12n < 1024n) return this.m.read(Number(gpa), size);
        return BigInt.asUintN(size * 8, this.m.hostValue);
      },
      write: () => {},
    };
  }

  private walk(v: Version, va: bigint, a: Access): string {
    const pdptes =
      this.state.mode === 'pae'
        ? [0, 1, 2, 3].map((i) => this.tables(v).read((v.cr3 & 0xffff_ffe0n) + BigInt(i * 8), 8))
        : this.state.pdptes;
    const result = referenceWalk({ ...this.state, cr3: v.cr3, pdptes }, this.tables(v), va, a);
    return 'gpa' in result ? result.gpa.toString(16) : `#PF ${result.error.toString(16)}`;
  }

  /** Whether a translation of version `i` may still be cached for an address: leaving global pages to be so. */
  private mayBeCached(i: number, va: bigint): boolean {
    const b = this.bounds.get(va)!;
    const v = this.versions[i]!;
    const kept = v.pcid === this.pcid && i >= (b.byPcid.get(this.pcid) ?? 0);
    const pge = (this.m.get('cr4') & BigInt(CR4.PGE)) !== 0n;
    return kept || (pge && i >= b.global);
  }

  private forget(va: bigint | undefined, pcids: number | 'all', globals: boolean): void {
    for (const [address, b] of this.bounds) {
      if (va !== undefined && address !== va) continue;
      if (pcids === 'all') for (let p = 0; p < this.pcids; p++) b.byPcid.set(p, this.now);
      else b.byPcid.set(pcids, this.now);
      if (globals) b.global = this.now;
    }
  }

  private access(): string | undefined {
    const { r, m } = this;
    const va = r.pick(this.addresses);
    const kind = r.below(3);
    const a: Access = { write: kind === 1, user: this.user, fetch: kind === 2 };
    const got = this.ask(va, a);
    this.remember(); // accessed and dirty bits
    const fresh = this.walk(this.versions[this.now]!, va, a);
    if (got.startsWith('#PF')) this.forget(va, this.pcid, false);
    if (got === fresh) return undefined;
    for (let i = this.now; i >= 0 && !got.startsWith('#PF'); i--) {
      if (this.mayBeCached(i, va) && this.walk(this.versions[i]!, va, a) === got) return undefined;
    }
    const what = `${this.state.mode} ${va.toString(16)} ${JSON.stringify(a)} cr4 ${m.get('cr4').toString(16)}`;
    return `${what}: ${got}, a fresh walk gives ${fresh}`;
  }

  private ask(va: bigint, a: Access): string {
    if (a.fetch) return this.knownFetch(va) ?? this.slowly(va, a);
    return this.r.chance(40) ? this.inLoop(va, a) : (this.knownAccess(va, a.write) ?? this.slowly(va, a));
  }
  /** An access as loops of regions make it; the data TLB's entry may have had to go for another page. */
  private inLoop(va: bigint, a: Access): string {
    const known = this.r.chance(50) ? this.knownAccess(va, a.write) : undefined;
    const found = known ?? wideAccess(this.m, va, a.write);
    if (found !== undefined) return found;
    const host = this.m.call('ram_address', va, 1, a.write ? 1 : 0);
    return host === 0 ? this.slowly(va, a) : this.m.gpa(host).toString(16);
  }

  /** What the check in line of handlers and regions finds in the data TLB. */
  private knownAccess(va: bigint, write: boolean): string | undefined {
    const { m } = this;
    const slot = Number((va >> 12n) & BigInt(TLB.ENTRIES - 1)) * TLB.ENTRY_SIZE;
    const entry = m.num('tlb_ptr') + slot;
    if (m.view.getBigUint64(entry + (write ? TLB.TAG_WRITE : TLB.TAG_READ), true) !== (va & PAGE)) return undefined;
    const host = (Number(va & 0xffff_ffffn) + m.view.getUint32(entry + TLB.ADDEND, true)) >>> 0;
    return m.gpa(host).toString(16);
  }
  /** What a jump finds in the instruction TLB. */
  private knownFetch(va: bigint): string | undefined {
    const { m } = this;
    const entry = this.m.cpu + ITLB.OFFSET + Number((va >> 12n) & BigInt(ITLB.ENTRIES - 1)) * ITLB.ENTRY_SIZE;
    if (m.view.getBigUint64(entry + ITLB.TAG, true) !== ((va & PAGE) | m.get('itlb_ctx'))) return undefined;
    const frame = (m.view.getUint32(entry + ITLB.FRAME, true) & ~ITLB_GLOBAL) >>> 0;
    return ((BigInt(frame) << 12n) | (va & 0xfffn)).toString(16);
  }
  private slowly(va: bigint, a: Access): string {
    const { m } = this;
    const fault = (): string => `#PF ${m.num('exc_error').toString(16)}`;
    if (a.fetch) {
      const gpa = m.call64('exec_translate', va);
      if (gpa === ALL_ONES) return fault();
      if (gpa >> 12n < 1024n) m.call('itlb_fill', va, Number(gpa >> 12n), 0, m.num('exec_global'));
      return gpa.toString(16);
    }
    m.log.length = 0;
    const host = m.call(a.write ? 'mem_rmw' : 'mem_read', va, 4);
    if (host === 0) return fault();
    const bounced = m.log.find((x) => x.kind === 'read');
    m.set('bounce_size', 0n);
    return bounced ? bounced.at.toString(16) : m.gpa(host).toString(16);
  }

  private changeTable(): void {
    const { r, m, state } = this;
    const wide = state.mode !== '32';
    const size = wide ? 8 : 4;
    // Mostly the entries that the addresses use: the first, second and last ones.
    const index = r.pick(wide ? [0, 1, 511] : [0, 1, 3, 1023]);
    // The PDPTEs of PAE are registers; their table is left alone.
    const frame = r.pick(state.mode === 'pae' ? TABLE_FRAMES.slice(1) : TABLE_FRAMES);
    m.write((frame << 12) + index * size, size, randomEntry(r, wide));
    this.remember();
  }

  private loadCr3(): void {
    const { r, m, state } = this;
    const pcide = (m.get('cr4') & BigInt(CR4.PCIDE)) !== 0n;
    const root = state.mode === 'pae' ? BigInt(ROOT) : BigInt(r.pick(TABLE_FRAMES)) << 12n;
    const pcid = pcide ? r.below(this.pcids) : 0;
    const keep = pcide && r.chance(50);
    m.set('cpl', 0n);
    const fault = m.call('write_cr', 3, root | BigInt(pcid) | (keep ? NO_FLUSH : 0n));
    m.set('cpl', this.user ? 3n : 0n);
    if (fault) {
      // Accessed bits may have come into the PDPTEs, where they are reserved.
      if (state.mode === 'pae') return;
      throw new Error('MOV to CR3 faulted');
    }
    this.pcid = pcid;
    this.state = { ...state, cr3: root };
    this.remember();
    if (!keep) this.forget(undefined, pcid, false);
  }

  private invalidate(): void {
    const { r, m } = this;
    const va = r.pick(this.addresses);
    const kind = r.below(5);
    m.set('cpl', 0n);
    if (kind === 0) {
      m.call('invlpg', va);
      this.forget(va, this.pcid, true);
    } else {
      const pcide = (m.get('cr4') & BigInt(CR4.PCIDE)) !== 0n;
      const pcid = pcide ? r.below(this.pcids) : 0;
      if (m.call('invpcid', kind - 1, BigInt(pcid), va)) throw new Error('INVPCID faulted');
      if (kind === 3) this.forget(undefined, 'all', true);
      else if (kind === 4) this.forget(undefined, 'all', false);
      else this.forget(kind === 1 ? va : undefined, pcid, false);
    }
    m.set('cpl', this.user ? 3n : 0n);
  }

  /** WP, SMEP, SMAP, PGE, privilege and EFLAGS.AC. */
  private changeControl(): void {
    const { r, m } = this;
    const kind = r.below(6);
    const cr4 = (bit: number): bigint => m.get('cr4') ^ BigInt(bit);
    m.set('cpl', 0n);
    if (kind === 0) m.call('write_cr', 0, m.get('cr0') ^ BigInt(CR0.WP));
    if (kind === 1) m.call('write_cr', 4, cr4(CR4.SMEP));
    if (kind === 2) m.call('write_cr', 4, cr4(CR4.SMAP));
    // Refused when the PDPTEs, which are loaded again, have got reserved bits.
    if (kind === 3 && m.call('write_cr', 4, cr4(CR4.PGE)) === 0) this.forget(undefined, 'all', true);
    if (kind === 4) this.user = !this.user;
    if (kind === 5) m.set('eflags', m.get('eflags') ^ (1n << 18n));
    m.set('cpl', this.user ? 3n : 0n);
    m.set('seg_attr', this.user ? 0xf3n : 0x93n, 2);
    m.call('update_context');
    const on = (field: string, bit: number): boolean => (m.get(field) & BigInt(bit)) !== 0n;
    this.state = {
      ...this.state,
      wp: on('cr0', CR0.WP),
      smep: on('cr4', CR4.SMEP),
      smap: on('cr4', CR4.SMAP),
      pge: on('cr4', CR4.PGE),
      ac: on('eflags', 1 << 18),
    };
  }

  /** Brings the numbers that tell address spaces apart near their end, so that they are given out anew. */
  private useUpNumbers(): void {
    const at = (field: string): number => this.m.num(field);
    if (at('stlb_next_tag') < TAG_NUMBERS - 4) this.m.set('stlb_next_tag', BigInt(TAG_NUMBERS - 4));
    // 0: the table is yet to be emptied, and nothing in it has a number.
    const [epoch, last] = [at('wide_epoch'), WIDE_TLB.NO_KEY - 2];
    if (epoch > 0 && epoch < last) this.m.set('wide_epoch', BigInt(last));
    if (at('itlb_next_id') < ITLB_SPACE_IDS - 3) this.m.set('itlb_next_id', BigInt(ITLB_SPACE_IDS - 3));
  }

  step(): string | undefined {
    if (this.r.chance(3)) this.useUpNumbers();
    const kind = this.r.below(94 + this.switches);
    if (kind < 65) return this.access();
    if (kind < 80) this.changeTable();
    else if (kind < 88) this.invalidate();
    else if (kind < 88 + this.switches) this.loadCr3();
    else this.changeControl();
    return undefined;
  }
}

/** What loops of regions find in the table behind the data TLB: the gpa. */
export function wideAccess(m: Machine, va: bigint, write: boolean): string | undefined {
  const at = m.cpu + WIDE_TLB.OFFSET + Number((va >> 12n) & BigInt(WIDE_TLB.ENTRIES - 1)) * WIDE_TLB.ENTRY_SIZE;
  const tag = m.view.getBigUint64(at + WIDE_TLB.TAG, true);
  if ((write ? tag : tag & ~BigInt(WIDE_TLB.NO_STORES)) !== ((va & PAGE) | m.get('wide_key'))) return undefined;
  return m.gpa((Number(va & 0xffff_ffffn) + m.view.getUint32(at + WIDE_TLB.ADDEND, true)) >>> 0).toString(16);
}

/** Runs the history of a seed; says what was wrong, if anything. */
export function tlbHistory(seed: number): { steps: number; wrong: string | undefined } {
  const h = new History(seed);
  for (let steps = 0; steps < STEPS; steps++) {
    const wrong = h.step();
    if (wrong) return { steps, wrong: `seed ${seed}, step ${steps}: ${wrong}` };
  }
  return { steps: STEPS, wrong: undefined };
}
