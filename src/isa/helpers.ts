/**
 * Runtime helpers that rows may call, with their signatures. The cpu pointer is always the first WebAssembly
 * parameter and is not listed. Letters: i = i32, l = i64, v = v128. Each family adds its own table here.
 */
export interface HelperSpec {
  readonly name: string;
  readonly params: string;
  /** '' for none. */
  readonly result: string;
  /** Arithmetic flags must be explicit (cc_op = 0, bits in cc_x) before the call. */
  readonly flags?: boolean;
  readonly about: string;
}

const helper = (signature: string, about: string, attrs: { flags?: boolean } = {}): HelperSpec => {
  const m = /^(\w+)\(([ilv]*)\):([ilv]?)$/.exec(signature);
  if (!m) throw new Error(`helper signature ${signature}: not name(ilv):ilv`);
  return { name: m[1]!, params: m[2]!, result: m[3]!, about, ...attrs };
};

/** Control transfers, segments, system registers: src/runtime/. Status results: 0 done, 1 a fault is recorded. */
const SYSTEM: readonly HelperSpec[] = [
  helper('load_segment(ii):i', 'MOV/POP to a segment register: (segment number, selector)'),
  helper('load_far_segment(iii):i', 'LDS, LES, ...: (segment number, selector, unused)'),
  helper('far_jump(ilil):i', 'JMP far: (selector, offset, operand size bits, next rip)', { flags: true }),
  helper('far_call(ilil):i', 'CALL far: (selector, offset, operand size bits, next rip)', { flags: true }),
  helper('far_return(ii):i', 'RETF: (operand size bits, bytes to release)', { flags: true }),
  helper('interrupt_return(il):i', 'IRET: (operand size bits, next rip)', { flags: true }),
  helper('software_interrupt(iil):i', 'INT n: (vector, 0 INT n | 1 INT3/INTO | 2 INT1, next rip)', { flags: true }),
  helper('syscall(l):i', 'SYSCALL: (next rip)', { flags: true }),
  helper('sysret(i):i', 'SYSRET: (operand size bits)', { flags: true }),
  helper('sysenter():i', 'SYSENTER', { flags: true }),
  helper('sysexit(i):i', 'SYSEXIT: (operand size bits)', { flags: true }),
  helper('push_flags(i):i', 'PUSHF: (operand size bits)', { flags: true }),
  helper('pop_flags(i):i', 'POPF: (operand size bits)', { flags: true }),
  helper('clear_interrupt_flag():i', 'CLI'),
  helper('set_interrupt_flag():i', 'STI'),
  helper('halt(l):i', 'HLT: (next rip)'),
  helper('read_cr(i):l', 'MOV from CRn: privilege already checked, number valid'),
  helper('write_cr(il):i', 'MOV to CRn: (number, value)'),
  helper('read_dr(i):i', 'MOV from DRn: checks, value left in scratch[0]'),
  helper('write_dr(il):i', 'MOV to DRn'),
  helper('clear_task_switched():i', 'CLTS'),
  helper('load_machine_status(i):i', 'LMSW'),
  helper('load_gdtr(il):i', 'LGDT: (limit, base)'),
  helper('load_idtr(il):i', 'LIDT: (limit, base)'),
  helper('load_ldtr(i):i', 'LLDT'),
  helper('load_tr(i):i', 'LTR'),
  helper('store_system_check():i', 'SGDT, SIDT, SLDT, STR, SMSW: #GP under UMIP'),
  helper('access_rights(i):i', 'LAR: attributes bits 8-23 of the descriptor in place, or 0 if not accessible'),
  helper('segment_limit(i):l', 'LSL: limit | 1 << 32, or 0 if not accessible'),
  helper('verify_segment(ii):i', 'VERR (0), VERW (1): 1 if accessible'),
  helper('invlpg(l):i', 'INVLPG: (linear address)'),
  helper('invpcid(ill):i', 'INVPCID: (type, descriptor low, high)'),
  helper('read_msr():i', 'RDMSR'),
  helper('write_msr():i', 'WRMSR'),
  helper('cpuid():', 'CPUID'),
  helper('read_tsc():i', 'RDTSC: writes eax, edx'),
  helper('read_tscp():i', 'RDTSCP'),
  helper('read_pmc():i', 'RDPMC'),
  helper('read_xcr():i', 'XGETBV'),
  helper('write_xcr():i', 'XSETBV'),
  helper('swapgs():i', 'SWAPGS'),
  helper('rw_fs_gs_base(iil):i', 'RDFSBASE ... : checks for FSGSBASE (0 fs, 1 gs; 0 read, 1 write; value)'),
  helper('io_in(ii):i', 'IN: (port, width bits): permission, then value in scratch[0]'),
  helper('io_out(iil):i', 'OUT: (port, width bits, value)'),
  helper('io_ins(iil):i', 'INS permission and value to scratch[0]: (port, width bits, 0)'),
  helper('bound_fault():i', 'raises #BR'),
  helper('undefined_opcode():i', 'raises #UD'),
  helper('enter_frame(iil):i', 'ENTER with a level above 0: (operand size bits, level, allocation)'),
  helper('vmcall():i', 'VMCALL/VMMCALL as a hypercall to the monitor'),
  helper('wbinvd():i', 'WBINVD, INVD: privilege only'),
  helper('monitor(l):i', 'MONITOR: (linear address)'),
  helper('mwait():i', 'MWAIT'),
  helper('set_access_check(i):i', 'CLAC (0), STAC (1): EFLAGS.AC, and the access context that depends on it'),
  helper('hw_random():l', 'RDRAND, RDSEED: 64 random bits'),
  helper(
    'rep_movs(iii):l',
    'many iterations of REP MOVS: (width bits, address size, offset of the source segment base field): advances rSI, rDI and rCX, returns elements done, 0 when the row must do the next one',
  ),
  helper('rep_stos(iii):l', 'the same for REP STOS; the third argument is not used'),
];

/**
 * SSE arithmetic by MXCSR: src/runtime/sse. ss and sd values are bit patterns. None of these fault; an unmasked
 * exception is left in the field sse_fault, and then the row calls sse_raise.
 */
const SSE: readonly HelperSpec[] = [
  helper('sse_add_ps(vv):v', 'ADDPS'),
  helper('sse_add_pd(vv):v', 'ADDPD'),
  helper('sse_add_ss(ii):i', 'ADDSS'),
  helper('sse_add_sd(ll):l', 'ADDSD'),
  helper('sse_sub_ps(vv):v', 'SUBPS'),
  helper('sse_sub_pd(vv):v', 'SUBPD'),
  helper('sse_sub_ss(ii):i', 'SUBSS'),
  helper('sse_sub_sd(ll):l', 'SUBSD'),
  helper('sse_mul_ps(vv):v', 'MULPS'),
  helper('sse_mul_pd(vv):v', 'MULPD'),
  helper('sse_mul_ss(ii):i', 'MULSS'),
  helper('sse_mul_sd(ll):l', 'MULSD'),
  helper('sse_div_ps(vv):v', 'DIVPS'),
  helper('sse_div_pd(vv):v', 'DIVPD'),
  helper('sse_div_ss(ii):i', 'DIVSS'),
  helper('sse_div_sd(ll):l', 'DIVSD'),
  helper('sse_min_ps(vv):v', 'MINPS'),
  helper('sse_min_pd(vv):v', 'MINPD'),
  helper('sse_min_ss(ii):i', 'MINSS'),
  helper('sse_min_sd(ll):l', 'MINSD'),
  helper('sse_max_ps(vv):v', 'MAXPS'),
  helper('sse_max_pd(vv):v', 'MAXPD'),
  helper('sse_max_ss(ii):i', 'MAXSS'),
  helper('sse_max_sd(ll):l', 'MAXSD'),
  helper('sse_sqrt_ps(v):v', 'SQRTPS'),
  helper('sse_sqrt_pd(v):v', 'SQRTPD'),
  helper('sse_sqrt_ss(i):i', 'SQRTSS'),
  helper('sse_sqrt_sd(l):l', 'SQRTSD'),
  helper('sse_rcp_ps(v):v', 'RCPPS: raises nothing'),
  helper('sse_rcp_ss(i):i', 'RCPSS: raises nothing'),
  helper('sse_rsqrt_ps(v):v', 'RSQRTPS: raises nothing'),
  helper('sse_rsqrt_ss(i):i', 'RSQRTSS: raises nothing'),
  helper('sse_cmp_ps(vvi):v', 'CMPPS: (a, b, predicate 0-7)'),
  helper('sse_cmp_pd(vvi):v', 'CMPPD: (a, b, predicate 0-7)'),
  helper('sse_cmp_ss(iii):i', 'CMPSS: (a, b, predicate 0-7)'),
  helper('sse_cmp_sd(lli):l', 'CMPSD: (a, b, predicate 0-7)'),
  helper('sse_comi_ss(iii):i', 'UCOMISS (0), COMISS (1): EFLAGS bits'),
  helper('sse_comi_sd(lli):i', 'UCOMISD (0), COMISD (1): EFLAGS bits'),
  helper('sse_i32_to_ss(i):i', 'CVTSI2SS'),
  helper('sse_i64_to_ss(l):i', 'CVTSI2SS'),
  helper('sse_i64_to_sd(l):l', 'CVTSI2SD'),
  helper('sse_ss_to_i32(ii):i', 'CVTSS2SI (0), CVTTSS2SI (1)'),
  helper('sse_ss_to_i64(ii):l', 'CVTSS2SI, CVTTSS2SI'),
  helper('sse_sd_to_i32(li):i', 'CVTSD2SI (0), CVTTSD2SI (1)'),
  helper('sse_sd_to_i64(li):l', 'CVTSD2SI, CVTTSD2SI'),
  helper('sse_ss_to_sd(i):l', 'CVTSS2SD'),
  helper('sse_sd_to_ss(l):i', 'CVTSD2SS'),
  helper('sse_ps_to_pd(v):v', 'CVTPS2PD of the low half'),
  helper('sse_pd_to_ps(v):v', 'CVTPD2PS'),
  helper('sse_dq_to_ps(v):v', 'CVTDQ2PS'),
  helper('sse_ps_to_dq(vi):v', 'CVTPS2DQ (0), CVTTPS2DQ (1)'),
  helper('sse_pd_to_dq(vi):v', 'CVTPD2DQ (0), CVTTPD2DQ (1)'),
  helper('sse_raise():i', 'raises #XM, or #UD without CR4.OSXMMEXCPT, and clears sse_fault'),
  helper('fxsave_image(i):', 'FXSAVE image into scratch: (bit 0 64-bit pointers, bit 1 sixteen XMM registers)'),
  helper('fxrstor_image(i):', 'state from the FXSAVE image in scratch; the row has checked MXCSR'),
];

export const HELPERS: readonly HelperSpec[] = [...SYSTEM, ...SSE];
