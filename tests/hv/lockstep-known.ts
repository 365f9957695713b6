// Differences between the soft engine and /dev/kvm that are not the soft engine's faults, each with its reason. KVM
// carries guest kernel code out with its instruction emulator where the hardware cannot (always so on a host without
// nested virtualization), and that is simpler than a CPU in places.
import type { Found } from '../../src/hv/lockstep.ts';
import { AT, HANDLER_SIZE } from '../../src/hv/modes.ts';

interface Known {
  readonly why: string;
  readonly is: (f: Found) => boolean;
}

/** Prefix bytes of the instruction. */
const prefixes = (f: Found): number[] => {
  const bytes = f.bytes.split(' ').map((b) => Number.parseInt(b, 16));
  const long = f.code === 64;
  const end = bytes.findIndex((b) => !PREFIXES.has(b) && !(long && b >= 0x40 && b < 0x50));
  return bytes.slice(0, end < 0 ? bytes.length : end);
};
const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const REX_R = 4;
const IGNORED64 = new Set([0x26, 0x2e, 0x36, 0x3e]);
const rex = (f: Found): number => {
  const last = prefixes(f).at(-1) ?? 0;
  return f.code === 64 && last >= 0x40 && last < 0x50 ? last & 15 : 0;
};

/** Whether a shift is by more than 16, or by CL, which may be. */
const shiftedFar = (f: Found): boolean => {
  const count = /(?:0x)([0-9a-f]+)$/.exec(f.text)?.[1];
  return count === undefined || (Number.parseInt(count, 16) & 31) > 16;
};

/** Whether a descriptor table's "base limit" has a base that only 57-bit linear addresses reach. */
const is57 = (table: string): boolean => {
  const base = BigInt.asIntN(64, BigInt(table.split(' ')[0] || 0));
  return base >> 47n !== 0n && base >> 47n !== -1n && (base >> 56n === 0n || base >> 56n === -1n);
};

/** Vector whose handler a side has reached, or undefined. */
function vectorOf(f: Found, side: 'a' | 'b'): number | undefined {
  const text = f.differences.find((d) => d.what === 'rip')?.[side];
  if (text === undefined) return undefined;
  const at = Number(text) - AT.handlers;
  return at >= 0 && at < 256 * HANDLER_SIZE ? Math.floor(at / HANDLER_SIZE) : undefined;
}
const vectors = (f: Found, soft: number, kvm: number): boolean => vectorOf(f, 'a') === soft && vectorOf(f, 'b') === kvm;
/** Only these differ. */
const shown = (f: Found, what: string, side: 'a' | 'b'): string =>
  f.differences.find((d) => d.what === what)?.[side] ?? '';
const acCleared = (f: Found): boolean =>
  (Number(shown(f, 'rflags', 'a')) ^ Number(shown(f, 'rflags', 'b'))) === 0x40000;
const only = (f: Found, ...what: string[]): boolean =>
  f.differences.every((d) => what.some((w) => d.what === w || d.what.startsWith(`${w} `)));

export const KNOWN: readonly Known[] = [
  {
    why: 'REX.R with a segment register is #UD to KVM; CPUs ignore it (SDM vol.2 MOV)',
    is: (f) => f.name === 'mov' && (rex(f) & REX_R) !== 0 && /\b[c-gs]s\b/.test(f.text),
  },
  {
    why: 'KVM stores 8 bytes of a selector with REX.W, or 4 with a 32-bit operand; CPUs store 2 (SDM vol.2 MOV, STR, SLDT)',
    is: (f) => /^(mov|str|sldt|smsw)$/.test(f.name) && only(f, 'memory', 'accesses'),
  },
  {
    why: 'KVM takes #SS or #GP for a non-canonical address by an override that 64-bit mode ignores (SDM vol.1 3.4.2.1)',
    is: (f) => f.code === 64 && prefixes(f).some((b) => IGNORED64.has(b)) && (vectors(f, 13, 12) || vectors(f, 12, 13)),
  },
  {
    why: 'the host runs RDFSBASE and its kin whatever CR4.FSGSBASE of the guest says',
    is: (f) => /^(rd|wr)[fg]sbase$/.test(f.name),
  },
  {
    why: 'KVM keeps bit 11 of DR7 (RTM)',
    is: (f) => only(f, 'dr7') && f.differences.every((d) => (Number(d.a) ^ Number(d.b)) === 0x800),
  },
  {
    why: 'KVM gives error code 0 for LTR of a selector in the LDT, and for IRET',
    is: (f) => /^(ltr|iret)/.test(f.name) && only(f, 'memory'),
  },
  {
    why: 'KVM reads the port of INS before it looks at the destination',
    is: (f) => /^ins/.test(f.name) && f.differences.some((d) => d.what === 'accesses'),
  },
  {
    why: 'which of two faults of one instruction comes first is open: alignment or page',
    is: (f) => /^(fxrstor|fxsave|movaps|movdqa|movapd)/.test(f.name) && (vectors(f, 13, 14) || vectors(f, 14, 13)),
  },
  {
    why: 'PUSH and POP of a segment register of 32 bits access 2 or 4 bytes (SDM vol.2 PUSH)',
    is: (f) => /^(push|pop) [c-gs]s$/.test(f.name) && only(f, 'memory', 'accesses'),
  },
  {
    why: 'PUSH of a segment register by 4 bytes beyond the limit of SS, as CPUs find, where 2 as in KVM are within it',
    is: (f) =>
      /^push [c-gs]s$/.test(f.name) &&
      (shown(f, 'exit', 'a') === 'shutdown' || vectorOf(f, 'a') === 12) &&
      [0xffff_fffd, 0xffff_fffe].includes(Number(shown(f, 'rsp', 'b'))),
  },
  {
    why: 'misaligned and beyond the limit of SS: #GP by the CPU (tests/filetests), #SS in KVM; SDM vol.3 table 6-2 leaves it open',
    is: (f) =>
      /^(movaps|movdqa|movapd|movnt(ps|pd|dq))$/.test(f.name) && vectors(f, 13, 12) && only(f, 'exit', 'rip', 'memory'),
  },
  {
    why: 'a failed CMPXCHG of 32-bit registers clears the upper half in KVM, not on CPUs',
    is: (f) =>
      f.name === 'cmpxchg' &&
      f.code === 64 &&
      f.differences.every(
        (d) => /^r/.test(d.what) && BigInt(d.a) !== BigInt(d.b) && BigInt.asUintN(32, BigInt(d.a)) === BigInt(d.b),
      ),
  },
  {
    why: 'an MMX store that faults has marked the registers as used in KVM',
    is: (f) => only(f, 'ftw'),
  },
  {
    why: 'KVM cannot carry PUSHA, POPA, FXSAVE and FXRSTOR out on what is not RAM',
    is: (f) => /^(pusha|popa|fxsave|fxrstor)/.test(f.name) && f.differences.some((d) => d.what === 'accesses'),
  },
  {
    why: 'KVM takes bits of CR4 (VME, PVI, OSXSAVE) that the CPU model does not have',
    is: (f) =>
      f.name === 'mov' &&
      /mov cr4/.test(f.text) &&
      (vectorOf(f, 'a') === 13 || shown(f, 'exit', 'a') === 'shutdown') &&
      (Number(shown(f, 'cr4', 'b')) & 0x40003) !== 0,
  },
  {
    why: 'a host without nested virtualization refuses paging outside long mode',
    is: (f) =>
      f.code !== 64 &&
      /^(mov|lmsw)$/.test(f.name) &&
      /cr0|lmsw/.test(f.text) &&
      f.differences.some((d) => d.what === 'cr0' && BigInt(d.a) >> 31n === 1n),
  },
  {
    why: 'KVM does not carry INT n out well in any mode under single steps, and misses the trap behind port accesses',
    is: (f) => f.name === 'int' || (/^(in|out)/.test(f.name) && only(f, 'rip', 'rsp', 'memory', 'rflags', 'rcx')),
  },
  {
    why: 'instructions that are #UD in real mode check their operand first here, not on CPUs: not mended, no guest depends on it',
    is: (f) => f.code === 16 && /^(sldt|str|lldt|ltr|verr|verw|lar|lsl|arpl)$/.test(f.name) && vectorOf(f, 'b') === 6,
  },
  {
    why: 'KVM shuts down at some exceptions in real mode',
    is: (f) => f.code === 16 && shown(f, 'exit', 'b') === 'shutdown' && vectorOf(f, 'a') !== undefined,
  },
  {
    why: 'SGDT and SIDT that fault may have stored their first bytes here, not in KVM: open',
    is: (f) => /^s[gi]dt$/.test(f.name) && only(f, 'memory'),
  },
  {
    why: 'a string instruction that stores over itself is read again after each iteration here, in blocks in KVM',
    is: (f) =>
      /^(stos|movs|ins)/.test(f.name) && /^rep/.test(f.text) && f.differences.some((d) => /^r(cx|di)$/.test(d.what)),
  },
  {
    why: 'KVM carries many iterations out in a step, and these have stored over the tables that it runs by',
    is: (f) => /^rep/.test(f.text) && shown(f, 'exit', 'b') === 'shutdown' && shown(f, 'exit', 'a') === 'debug',
  },
  {
    why: "KVM's emulator does not look at data breakpoints",
    is: (f) =>
      vectorOf(f, 'a') === 1 && vectorOf(f, 'b') === undefined && only(f, 'rsp', 'rip', 'memory', 'dr6', 'rflags'),
  },
  {
    why: 'KVM forgets the flags of the iterations before one that faults; either is allowed (SDM vol.2 REP)',
    is: (f) => /^(cmps|scas)/.test(f.name) && only(f, 'rflags', 'memory'),
  },
  {
    why: 'KVM does not look at bits 32-63 of a value for CR0',
    is: (f) => f.code === 64 && /mov cr0/.test(f.text) && vectorOf(f, 'a') === 13,
  },
  {
    why: 'KVM does not ask FXSAVE and FXRSTOR for alignment',
    is: (f) => /^fx(save|rstor)/.test(f.name) && vectorOf(f, 'a') === 13,
  },
  {
    why: 'KVM lets a push in real mode wrap around the end of the stack segment (SDM vol.3 20.1.3)',
    is: (f) => f.code === 16 && shown(f, 'exit', 'a') === 'shutdown' && Number(shown(f, 'rsp', 'a') || 99) < 6,
  },
  {
    why: 'a far return that faults has moved the stack pointer in KVM',
    is: (f) => f.name === 'retf' && only(f, 'rsp', 'memory'),
  },
  {
    why: 'KVM loses accesses when one instruction, or a step of two, makes several outside RAM by its stack pointer',
    is: (f) =>
      only(f, 'accesses', 'rsp') && /^(push|int|iret|call|enter|ret)/.test(f.name) && shown(f, 'accesses', 'b') !== '',
  },
  {
    why: 'KVM has stored the first part of a store that crosses into a page that faults',
    is: (f) => only(f, 'memory') && f.differences.every((d) => /ff8$/.test(d.what)),
  },
  {
    why: "MXCSR_MASK of an FXSAVE image is the host CPU's in KVM",
    is: (f) => /^fxsave/.test(f.name) && only(f, 'memory'),
  },
  {
    why: 'KVM does not refuse high bits for DR4 and DR5, only for DR6 and DR7',
    is: (f) => f.name === 'mov' && /dr[45]/.test(f.text) && vectorOf(f, 'a') === 13,
  },
  {
    why: 'KVM cannot load or store descriptor tables, or their registers, outside RAM',
    is: (f) => /^[ls][gi]dt$/.test(f.name) && f.differences.some((d) => d.what === 'accesses'),
  },
  {
    why: 'a host with 57-bit linear addresses takes such a base (SDM vol.2 LGDT asks for canonical ones)',
    is: (f) =>
      f.code === 64 &&
      /^l[gi]dt$/.test(f.name) &&
      vectorOf(f, 'a') === 13 &&
      is57(shown(f, f.name === 'lidt' ? 'idt' : 'gdt', 'b')),
  },
  {
    why: 'KVM reads a far pointer outside RAM in one access',
    is: (f) => /^(l[defgs]s|call|jmp)$/.test(f.name) && f.differences.some((d) => d.what === 'accesses'),
  },
  {
    why: 'KVM reads the destination before it finds that it may not be written',
    is: (f) => only(f, 'accesses') && shown(f, 'accesses', 'a') === '' && /^read \S+$/.test(shown(f, 'accesses', 'b')),
  },
  {
    why: 'whether an operand may wrap around at 4 GiB is open (SDM vol.3 5.3)',
    is: (f) =>
      f.code !== 64 &&
      ([12, 13].includes(vectorOf(f, 'a') ?? 0) || shown(f, 'exit', 'a') === 'shutdown') &&
      (/ffffff[a-f0-9]=/.test(shown(f, 'accesses', 'b')) || /^s[gi]dt/.test(f.name)),
  },
  {
    why: 'the host clears AC when it delivers an exception',
    is: (f) => only(f, 'rflags') && acCleared(f),
  },
  {
    why: 'KVM carries ENTER and, in real mode, INT out at the size of the stack, or of a 66 prefix (SDM vol.2 ENTER, INT n)',
    is: (f) => /^(enter|int|int3|into)$/.test(f.name) && prefixes(f).includes(0x66),
  },
  {
    why: 'KVM sets the flags of AAD and AAM by AX, CPUs by AL (SDM vol.2 AAD)',
    is: (f) => /^aa[dm]$/.test(f.name) && only(f, 'rflags'),
  },
  {
    why: 'exceptions in real mode clear the upper half of ESP in KVM, on some hosts with any stack of 16 bits',
    is: (f) =>
      f.code !== 64 &&
      /^0x[0-9a-f]{1,4}$/.test(shown(f, 'rsp', 'b')) &&
      only(f, 'rsp', 'memory') &&
      ((Number(shown(f, 'rsp', 'a')) ^ Number(shown(f, 'rsp', 'b'))) & 0xffff) === 0,
  },
  {
    why: 'SHLD and SHRD of 16 bits by more than 16 are undefined (SDM vol.2 SHLD)',
    is: (f) => /^sh[lr]d$/.test(f.name) && (f.code === 16) !== prefixes(f).includes(0x66) && shiftedFar(f),
  },
  {
    why: 'KVM goes over some instructions (hint NOPs, fences) without the trap of a single step',
    is: (f) => /^(nop|[lms]fence|endbr64)$/.test(f.name),
  },
];

/** Why a difference is to be expected, or undefined. That the host clears AC may come on top of another. */
export function knownDifference(f: Found): string | undefined {
  const known = KNOWN.find((k) => k.is(f));
  if (known || !acCleared(f)) return known?.why;
  const rest = { ...f, differences: f.differences.filter((d) => d.what !== 'rflags') };
  return KNOWN.find((k) => k.is(rest))?.why;
}
