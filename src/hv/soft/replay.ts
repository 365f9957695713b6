/**
 * Accesses of an instruction that leave the VM. The engine asks its host for ports, memory and MSRs in the middle of
 * an instruction; who wants an exit instead lets the instruction leave as if it had not begun, and when the answer
 * is known runs it again with the answers in the same order. Stores are carried out by the instruction and come out
 * as exits behind it.
 */
import type { Exit } from '../contract.ts';
import { type IoHooks, littleEndian, putLittleEndian } from '../io-hooks.ts';

type Kind = 'in' | 'out' | 'read' | 'rdmsr' | 'wrmsr';
interface Answer {
  readonly kind: Kind;
  readonly address: bigint;
  readonly size: number;
  readonly value: bigint;
  /** #GP for an MSR. */
  readonly error: boolean;
}

export class Replay {
  /** Answers given so far to the instruction being carried out. */
  private answers: Answer[] = [];
  private next = 0;
  /** The access that has no answer yet, as an exit. */
  private asked: { readonly kind: Kind; readonly exit: Exit } | undefined;
  private stores: Exit[] = [];
  private readonly hooks: IoHooks;
  private readonly wait: () => void;

  /** @param wait tells the engine that the access just made has no answer yet */
  constructor(hooks: IoHooks, wait: () => void) {
    this.hooks = hooks;
    this.wait = wait;
  }

  /** The instruction begins (again). */
  begin(): void {
    this.next = 0;
    this.asked = undefined;
  }
  /** It has completed or raised an exception: its answers are used up. */
  end(): void {
    this.answers = [];
    this.next = 0;
  }
  get question(): Exit | undefined {
    return this.asked?.exit;
  }
  /** Takes the answer that the caller put into the exit. */
  answered(): void {
    const asked = this.asked;
    this.asked = undefined;
    if (!asked) return;
    const { kind, exit } = asked;
    if (exit.reason === 'io')
      this.note(kind, BigInt(exit.port), exit.size, littleEndian(exit.data, 0, exit.size), false);
    else if (exit.reason === 'mmio')
      this.note(kind, exit.gpa, exit.data.length, littleEndian(exit.data, 0, exit.data.length), false);
    else if (exit.reason === 'rdmsr' || exit.reason === 'wrmsr')
      this.note(kind, BigInt(exit.index), 8, exit.value, exit.error);
  }
  private note(kind: Kind, address: bigint, size: number, value: bigint, error: boolean): void {
    this.answers.push({ kind, address, size, value: BigInt.asUintN(64, value), error });
  }
  /** The first store that has not come out yet. */
  takeStore(): Exit | undefined {
    return this.stores.shift();
  }

  /** The answer to an access, or undefined after asking for one. */
  private answer(kind: Kind, address: bigint, size: number, makeExit: () => Exit): Answer | undefined {
    const known = this.answers[this.next];
    if (known && known.kind === kind && known.address === address && known.size === size) {
      this.next++;
      return known;
    }
    // The instruction has changed its mind (its operands lie in memory that a device wrote): begin afresh from here.
    this.answers.length = this.next;
    if (!this.asked) this.asked = { kind, exit: makeExit() };
    this.wait();
    return undefined;
  }

  portRead(port: number, size: number): number {
    const hook = this.hooks.find('port', port, size);
    if (hook) return Number(BigInt.asUintN(size * 8, hook.read(port, size)));
    const a = this.answer('in', BigInt(port), size, () => io('in', port, size, 0n));
    return Number(a?.value ?? 0n);
  }
  portWrite(port: number, size: number, value: number): void {
    const hook = this.hooks.find('port', port, size);
    if (hook) hook.write(port, size, BigInt.asUintN(size * 8, BigInt(value)));
    else this.answer('out', BigInt(port), size, () => io('out', port, size, BigInt(value)));
  }
  mmioRead(gpa: bigint, size: number): bigint {
    const hook = this.hooks.find('mmio', Number(gpa), size);
    if (hook) return BigInt.asUintN(size * 8, hook.read(Number(gpa), size));
    return this.answer('read', gpa, size, () => mmio(gpa, size, undefined))?.value ?? 0n;
  }
  mmioWrite(gpa: bigint, size: number, value: bigint): void {
    const cut = BigInt.asUintN(size * 8, value);
    const hook = this.hooks.find('mmio', Number(gpa), size);
    if (hook) hook.write(Number(gpa), size, cut);
    else this.stores.push(mmio(gpa, size, cut));
  }
  /** Value of an MSR; undefined: there is none, or not yet. */
  msrRead(index: number): bigint | undefined {
    const a = this.answer('rdmsr', BigInt(index), 8, () => ({ reason: 'rdmsr', index, value: 0n, error: false }));
    return a && !a.error ? a.value : undefined;
  }
  /** Whether an MSR took a value; false: it did not, or not yet. */
  msrWrite(index: number, value: bigint): boolean {
    const a = this.answer('wrmsr', BigInt(index), 8, () => ({ reason: 'wrmsr', index, value, error: false }));
    return a !== undefined && !a.error;
  }
}

function io(direction: 'in' | 'out', port: number, size: number, value: bigint): Exit {
  const data = new Uint8Array(size);
  putLittleEndian(data, 0, size, value);
  return { reason: 'io', direction, port, size: size as 1 | 2 | 4, count: 1, data };
}
function mmio(gpa: bigint, size: number, value: bigint | undefined): Exit {
  const data = new Uint8Array(size);
  if (value !== undefined) putLittleEndian(data, 0, size, value);
  return { reason: 'mmio', gpa, isWrite: value !== undefined, data };
}
