/** A page walk as the manual tells it (SDM vol.3 chapter 4), slow and table-driven, to compare the runtime with. */

export interface PagingState {
  readonly mode: 'off' | '32' | 'pae' | '4level';
  readonly cr3: bigint;
  readonly pse: boolean;
  readonly pge: boolean;
  readonly nxe: boolean;
  readonly wp: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly ac: boolean;
  readonly physBits: bigint;
  /** PDPTE registers of PAE paging. */
  readonly pdptes: readonly bigint[];
}
export interface Access {
  readonly write: boolean;
  readonly user: boolean;
  readonly fetch: boolean;
}
export type WalkResult = { readonly gpa: bigint } | { readonly error: number };
/** Reads and writes of table entries by gpa. */
export interface Tables {
  read(gpa: bigint, size: 4 | 8): bigint;
  write(gpa: bigint, size: 4 | 8, value: bigint): void;
}

interface Level {
  readonly shift: bigint;
  readonly bits: bigint;
  /** Whether bit 7 makes the entry a leaf. */
  readonly large: boolean;
}
const bit = (n: number): bigint => 1n << BigInt(n);
const range = (high: number, low: number): bigint => bit(high + 1) - bit(low);

const LEVELS: Readonly<Record<'32' | 'pae' | '4level', readonly Level[]>> = {
  '32': [
    { shift: 22n, bits: 10n, large: true },
    { shift: 12n, bits: 10n, large: false },
  ],
  pae: [
    { shift: 21n, bits: 9n, large: true },
    { shift: 12n, bits: 9n, large: false },
  ],
  '4level': [
    { shift: 39n, bits: 9n, large: false },
    { shift: 30n, bits: 9n, large: true },
    { shift: 21n, bits: 9n, large: true },
    { shift: 12n, bits: 9n, large: false },
  ],
};

/** Reserved bits of an entry. */
function reserved(s: PagingState, level: Level, entry: bigint, leaf: boolean, first: boolean): bigint {
  const width = Number(s.physBits);
  if (s.mode === '32')
    return leaf && level.shift === 22n ? bit(21) | (range(20, 13) & ~range(width - 32 + 12, 13)) : 0n;
  let mask = range(s.mode === 'pae' ? 62 : 51, width);
  if (!s.nxe) mask |= bit(63);
  if (s.mode === '4level' && first) mask |= bit(7);
  if (leaf && level.shift > 12n) mask |= range(Number(level.shift) - 1, 13);
  return mask & entry;
}

function permitted(s: PagingState, a: Access, rw: boolean, us: boolean, nx: boolean): boolean {
  if (a.fetch) return !nx && (a.user ? us : !(us && s.smep));
  if (a.user) return us && (!a.write || rw);
  if (us && s.smap && !s.ac) return false;
  return !a.write || rw || !s.wp;
}

/** Walks, setting accessed and dirty bits in `tables` if the walk succeeds. */
export function referenceWalk(s: PagingState, tables: Tables, va: bigint, a: Access): WalkResult {
  if (s.mode === 'off') return { gpa: va };
  const fail = (bits: number): WalkResult => ({
    error: bits | (a.write ? 2 : 0) | (a.user ? 4 : 0) | (a.fetch && (s.smep || (s.nxe && s.mode !== '32')) ? 16 : 0),
  });
  const size = s.mode === '32' ? 4 : 8;
  const addressField = s.mode === '32' ? range(31, 12) : range(51, 12);
  let table = s.cr3 & addressField;
  if (s.mode === 'pae') {
    const pdpte = s.pdptes[Number((va >> 30n) & 3n)]!;
    if (!(pdpte & 1n)) return fail(0);
    table = pdpte & addressField;
  }
  let rw = true;
  let us = true;
  let nx = false;
  const used: { at: bigint; entry: bigint }[] = [];
  for (const [i, level] of LEVELS[s.mode].entries()) {
    const at = table + ((va >> level.shift) & ((1n << level.bits) - 1n)) * BigInt(size);
    const entry = tables.read(at, size);
    if (!(entry & 1n)) return fail(0);
    const large = level.large && (entry & bit(7)) !== 0n && (s.mode !== '32' || s.pse);
    const leaf = large || level.shift === 12n;
    const bad = reserved(s, level, entry, leaf, i === 0) & entry;
    if (bad) return fail(9);
    rw &&= (entry & 2n) !== 0n;
    us &&= (entry & 4n) !== 0n;
    nx ||= s.mode !== '32' && (entry & bit(63)) !== 0n;
    used.push({ at, entry });
    if (!leaf) {
      table = entry & addressField;
      continue;
    }
    if (!permitted(s, a, rw, us, nx)) return fail(1);
    used.forEach((u, n) => {
      const dirty = a.write && n === used.length - 1 ? 0x40n : 0n;
      tables.write(u.at, size, tables.read(u.at, size) | 0x20n | dirty);
    });
    const offset = (1n << level.shift) - 1n;
    const high = s.mode === '32' && large ? ((entry >> 13n) & 0xffn) << 32n : 0n;
    return { gpa: (entry & addressField & ~offset) | high | (va & offset) };
  }
  throw new Error('a walk has a last level');
}
