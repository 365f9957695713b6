/** System instructions: descriptor tables, segments, MSRs, fast system calls, time, caches, hints and the rest. */
import { SEG } from '../layout.ts';
import type { Ops } from '../ops.ts';
import { type Row, type RowAttrs, row } from '../row.ts';
import { loadFarPointer } from './branch.ts';
import { behind, bitOf, num, privileged, protectedOnly } from './common.ts';

const SYSTEM = { user: false } as const;

/** LGDT and LIDT: a 16-bit limit and a base of 64 bits in 64-bit mode, else 32, of which 16-bit forms use 24. */
const loadTable =
  (helper: 'load_gdtr' | 'load_idtr'): Row['exec'] =>
  (s) => {
    privileged(s);
    const at = s.let(s.offset(0));
    const limit = s.let(s.load(16, 'insn', at));
    const base = s.let(s.load(s.long ? 64 : 32, 'insn', behind(s, at, 2)));
    s.check(helper, limit, !s.long && s.w === 16 ? s.and(base, s.k(0xff_ffffn)) : base);
  };
const storeTable =
  (table: 'gdtr' | 'idtr'): Row['exec'] =>
  (s) => {
    s.check('store_system_check');
    const at = s.let(s.offset(0));
    s.store(16, 'insn', at, s.field(`${table}_limit`));
    s.store(s.long ? 64 : 32, 'insn', behind(s, at, 2), s.field(`${table}_base`));
  };

const TABLES: readonly Row[] = [
  row('sgdt', '=M', '0F 01 /0', storeTable('gdtr'), SYSTEM),
  row('sidt', '=M', '0F 01 /1', storeTable('idtr'), SYSTEM),
  row('lgdt', 'M', '0F 01 /2', loadTable('load_gdtr'), SYSTEM),
  row('lidt', 'M', '0F 01 /3', loadTable('load_idtr'), SYSTEM),
];

/** A value stored zero-extended to a register of the operand size, or as 16 bits to memory. */
function storeWord(name: string, enc: string, value: <V>(s: Ops<V>) => V): Row[] {
  const exec: Row['exec'] = (s) => {
    const v = value(s);
    s.set(0, s.isMem(0) ? s.zext(16, v) : s.zext(s.w, v));
  };
  return [row(name, '=Rv', enc, exec, SYSTEM), row(name, '=Mw', enc, exec, SYSTEM)];
}

function systemSelector<V>(s: Ops<V>, seg: number): V {
  protectedOnly(s);
  s.check('store_system_check');
  return s.field('seg_sel', seg);
}

const SELECTORS: readonly Row[] = [
  ...storeWord('sldt', '0F 00 /0', (s) => systemSelector(s, SEG.ldtr)),
  ...storeWord('str', '0F 00 /1', (s) => systemSelector(s, SEG.tr)),
  ...storeWord('smsw', '0F 01 /4', (s) => {
    s.check('store_system_check');
    return s.field('cr0');
  }),
  row(
    'lldt',
    'Ew',
    '0F 00 /2',
    (s) => {
      protectedOnly(s);
      privileged(s);
      s.check('load_ldtr', s.get(0));
    },
    SYSTEM,
  ),
  row(
    'ltr',
    'Ew',
    '0F 00 /3',
    (s) => {
      protectedOnly(s);
      privileged(s);
      s.check('load_tr', s.get(0));
    },
    SYSTEM,
  ),
  row(
    'lmsw',
    'Ew',
    '0F 01 /6',
    (s) => {
      privileged(s);
      s.check('load_machine_status', s.get(0));
    },
    { ...SYSTEM, ends: true },
  ),
];

/** VERR (0) and VERW (1). */
const verify =
  (write: 0 | 1): Row['exec'] =>
  (s) => {
    protectedOnly(s);
    s.check('verify_segment', s.get(0), num(s, write));
    const ok = s.let(s.field('scratch', 0));
    s.setFlag('zf', () => ok);
  };

const INSPECT: readonly Row[] = [
  row('verr', 'Ew', '0F 00 /4', verify(0), SYSTEM),
  row('verw', 'Ew', '0F 00 /5', verify(1), SYSTEM),
  row(
    'lar',
    '+Gv, Ew',
    '0F 02 /r',
    (s) => {
      protectedOnly(s);
      s.check('access_rights', s.get(1));
      const rights = s.let(s.field('scratch', 0));
      s.if(rights, () => s.set(0, s.zext(s.w, rights)));
      s.setFlag('zf', () => s.eqz(s.eqz(rights)));
    },
    SYSTEM,
  ),
  row(
    'lsl',
    '+Gv, Ew',
    '0F 03 /r',
    (s) => {
      protectedOnly(s);
      s.check('segment_limit', s.get(1));
      const answer = s.let(s.field('scratch', 0));
      const ok = s.let(bitOf(s, answer, 32));
      s.if(ok, () => s.set(0, s.zext(s.w === 16 ? 16 : 32, answer)));
      s.setFlag('zf', () => ok);
    },
    SYSTEM,
  ),
  row(
    'arpl',
    '+Ew, Gw',
    '63 /r',
    (s) => {
      protectedOnly(s);
      const to = s.let(s.get(0));
      const rpl = s.let(s.and(s.get(1), s.k(3n)));
      const raise = s.let(s.ltu(s.and(to, s.k(3n)), rpl));
      s.set(0, s.select(raise, s.or(s.and(to, s.k(0xfffcn)), rpl), to));
      s.setFlag('zf', () => raise);
    },
    { ...SYSTEM, no64: true },
  ),
  row(
    'bound',
    'Gv, Ma',
    '62 /r',
    (s) => {
      const at = s.let(s.offset(1));
      const index = s.let(s.sext(s.w, s.get(0)));
      const low = s.let(s.sext(s.w, s.load(s.w, 'insn', at)));
      const high = s.let(s.sext(s.w, s.load(s.w, 'insn', behind(s, at, s.w / 8))));
      s.fault(s.or(s.lts(index, low), s.lts(high, index)), 'br');
    },
    { no64: true },
  ),
];

/** LDS, LES, LFS, LGS, LSS: the selector first, because loading it may fault. */
function loadFar(name: string, enc: string, seg: number, attrs: RowAttrs = {}): Row {
  const exec: Row['exec'] = (s) => {
    const { offset, selector } = loadFarPointer(s, 1);
    s.check('load_far_segment', num(s, seg), selector, s.k(0n));
    s.set(0, offset);
  };
  return row(name, '=Gv, Mp', enc, exec, { ...SYSTEM, ...attrs });
}

const FAR_LOADS: readonly Row[] = [
  loadFar('les', 'C4 /r', SEG.es, { no64: true }),
  loadFar('lds', 'C5 /r', SEG.ds, { no64: true }),
  loadFar('lss', '0F B2 /r', SEG.ss, { ends: true }),
  loadFar('lfs', '0F B4 /r', SEG.fs),
  loadFar('lgs', '0F B5 /r', SEG.gs),
];

/** A row whose meaning is one helper, after the privilege check if `only0`. */
const viaHelper =
  (helper: string, only0: boolean): Row['exec'] =>
  (s) => {
    if (only0) privileged(s);
    s.check(helper);
  };

const REGISTERS: readonly Row[] = [
  row('clts', '', '0F 06', viaHelper('clear_task_switched', true), SYSTEM),
  row('rdmsr', '', '0F 32', viaHelper('read_msr', true), SYSTEM),
  row('wrmsr', '', '0F 30', viaHelper('write_msr', true), { ...SYSTEM, ends: true }),
  row('rdpmc', '', '0F 33', viaHelper('read_pmc', false), SYSTEM),
  row('rdtsc', '', '0F 31', viaHelper('read_tsc', false), SYSTEM),
  row('rdtscp', '', '0F 01 F9', viaHelper('read_tscp', false), { ...SYSTEM, feature: 'rdtscp' }),
  row('rdpid', '=Rn', 'F3 0F C7 /7', (s) => s.set(0, s.zext(s.long ? 64 : 32, s.field('tsc_aux'))), {
    ...SYSTEM,
    feature: 'rdpid',
  }),
  row('cpuid', '', '0F A2', (s) => void s.call('cpuid'), SYSTEM),
  row('xgetbv', '', 'NP 0F 01 D0', viaHelper('read_xcr', false), { ...SYSTEM, feature: 'xsave' }),
  row('xsetbv', '', 'NP 0F 01 D1', viaHelper('write_xcr', true), { ...SYSTEM, feature: 'xsave', ends: true }),
  row('swapgs', '', '0F 01 F8', viaHelper('swapgs', true), { ...SYSTEM, only64: true }),
];

/** RDFSBASE and RDGSBASE (`write` 0), WRFSBASE and WRGSBASE (1): the helper checks, and writes. */
function segmentBase(name: string, digit: number, gs: 0 | 1, write: 0 | 1): Row {
  const exec: Row['exec'] = (s) => {
    s.check('rw_fs_gs_base', num(s, gs), num(s, write), write ? s.get(0) : s.k(0n));
    if (!write) s.set(0, s.zext(s.w === 64 ? 64 : 32, s.field('seg_base', gs ? SEG.gs : SEG.fs)));
  };
  const attrs = { ...SYSTEM, only64: true, feature: 'fsgsbase' };
  return row(name, write ? 'Ry' : '=Ry', `F3 0F AE /${digit}`, exec, attrs);
}

const SEGMENT_BASES: readonly Row[] = [
  segmentBase('rdfsbase', 0, 0, 0),
  segmentBase('rdgsbase', 1, 1, 0),
  segmentBase('wrfsbase', 2, 0, 1),
  segmentBase('wrgsbase', 3, 1, 1),
];

const TRANSFER = { ...SYSTEM, ends: true } as const;
const CALLS: readonly Row[] = [
  row('syscall', '', '0F 05', (s) => s.transfer('syscall', s.nextRip()), TRANSFER),
  row('sysret/sysret/sysretq', '', '0F 07', (s) => s.transfer('sysret', num(s, s.w)), TRANSFER),
  row('sysenter', '', '0F 34', (s) => s.transfer('sysenter'), TRANSFER),
  row('sysexit/sysexit/sysexitq', '', '0F 35', (s) => s.transfer('sysexit', num(s, s.w)), TRANSFER),
  row('vmcall', '', 'NP 0F 01 C1', viaHelper('vmcall', false), TRANSFER),
  row('vmmcall', '', '0F 01 D9', viaHelper('vmcall', false), TRANSFER),
  row(
    'hlt',
    '',
    'F4',
    (s) => {
      privileged(s);
      s.transfer('halt', s.nextRip());
    },
    TRANSFER,
  ),
  row('mwait', '', '0F 01 C9', viaHelper('mwait', true), { ...TRANSFER, feature: 'monitor' }),
  row(
    'monitor',
    '',
    '0F 01 C8',
    (s) => {
      privileged(s);
      const at = s.let(s.reg(s.asize, 0));
      s.let(s.load(8, 'insn', at)); // checked like a byte read
      s.check('monitor', s.linear('insn', at));
    },
    { ...SYSTEM, asize: true, feature: 'monitor' },
  ),
];

/** CLAC and STAC: at CPL 0 only, else #UD (SDM vol.2). The runtime keeps the data TLB's access context with it. */
const accessCheck =
  (on: 0 | 1): Row['exec'] =>
  (s) => {
    s.fault(s.field('cpl'), 'ud');
    s.check('set_access_check', num(s, on));
  };

const PAGING: readonly Row[] = [
  row(
    'invlpg',
    'M',
    '0F 01 /7',
    (s) => {
      privileged(s);
      s.check('invlpg', s.linear('insn', s.offset(0)));
    },
    { ...TRANSFER, noAccess: true },
  ),
  row(
    'invpcid',
    'Gn, M',
    '66 0F 38 82 /r',
    (s) => {
      privileged(s);
      const at = s.let(s.offset(1));
      const pcid = s.let(s.load(64, 'insn', at));
      const address = s.let(s.load(64, 'insn', behind(s, at, 8)));
      s.check('invpcid', s.get(0), pcid, address);
    },
    { ...TRANSFER, feature: 'invpcid' },
  ),
  row('clac', '', 'NP 0F 01 CA', accessCheck(0), { ...SYSTEM, feature: 'smap' }),
  row('stac', '', 'NP 0F 01 CB', accessCheck(1), { ...SYSTEM, feature: 'smap' }),
  row('wbinvd', '', '0F 09', viaHelper('wbinvd', true), SYSTEM),
  row('invd', '', '0F 08', viaHelper('wbinvd', true), SYSTEM),
];

const nothing: Row['exec'] = () => {};
/** A cache line operation has no effect here, but faults like a byte read. */
const touch: Row['exec'] = (s) => {
  s.let(s.get(0));
};

/** Fences: ModRM.rm is ignored. Memory here is always in order. */
const fence = (name: string, first: number): Row[] =>
  [0, 1, 2, 3, 4, 5, 6, 7].map((rm) =>
    row(name, '', `NP 0F AE ${(first + rm).toString(16).toUpperCase()}`, nothing, { feature: 'sse2' }),
  );

const HINT = { noAccess: true } as const;
const CACHE: readonly Row[] = [
  row('clflush', 'Mb', 'NP 0F AE /7', touch, { feature: 'clflush' }),
  row('clflushopt', 'Mb', '66 0F AE /7', touch, { feature: 'clflushopt' }),
  row('clwb', 'Mb', '66 0F AE /6', touch, { feature: 'clwb' }),
  row('serialize', '', 'NP 0F 01 E8', nothing, { feature: 'serialize', ends: true }),
  ...fence('lfence', 0xe8),
  ...fence('mfence', 0xf0),
  ...fence('sfence', 0xf8),
  row('prefetch', 'Mb', '0F 0D /r', nothing, HINT),
  row('prefetchw', 'Mb', '0F 0D /1', nothing, HINT),
  ...['prefetchnta', 'prefetcht0', 'prefetcht1', 'prefetcht2'].map((name, digit) =>
    row(name, 'Mb', `0F 18 /${digit}`, nothing, HINT),
  ),
];

/** Opcodes that are NOPs with a ModRM operand until a feature takes them (SDM vol.2 table A-3). */
const NOPS: readonly Row[] = [
  row('nop', '', '90', nothing, { noRexB: true }),
  row('pause', '', 'F3 90', nothing, { noRexB: true }),
  // 0F 0D with a register is a NOP on Intel's CPUs and #UD on AMD's, so no host can be asked.
  row('nop', 'Rv', '0F 0D /r', nothing, { ...HINT, user: false }),
  ...['18', '19', '1A', '1B', '1C', '1D', '1E', '1F'].map((op) => row('nop', 'Ev', `0F ${op} /r`, nothing, HINT)),
  row('endbr64', '', 'F3 0F 1E FA', nothing),
  row('endbr32', '', 'F3 0F 1E FB', nothing),
];

const undefinedOpcode: Row['exec'] = (s) => s.fault(s.k(1n), 'ud');
const UNDEFINED: readonly Row[] = [
  row('ud2', '', '0F 0B', undefinedOpcode, TRANSFER),
  row('ud1', 'Gv, Ev', '0F B9 /r', undefinedOpcode, { ...TRANSFER, noAccess: true }),
  row('ud0', 'Gv, Ev', '0F FF /r', undefinedOpcode, { ...TRANSFER, noAccess: true }),
];

/** CF tells that a number was there; the other flags are 0. */
const random: Row['exec'] = (s) => {
  s.set(0, s.zext(s.w, s.call('hw_random')));
  s.setArith(s.k(1n));
};
const RANDOM: readonly Row[] = [
  row('rdrand', '=Rv', 'NFx 0F C7 /6', random, { ...SYSTEM, feature: 'rdrand' }),
  row('rdseed', '=Rv', 'NFx 0F C7 /7', random, { ...SYSTEM, feature: 'rdseed' }),
];

export const SYSTEM_ROWS: readonly Row[] = [
  ...TABLES,
  ...SELECTORS,
  ...INSPECT,
  ...FAR_LOADS,
  ...REGISTERS,
  ...SEGMENT_BASES,
  ...CALLS,
  ...PAGING,
  ...CACHE,
  ...NOPS,
  ...UNDEFINED,
  ...RANDOM,
];
