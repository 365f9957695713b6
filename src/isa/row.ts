/**
 * The form of an instruction row: mnemonic, operands, encoding, meaning. The decoder, the disassembler, the
 * engines and the test generator all read these rows.
 *
 * Operands are written in the letters of the manual's opcode maps (SDM vol.2 appendix A.2): a letter for where,
 * letters for how wide; `=` in front marks an operand that is only written, `+` one that is read and written.
 *
 *   where  E  ModRM.rm: general register or memory      G  ModRM.reg: general register
 *          R  ModRM.rm: general register only           M  ModRM.rm: memory only
 *          Z  register in the opcode's low 3 bits        B  VEX.vvvv: general register
 *          I  immediate                                 J  relative target
 *          O  memory by absolute offset                  A  far pointer immediate
 *          S  ModRM.reg: segment register                C  control register, D debug register
 *          V  ModRM.reg: xmm      W  ModRM.rm: xmm or memory     U  ModRM.rm: xmm only    H  VEX.vvvv: xmm
 *          L  bits 4-7 of the immediate: xmm     K  SIB.index: xmm (VSIB; the base and displacement are the M operand)
 *          P  ModRM.reg: mm       Q  ModRM.rm: mm or memory      N  ModRM.rm: mm only
 *          T  ModRM.rm: ST(i)     X  DS:rSI (for the disassembler)  Y  ES:rDI
 *          fixed registers by name: AL AX eAX rAX CL DX 1 (constant)
 *   how    b w d q dq qq: 8 16 32 64 128 256 bits;  v operand size;  y 32, or 64 with REX.W;  z 16 or 32, sign-extended
 *   wide   s (in Ib+s = `Ibs`) 8 bits sign-extended to the operand size;  t 80 bits;  p far pointer (16 bits + operand size);
 *          a a pair for BOUND; none for an address only (LEA);  n native: 64 in 64-bit mode, else 32
 *
 * The encoding is the manual's: `01 /r`, `0F BA /4 ib`, `F3 0F 10 /r`, `B8+r`; mandatory prefixes are NP 66 F3 F2;
 * `NFx` means F2/F3 absent. `/r` and `/0`-`/7` announce a ModRM byte. Immediates follow from the operands.
 * A VEX prefix is `VEX.` and, with dots between: 128, 256, LIG or LZ (which is 128); 66, F3, F2 or nothing; 0F, 0F38 or
 * 0F3A; W0, W1, WIG, or nothing where VEX.W gives the operand size of `y` operands in 64-bit mode. `qq` registers are
 * YMM registers; `dq` ones of a row with VEX are XMM registers, whose writing clears the upper half (Ops.setWide).
 *
 * Which row bytes belong to: among the rows of the map and opcode that the mode, the mandatory prefix, the ModRM
 * byte (digit or whole byte; `R U N` operands need mod = 3, `M` operands mod != 3; rows with a `C` or `D` operand
 * take any mod as 3) and the CPU's features allow, the most specific: an exact prefix (66, F3, F2) before NP and
 * NFx before none, then a whole ModRM byte before a digit before `/r`, then `noRexB` before `+r`. A row whose
 * feature is absent is not there, so its bytes may belong to a less specific row (TZCNT is then BSF).
 *
 * A name may be three, `cbw/cwde/cdqe`: for 16, 32, 64 bits of operand size, or, in rows with `asize` and without
 * `rep`, of address size.
 */
import type { Ops, Width } from './ops.ts';

export type Where =
  | 'E' | 'G' | 'R' | 'M' | 'Z' | 'B' | 'I' | 'J' | 'O' | 'A' | 'S' | 'C' | 'D'
  | 'V' | 'W' | 'U' | 'H' | 'L' | 'K' | 'P' | 'Q' | 'N' | 'T' | 'X' | 'Y' | 'fixed'; // biome-ignore format: one line a group

export interface Operand {
  readonly text: string;
  readonly where: Where;
  /** Size letters: b w d q dq qq v y z bs t p a n, or '' for none. For fixed registers: their width letter. */
  readonly size: string;
  readonly read: boolean;
  readonly write: boolean;
  /** Register number of a fixed operand, or the constant for `1`. */
  readonly fixed?: number;
}

export type MandatoryPrefix = 'NP' | '66' | 'F3' | 'F2' | 'NFx' | '';

export interface Encoding {
  readonly text: string;
  /** '' any 66/F2/F3 (66 is the operand-size prefix); NP none of them; 66, F3, F2 exactly that one. */
  readonly prefix: MandatoryPrefix;
  /** 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A. */
  readonly map: 0 | 1 | 2 | 3;
  readonly opcode: number;
  /** Low 3 bits of the opcode are a register. */
  readonly plusR: boolean;
  readonly modrm: boolean;
  /** Fixed ModRM.reg (`/0`-`/7`). */
  readonly digit?: number;
  /** Fixed whole ModRM byte, as in `0F 01 F8`. */
  readonly modrmByte?: number;
  /** Has a VEX prefix, whose fields must have these values; `prefix` is then NP, 66, F3 or F2. */
  readonly vex?: VexFields;
}

/** VEX.L and VEX.W that a row asks for; `size`: W gives the operand size in 64-bit mode and is ignored elsewhere. */
export interface VexFields {
  readonly l: 0 | 1 | 'any';
  readonly w: 0 | 1 | 'any' | 'size';
}

/** Attributes of a row that are not meaning. */
export interface RowAttrs {
  /** Not valid in 64-bit mode. */
  readonly no64?: boolean;
  /** Valid only in 64-bit mode. */
  readonly only64?: boolean;
  /** Operand size in 64-bit mode is 64 unless 66 is there (`d64`), or always (`f64`). */
  readonly size64?: 'd64' | 'f64';
  /** LOCK is allowed when operand 0 is in memory. */
  readonly lock?: boolean;
  /** Memory form is locked also without a LOCK prefix (XCHG). */
  readonly implicitLock?: boolean;
  /** The memory operand is only named, never accessed: no check of its address (hint NOPs, prefetches). */
  readonly noAccess?: boolean;
  /** Only without REX.B (90 is NOP, 41 90 is XCHG). */
  readonly noRexB?: boolean;
  /** REP prefixes repeat the row: `plain` until rCX is 0, `zf` also until ZF is not what the prefix asks. */
  readonly rep?: 'plain' | 'zf';
  /** Helper `(cpu, width bits, asize, segment base field offset) -> elements done` that does many iterations of REP. */
  readonly bulk?: string;
  /** The row can change rip, the mode, the privilege, the paging or IF: decoding of a trace ends here. */
  readonly ends?: boolean;
  /** Memory address is moved by the signed bit offset in operand 1 (BT family with a register). */
  readonly bitOffset?: boolean;
  /**
   * Unit whose availability is checked first (#NM, #UD by CR0, CR4 and, for avx, XCR0); x87 also reports pending
   * exceptions (#MF).
   */
  readonly unit?: 'x87' | 'x87-nowait' | 'mmx' | 'sse' | 'avx';
  /** CPUID feature that must be there, else #UD. Absent: always there. */
  readonly feature?: string;
  /** The form depends on the address size (string instructions, LOOP, JrCXZ). */
  readonly asize?: boolean;
  /** The form uses the stack implicitly. */
  readonly stack?: boolean;
  /** Flags that the manual leaves undefined after this row. */
  readonly undef?: string;
  /** Memory operand of 16 or 32 bytes must be aligned to its size (#GP). */
  readonly aligned?: boolean;
  /** Where #AC does not ask for the size of each access: for nothing, or for the operand size, at most 4 bytes. */
  readonly aligns?: 'none' | 'operand';
  /** The pop of `POP Ev` happens before its address is computed: rSP in the address counts the pop. */
  readonly popsFirst?: boolean;
  /** May run only in the host-CPU comparison at CPL 3 when true or absent; false: privileged, I/O, or control transfer out. */
  readonly user?: boolean;
}

export interface Row extends RowAttrs {
  readonly name: string;
  readonly operands: readonly Operand[];
  readonly enc: Encoding;
  exec<V>(s: Ops<V>): void;
}

/** Width in bits that size letters stand for; `w` is the operand size. 0 for an address only. */
export function sizeBits(size: string, w: Width, long: boolean): number {
  switch (size) {
    case 'b':
      return 8;
    case 'w':
      return 16;
    case 'd':
      return 32;
    case 'q':
      return 64;
    case 'dq':
      return 128;
    case 'qq':
      return 256;
    case 't':
      return 80;
    case 'v':
    case 'z':
    case 'bs':
      return w;
    case 'y':
      return w === 64 ? 64 : 32;
    case 'n':
      return long ? 64 : 32;
    case 'p':
      return w + 16;
    case 'a':
      return w * 2;
    default:
      return 0;
  }
}

const FIXED: Readonly<Record<string, { size: string; fixed: number }>> = {
  AL: { size: 'b', fixed: 0 },
  AX: { size: 'w', fixed: 0 },
  eAX: { size: 'z', fixed: 0 },
  rAX: { size: 'v', fixed: 0 },
  CL: { size: 'b', fixed: 1 },
  DX: { size: 'w', fixed: 2 },
  1: { size: 'b', fixed: 1 },
};

function parseOperand(text: string): Operand {
  const read = !text.startsWith('=');
  const write = text.startsWith('=') || text.startsWith('+');
  const bare = text.replace(/^[=+]/, '');
  const fixed = FIXED[bare];
  if (fixed) return { text: bare, where: 'fixed', size: fixed.size, read, write, fixed: fixed.fixed };
  const m = /^([EGRMZBIJOASCDVWUHLKPQNTXY])(b|w|d|q|dq|qq|t|v|z|bs|y|n|p|a)?$/.exec(bare);
  if (!m) throw new Error(`operand ${text}: not in the notation of src/isa/row.ts`);
  return { text: bare, where: m[1] as Where, size: m[2] ?? '', read, write };
}

const VEX_MAPS: Readonly<Record<string, 1 | 2 | 3>> = { '0F': 1, '0F38': 2, '0F3A': 3 };
const VEX_L: Readonly<Record<string, VexFields['l']>> = { 128: 0, LZ: 0, 256: 1, LIG: 'any' };
const VEX_W: Readonly<Record<string, VexFields['w']>> = { W0: 0, W1: 1, WIG: 'any' };

/** The fields of `VEX.128.66.0F.WIG`. */
function parseVex(text: string): { prefix: MandatoryPrefix; map: 1 | 2 | 3; vex: VexFields } {
  const m = /^VEX\.(128|LZ|256|LIG)(?:\.(66|F3|F2))?\.(0F|0F38|0F3A)(?:\.(W0|W1|WIG))?$/.exec(text);
  if (!m) throw new Error(`${text}: not a VEX prefix in the notation of src/isa/row.ts`);
  const w = m[4] === undefined ? 'size' : VEX_W[m[4]]!;
  return { prefix: (m[2] ?? 'NP') as MandatoryPrefix, map: VEX_MAPS[m[3]!]!, vex: { l: VEX_L[m[1]!]!, w } };
}

/** Prefix and escape bytes in front of the opcode: `NFx`, `F3 0F 38`; F3 alone is an opcode. */
const HEAD = /^(?:(NP|NFx|66|F3|F2) +(?=[0-9A-F]{2}))?(?:0F +(?:(38|3A) +)?(?=[0-9A-F]{2}))?/;

function parseEncoding(text: string): Encoding {
  const trimmed = text.trim();
  if (trimmed.startsWith('VEX.')) {
    const [vex, ...rest] = trimmed.split(/\s+/);
    return parseOpcode(text, rest, parseVex(vex!));
  }
  const head = HEAD.exec(trimmed)!;
  const prefix = (head[1] ?? '') as MandatoryPrefix;
  const map = head[2] === '38' ? 2 : head[2] === '3A' ? 3 : head[0].includes('0F') ? 1 : 0;
  return parseOpcode(text, trimmed.slice(head[0].length).split(/\s+/), { prefix, map });
}

type Head = Pick<Encoding, 'prefix' | 'map' | 'vex'>;

/** Opcode, ModRM and immediates, which are named only for the reader. */
function parseOpcode(text: string, tokens: string[], head: Head): Encoding {
  const op = tokens.shift() ?? '';
  const m = /^([0-9A-F]{2})(\+r)?$/.exec(op);
  if (!m) throw new Error(`encoding ${text}: no opcode`);
  const enc = { ...head, text, opcode: Number.parseInt(m[1]!, 16), plusR: m[2] !== undefined };
  const next = tokens[0];
  if (next === undefined) return { ...enc, modrm: false };
  if (next === '/r') return { ...enc, modrm: true };
  if (/^\/[0-7]$/.test(next)) return { ...enc, modrm: true, digit: Number(next[1]) };
  if (/^[0-9A-F]{2}$/.test(next)) return { ...enc, modrm: true, modrmByte: Number.parseInt(next, 16) };
  throw new Error(`encoding ${text}: what is ${next}?`);
}

/** Operand lists by their text: rows have few different ones, and every start makes all rows. */
const OPERAND_LISTS = new Map<string, readonly Operand[]>();

function parseOperands(text: string): readonly Operand[] {
  const known = OPERAND_LISTS.get(text);
  if (known !== undefined) return known;
  const list = text.trim() === '' ? [] : text.split(',').map((x) => parseOperand(x.trim()));
  OPERAND_LISTS.set(text, list);
  return list;
}

/** Makes a row. Throws at start-up when the notation is not that of this file. */
export function row(name: string, operands: string, enc: string, exec: Row['exec'], attrs: RowAttrs = {}): Row {
  return { ...attrs, name, operands: parseOperands(operands), enc: parseEncoding(enc), exec };
}
