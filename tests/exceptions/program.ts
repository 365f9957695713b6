// A few instructions on a soft vCPU, up to the exception or interrupt that they end with. Handlers halt; `resume`
// goes back to where the program was interrupted, as IRET would.
import { CPU, EFLAGS } from '../../src/isa/layout.ts';
import { CODE, CODE_PAGE, DATA, PAGE } from '../differential/case.ts';
import { Guest, type GuestOptions, HANDLERS, PTE } from '../differential/guest.ts';

export { CODE, DATA, PAGE } from '../differential/case.ts';

/** Vectors with an error code: #DF #TS #NP #SS #GP #PF #AC. */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
const GPR = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const BUDGET = 10_000;

/** What a handler found on its stack. */
export interface Event {
  readonly vector: number;
  readonly error: bigint;
  readonly rip: bigint;
  readonly rflags: number;
  readonly rsp: bigint;
}

export interface ProgramOptions {
  readonly cpl?: 0 | 3;
  readonly mode?: 32 | 64;
  readonly registers?: Readonly<Record<string, bigint>>;
  readonly rflags?: number;
  readonly guest?: GuestOptions;
  /** Called before the state is used: control registers, say. */
  readonly prepare?: (guest: Guest) => void;
}

/** Three pages at DATA: read-write, read-write, read-only; nothing behind them. */
export class Program {
  readonly guest: Guest;
  private readonly data: number;

  /** `code` is bytes in hexadecimal, with spaces as one likes. */
  constructor(code: string, o: ProgramOptions = {}) {
    const guest = new Guest(o.guest);
    this.guest = guest;
    const page = guest.frames(1);
    guest.map(CODE_PAGE, page, PTE.P | PTE.US | PTE.RW);
    this.data = guest.frames(3);
    for (let i = 0; i < 3; i++) this.mapData(i, i < 2);
    guest.memory.fill(page, PAGE, 0xcc);
    guest.memory.write(page + 0x800, Uint8Array.from(Buffer.from(code.replaceAll(/\s/g, ''), 'hex')));
    guest.enterMode(o.mode ?? 64, o.cpl ?? 3);
    o.prepare?.(guest);
    guest.set64('gpr', DATA + 0x1000n, GPR.indexOf('rsp'));
    for (const [name, value] of Object.entries(o.registers ?? {})) guest.set64('gpr', value, GPR.indexOf(name));
    this.rflags = o.rflags ?? 2;
    guest.set64('rip', CODE);
    guest.vcpu.runtime.set_state_done(guest.vcpu.cpu);
  }

  /** Maps page `i` at DATA, writable or not. */
  mapData(i: number, writable: boolean): void {
    const bits = PTE.P | PTE.US | PTE.NX | (writable ? PTE.RW : 0n);
    this.guest.map(DATA + BigInt(i * PAGE), this.data + i * PAGE, bits);
  }

  set rflags(v: number) {
    this.guest.set32('eflags', (v & ~EFLAGS.ARITH) | 2);
    this.guest.set64('cc_x', BigInt(v & EFLAGS.ARITH));
    this.guest.set32('cc_op', 0);
  }
  reg(name: string): bigint {
    return this.guest.get64('gpr', GPR.indexOf(name));
  }
  get dr6(): number {
    return Number(this.guest.get64('dr', 6) & 0xe00fn);
  }
  /** `size` bytes at DATA + offset. */
  read(offset: number, size: number): string {
    return Buffer.from(this.guest.memory.read(this.data + offset, size)).toString('hex');
  }
  write(offset: number, hex: string): void {
    this.guest.memory.write(this.data + offset, Uint8Array.from(Buffer.from(hex, 'hex')));
  }

  /** Runs until a handler halts. Throws when none does. */
  run(budget = BUDGET): Event {
    const { guest } = this;
    guest.set32('halted', 0);
    for (let left = budget; left > 0; left -= 16) {
      const exit = guest.vcpu.run(16);
      if (exit === 'shutdown') throw new Error('triple fault');
      if (exit === 'hlt') return this.event();
    }
    throw new Error(`no exception after ${budget} instructions, rip ${guest.get64('rip').toString(16)}`);
  }

  private event(): Event {
    const { guest } = this;
    const vector = Number(guest.get64('rip') - HANDLERS) >> 4;
    const sp = guest.get64('gpr', 4);
    const at = (i: number): bigint => guest.view.getBigUint64(guest.ram + this.stackAddress(sp) + i * 8, true);
    const skip = WITH_ERROR.has(vector) ? 1 : 0;
    return {
      vector,
      error: skip ? at(0) : 0n,
      rip: at(skip),
      rflags: Number(at(skip + 2)),
      rsp: at(skip + 3),
    };
  }
  /** The kernel's stack, or the data pages for a program at CPL 0 that stays on its own stack. */
  private stackAddress(sp: bigint): number {
    const top = HANDLERS + 0x3000n;
    if (sp >= HANDLERS) return this.guest.kernelStack - Number(top - sp);
    return this.data + Number(sp - DATA);
  }

  /** Back to where `event` interrupted, with its flags or others, and on to the next event. */
  resume(event: Event, o: { cpl?: 0 | 3; rflags?: number; mode?: 32 | 64 } = {}): Event {
    const { guest } = this;
    guest.enterMode(o.mode ?? 64, o.cpl ?? 3);
    this.rflags = o.rflags ?? event.rflags;
    guest.set64('rip', event.rip);
    guest.set64('gpr', event.rsp, 4);
    guest.vcpu.runtime.set_state_done(guest.vcpu.cpu);
    return this.run();
  }

  /** Sets a breakpoint: kind 0 fetch, 1 store, 2 I/O, 3 load or store; length in bytes. */
  breakpoint(i: number, address: bigint, kind: number, length: 1 | 2 | 4 | 8): void {
    const { guest } = this;
    const bits = { 1: 0, 2: 1, 4: 3, 8: 2 }[length];
    guest.set64('dr', address, i);
    const control = guest.get64('dr', 7) | 0x400n | (1n << BigInt(2 * i));
    guest.set64('dr', control | (BigInt(kind | (bits << 2)) << BigInt(16 + 4 * i)), 7);
    guest.vcpu.runtime.set_state_done(guest.vcpu.cpu);
  }

  /** Offset of a field for pokes that have no other way. */
  static readonly offsets = CPU;
}
