// What a random program's machine is like beyond its mode: kind of paging, protection of user pages, large and global
// pages, process-context identifiers. Drawn from the program's seed alone.
import { Random } from '../isa/random.ts';
import type { PagingKind } from './paging.ts';

export interface Environment {
  readonly paging: PagingKind;
  /** CR4.PGE is on: the kernel's pages are global. */
  readonly global: boolean;
  /** Data pages are global too, in tables that both address spaces share. */
  readonly shared: boolean;
  /** CR4.PCIDE is on, and each address space has an identifier. */
  readonly pcid: boolean;
  /** User pages and code are mapped a third time, by a large page. */
  readonly large: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  /** A program at level 0 has user pages among its own. */
  readonly userPages: boolean;
}

/** `basis`: what the program itself has drawn before. Large pages want the near arrangement of pages. */
export function drawEnvironment(
  seed: number,
  basis: {
    readonly long: boolean;
    readonly far: boolean;
    readonly cpl: 0 | 3;
    readonly global: boolean;
    readonly pcid: boolean;
  },
): Environment {
  const random = new Random(seed ^ 0x2c1b3c4b);
  const pae = random.once(2);
  const smep = random.once(3);
  const smap = random.once(3);
  return {
    paging: basis.long ? 'long' : pae ? 'pae' : 'two-level',
    global: basis.global,
    shared: random.once(2) && basis.global,
    pcid: basis.pcid,
    large: random.once(3) && !basis.far,
    smep,
    smap,
    userPages: basis.cpl === 0 && (smep || smap),
  };
}
