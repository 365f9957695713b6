/** Failed system calls as errors a user can act on. */
import { HvError } from '../contract.ts';
import { ERRNO, type Libc } from './libc.ts';

const ADVICE: Readonly<Record<number, string>> = {
  [ERRNO.ENOENT]: 'use a Linux host with virtualization enabled, or --engine bt',
  [ERRNO.EACCES]: 'add yourself to the group kvm and log in again, or use --engine bt',
  [ERRNO.EPERM]: 'add yourself to the group kvm and log in again, or use --engine bt',
  [ERRNO.EBUSY]: 'another hypervisor on this host uses the processor; end it, or use --engine bt',
};
const NAME: Readonly<Record<number, string>> = Object.fromEntries(Object.entries(ERRNO).map(([n, v]) => [v, n]));

/** The error of a call that just failed. */
export function systemError(c: Libc, what: string): HvError {
  const code = c.errno();
  return new HvError(`${what} failed with ${NAME[code] ?? `errno ${code}`}`, ADVICE[code] ?? 'use --engine bt');
}

/** Passes a result that is not negative on. @throws HvError */
export function need(c: Libc, result: number, what: string): number {
  if (result < 0) throw systemError(c, what);
  return result;
}
