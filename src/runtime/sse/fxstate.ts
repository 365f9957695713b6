// Images of floating-point state by way of the scratch area: rows move them between it and the guest's memory.

import { CPU_SCRATCH } from '../gen/layout';
import { x87_fldenv, x87_fnsave, x87_fnstenv, x87_frstor } from '../x87/control';
import { x87_fxrstor, x87_fxsave } from '../x87/fxsave';

/** Builds the FXSAVE image in scratch. `form`: bit 0 64-bit FIP and FDP, bit 1 sixteen XMM registers. */
export function fxsave_image(cpu: u32, form: i32): void {
  x87_fxsave(cpu, cpu + CPU_SCRATCH, form);
}

/** Loads the state from the image in scratch, whose MXCSR has no reserved bits. */
export function fxrstor_image(cpu: u32, form: i32): void {
  x87_fxrstor(cpu, cpu + CPU_SCRATCH, form);
}

/** Builds the FNSTENV image in scratch. `form`: bit 0 32-bit operand size, bit 1 protected mode. */
export function fnstenv_image(cpu: u32, form: i32): void {
  x87_fnstenv(cpu, cpu + CPU_SCRATCH, form);
}

/** Loads the environment from the image in scratch. */
export function fldenv_image(cpu: u32, form: i32): void {
  x87_fldenv(cpu, cpu + CPU_SCRATCH, form);
}

/** Builds the FNSAVE image in scratch. */
export function fnsave_image(cpu: u32, form: i32): void {
  x87_fnsave(cpu, cpu + CPU_SCRATCH, form);
}

/** Loads environment and registers from the image in scratch. */
export function frstor_image(cpu: u32, form: i32): void {
  x87_frstor(cpu, cpu + CPU_SCRATCH, form);
}
