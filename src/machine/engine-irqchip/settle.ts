/**
 * An engine's APIC timer that went off just now may owe its interrupt still: the kernel hands it over when the vCPU
 * comes back from the guest, and says nothing of it in the state. So a guest whose timer went off lately runs a little
 * before its state is read.
 */
import { REG } from '../../devices/apic-registers.ts';
import type { Vcpu } from '../../hv/contract.ts';

/** After so many nanoseconds of running the interrupt was handed over. */
export const TIMER_SETTLES_NS = 300_000;
const TRIES = 5;
const MODE_SHIFT = 17;
const MODE_MASK = 3;
const ONE_SHOT = 0;
const PERIODIC = 1;

/** Nanoseconds since the timer went off last; infinite when that cannot be lately. */
function sinceExpiry(page: Uint8Array): number {
  const view = new DataView(page.buffer);
  const get = (register: number): number => view.getUint32(register * 16, true);
  const mode = (get(REG.lvtTimer) >> MODE_SHIFT) & MODE_MASK;
  const [initial, current, divide] = [get(REG.initialCount), get(REG.currentCount), get(REG.divide)];
  const divisor = 1 << ((((divide & 3) | ((divide >> 1) & 4)) + 1) & 7);
  if (mode === PERIODIC) return initial === 0 ? Number.POSITIVE_INFINITY : (initial - current) * divisor;
  // When a count or a deadline came to its end is not told.
  return mode === ONE_SHOT && (initial === 0 || current !== 0) ? Number.POSITIVE_INFINITY : 0;
}

/** @param run lets the guest run for TIMER_SETTLES_NS */
export async function settleTimer(vcpu: Vcpu, run: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < TRIES && sinceExpiry(vcpu.getLapic()) < TIMER_SETTLES_NS; i++) {
    const oneShot = sinceExpiry(vcpu.getLapic()) === 0;
    await run();
    if (oneShot) return;
  }
}
