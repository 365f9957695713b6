// The x87 FPU, as helpers called by instruction rows. Every helper takes the vCPU pointer first. State: CPU_FPR (eight
// 16-byte registers: significand, then sign and exponent), CPU_FCW, CPU_FSW (TOP bits clear), CPU_FTOP, CPU_FEMPTY,
// CPU_FOP, CPU_FIP, CPU_FCS, CPU_FDP, CPU_FDS.
//
// How a row uses them:
// - #NM and #MF are checked by the engine before the row runs (`unit` x87; x87-nowait for the FN forms, FXSAVE and
//   FXRSTOR) when fpu_trap is set; the helpers keep the ES bit (0x80) of fpu_trap in step with the status word.
// - x87_instruction(fop, ip) records FOP, FIP and FCS, and x87_data_pointer(segment, offset) FDP and FDS of a memory
//   operand; control instructions (FN..., FLDCW, FLDENV, FRSTOR, FWAIT) and MMX do not touch them.
// - A memory operand is loaded by the row and passed as bits, so a fault comes before any change.
// - Helpers of arithmetic return ES (0 or 0x80): whether an unmasked exception is now pending. It is raised by the
//   next waiting instruction, so a row may ignore the value.
// - A store is three calls: the value, x87_store_ok, x87_store_commit. Nothing changes before the commit, so the
//   memory write between may fault and the instruction be restarted:
//       v = x87_fst_m64(cpu);  if (x87_store_ok(cpu)) write(v);  x87_store_commit(cpu, pops)
//
//   instruction                          helper
//   FLD m32, m64, m80, ST(i)             x87_fld_m32(bits) x87_fld_m64(bits) x87_fld_m80(sig, se) x87_fld_st(i)
//   FILD m16, m32, m64                   x87_fild(sign-extended)
//   FBLD                                 x87_fbld(low 64 bits, high 16 bits)
//   FLD1 ... FLDZ (D9 E8+n)              x87_fld_constant(n)
//   FST(P) m32, m64                      x87_fst_m32, x87_fst_m64, then ok and commit(pops)
//   FSTP m80, FBSTP                      x87_fst_m80, x87_fbstp: low 64 bits; x87_store_high: high 16; ok; commit(1)
//   FIST(P), FISTTP m16, m32, m64        x87_fist(bits), x87_fistt(bits), ok, commit(pops)
//   FST(P) ST(i)                         x87_fst_st(i, pops)
//   D8 /op m32, DC /op m64               x87_arith_m32(op, bits), x87_arith_m64(op, bits); op 2, 3 = FCOM, FCOMP
//   DA /op m32int, DE /op m16int         x87_arith_int(op, sign-extended)
//   D8 C0+8*op+i                         x87_arith_st0(op, i)
//   DC, DE C0+8*op+i (op not 2, 3)       x87_arith_sti(op, i, pops 0 or 1)
//   FCOM, FCOMP, FCOMPP                  x87_fcom_st(i, 1, pops)       FUCOM, FUCOMP, FUCOMPP   x87_fcom_st(i, 0, pops)
//   FCOMI(P), FUCOMI(P)                  x87_fcomi(i, signal 1 or 0, pops): ZF PF CF; OF SF AF become 0
//   FCMOVcc                              x87_fcmov(i, condition 0 or 1)
//   FTST, FXAM, FSQRT, FRNDINT           x87_ftst, x87_fxam, x87_fsqrt, x87_frndint
//   FCHS, FABS                           x87_sign(1), x87_sign(0)
//   FSCALE, FXTRACT, FPREM, FPREM1       x87_fscale, x87_fxtract, x87_fprem(0), x87_fprem(1)
//   F2XM1 FYL2X FYL2XP1 FPATAN           x87_f2xm1, x87_fyl2x, x87_fyl2xp1, x87_fpatan
//   FSIN FCOS FSINCOS FPTAN              x87_fsin, x87_fcos, x87_fsincos, x87_fptan
//   FXCH, FFREE, FFREEP                  x87_fxch(i), x87_ffree(i, 0), x87_ffree(i, 1)
//   FINCSTP, FDECSTP                     x87_rotate(1), x87_rotate(-1)
//   FNINIT, FNCLEX, FLDCW                x87_fninit, x87_fnclex, x87_fldcw(value)
//   FNSTSW, FNSTCW                       x87_status() ; FCW is CPU_FCW itself
//   FNSTENV                              x87_fnstenv(to, form), write x87_env_size(form) bytes, x87_fnstenv_commit
//   FLDENV                               load x87_env_size(form) bytes, x87_fldenv(from, form)
//   FNSAVE                               x87_fnsave(to, form), write env size + 80 bytes, x87_fninit
//   FRSTOR                               load env size + 80 bytes, x87_frstor(from, form)
//   FXSAVE                               n = x87_fxsave(to, form), write the first n bytes
//   FXRSTOR                              load 512 bytes, x87_fxrstor(from, form): 1 = #GP(0)
//   XSAVE, XRSTOR                        fx_store_x87/_mxcsr/_xmm, fx_load_x87/_mxcsr/_xmm, fx_init_x87 by component
//   any MMX instruction                  x87_mmx_enter once its operands are read, x87_mmx_write(n, value); MMn is the
//                                        significand at CPU_FPR + 16n
//   EMMS                                 x87_emms
// `form` of environments: 1 = 32-bit operand size, 2 = protected mode. Of FXSAVE: 1 = REX.W, 2 = 64-bit mode.

export * from './arith';
export * from './control';
export * from './fxsave';
export * from './transcendental';
export * from './transfer';
