// FXSAVE and FXRSTOR by way of the scratch area: rows move the image between it and the guest's memory.

import { CPU_SCRATCH } from '../gen/layout';
import { x87_fxrstor, x87_fxsave } from '../x87/fxsave';

/** Builds the FXSAVE image in scratch. `form`: bit 0 64-bit FIP and FDP, bit 1 sixteen XMM registers. */
export function fxsave_image(cpu: u32, form: i32): void {
  x87_fxsave(cpu, cpu + CPU_SCRATCH, form);
}

/** Loads the state from the image in scratch, whose MXCSR has no reserved bits. */
export function fxrstor_image(cpu: u32, form: i32): void {
  x87_fxrstor(cpu, cpu + CPU_SCRATCH, form);
}
