/** Machines in protected and in long mode, with descriptor tables in place. */
import { CR0, CR4, EFER } from '../../src/isa/layout.ts';
import { attr, DB, G, L, Machine } from './machine.ts';

export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
export const STACK0 = 0x8000;
export const STACK3 = 0x9000;

// Types of descriptors.
export const DATA = 0x13;
export const CODE = 0x1b;
export const CONFORMING = 0x1f;
export const TSS32 = 9;
export const TSS16 = 1;
export const CALL_GATE32 = 12;
export const TASK_GATE = 5;
export const INT_GATE32 = 14;
export const TRAP_GATE32 = 15;

// Selectors; those of level 3 with RPL 3.
export const CS0 = 0x08;
export const DS0 = 0x10;
export const CS3 = 0x1b;
export const DS3 = 0x23;
export const TR = 0x28;
/** Free for tests: 0x40-0x7f. */
export const SPARE = 0x40;

const GDT_LIMIT = 0xff;

/** Protected mode without paging, at `level`, rip 0x5000, interrupts on. Segments are flat. */
export function protectedMachine(level: 0 | 3): Machine {
  const m = new Machine();
  m.set('cr0', BigInt(CR0.PE | CR0.ET));
  const flat = DB | G;
  m.descriptor(GDT + 0x08, 0, 0xfffff, attr(CODE, 0, flat));
  m.descriptor(GDT + 0x10, 0, 0xfffff, attr(DATA, 0, flat));
  m.descriptor(GDT + 0x18, 0, 0xfffff, attr(CODE, 3, flat));
  m.descriptor(GDT + 0x20, 0, 0xfffff, attr(DATA, 3, flat));
  m.descriptor(GDT + TR, TSS, 0x67 + 0x20, attr(TSS32));
  m.write(TSS + 4, 4, STACK0);
  m.write(TSS + 8, 4, DS0);
  common(m, level, attr(CODE, level, flat));
  expectOk(m, 'load_tr', TR);
  m.setSeg('ss', level ? DS3 : DS0, 0, 0xffffffff, attr(DATA, level, flat));
  m.call('set_state_done');
  return m;
}

/** 64-bit mode at `level`, the first GiB mapped one to one and open to level 3. */
export function longMachine(level: 0 | 3): Machine {
  const m = new Machine();
  m.write(0x10000, 8, 0x11007n);
  m.write(0x11000, 8, 0x87n);
  m.set('cr3', 0x10000n);
  m.set('cr0', BigInt(CR0.PE | CR0.ET | CR0.WP) | BigInt(CR0.PG));
  m.set('cr4', BigInt(CR4.PAE));
  m.set('efer', BigInt(EFER.LME | EFER.LMA | EFER.SCE | EFER.NXE));
  m.descriptor(GDT + 0x08, 0, 0xfffff, attr(CODE, 0, L | G));
  m.descriptor(GDT + 0x10, 0, 0xfffff, attr(DATA, 0, DB | G));
  m.descriptor(GDT + 0x18, 0, 0xfffff, attr(CODE, 3, L | G));
  m.descriptor(GDT + 0x20, 0, 0xfffff, attr(DATA, 3, DB | G));
  m.descriptor(GDT + TR, TSS, 0x67 + 0x20, attr(TSS32), true);
  m.write(TSS + 4, 8, STACK0);
  common(m, level, attr(CODE, level, L | G));
  expectOk(m, 'load_tr', TR);
  m.setSeg('ss', level ? DS3 : DS0, 0, 0xffffffff, attr(DATA, level, DB | G));
  m.call('set_state_done');
  return m;
}

function common(m: Machine, level: 0 | 3, code: number): void {
  m.set('gdtr_base', BigInt(GDT));
  m.set('gdtr_limit', BigInt(GDT_LIMIT));
  m.set('idtr_base', BigInt(IDT));
  m.set('idtr_limit', 0xfffn);
  // LTR wants level 0; the stack segment sets the final one.
  m.setSeg('ss', DS0, 0, 0xffffffff, attr(DATA, 0, DB | G));
  m.setSeg('cs', level ? CS3 : CS0, 0, 0xffffffff, code);
  m.call('set_state_done');
  m.rflags = 0x202;
  m.set('rip', 0x5000n);
  m.rsp = BigInt(level ? STACK3 : STACK0);
}

function expectOk(m: Machine, helper: string, ...args: number[]): void {
  const fault = m.fault(m.call(helper, ...args));
  if (fault) throw new Error(`${helper} faulted with vector ${fault[0]}, error ${fault[1]}`);
}
