/**
 * The same guest on two engines, one instruction at a time: after each, exits and state must be the same. The oracle
 * for code at privilege level 0, which user-mode tests cannot reach. Each instruction of the guest is followed by a
 * HLT, so that an engine that misses a trap does not get far.
 */
import type { Decoder } from '../isa/decoder.ts';
import { disassemble } from '../isa/disasm.ts';
import type { Insn } from '../isa/insn.ts';
import type { Row } from '../isa/row.ts';
import { compareRegs, compareVcpus, type Difference } from './compare.ts';
import type { Exit, GuestMemory, Regs, Vcpu } from './contract.ts';
import { AT, HANDLER_SIZE } from './modes.ts';

export interface Side {
  readonly vcpu: Vcpu;
  readonly memory: GuestMemory;
}

export interface Found {
  readonly differences: readonly Difference[];
  /** The instruction after which they showed. */
  readonly rip: bigint;
  readonly text: string;
  readonly bytes: string;
  readonly name: string;
  /** Size of the code segment: 16, 32 or 64. */
  readonly code: number;
}

export type StepResult =
  | { readonly kind: 'same'; readonly row: Row | undefined }
  /** Side b cannot carry the instruction out. */
  | { readonly kind: 'unsupported'; readonly name: string }
  /** The guest has stopped, in the same way on both; `row` is there when all state was compared. */
  | { readonly kind: 'ended'; readonly reason: string; readonly row?: Row | undefined }
  | { readonly kind: 'different'; readonly found: Found };

const FLAG_BITS: Readonly<Record<string, bigint>> = { cf: 1n, pf: 4n, af: 16n, zf: 64n, sf: 128n, of: 2048n };
const HANDLERS_END = BigInt(AT.handlers + 256 * HANDLER_SIZE);
const MAX_ACCESSES = 64;
const MAX_ITERATIONS = 1100;
const MAX_MISSED = 2;
const MAX_JOINED = 4;
const HLT = 0xf4;
const TF = 0x100n;
const LOW32 = 0xffff_ffffn;

export class Lockstep {
  readonly a: Side;
  readonly b: Side;
  private readonly decoder: Decoder;
  private readonly value: () => number;
  /**
   * GDT and IDT as set: those of the guest's own making are left alone, because KVM does not look at the limit in
   * real mode and reads no descriptor outside RAM.
   */
  private tables = '';
  /** Flags that the instructions of this step leave undefined. */
  private undefinedFlags = 0n;

  /**
   * @param a the engine under test
   * @param b the other one; a fault and the first instruction of its handler may be one step there
   * @param value bytes that reads of ports and absent memory give
   */
  constructor(a: Side, b: Side, decoder: Decoder, value: () => number) {
    this.a = a;
    this.b = b;
    this.decoder = decoder;
    this.value = value;
    for (const side of [a, b]) side.vcpu.setGuestDebug({ singleStep: true });
  }

  private tablesNow(): string {
    const { gdt, idt } = this.a.vcpu.getSregs();
    return [gdt.base, gdt.limit, idt.base, idt.limit].join();
  }
  /** A new state was set. */
  begin(): void {
    this.tables = this.tablesNow();
  }

  /** Decodes what `a` is about to execute, where memory is mapped onto itself. */
  private decode(): { insn: Insn | undefined; rip: bigint; bytes: Uint8Array; code: number } {
    const { rip } = this.a.vcpu.getRegs();
    const { cs, efer, ss } = this.a.vcpu.getSregs();
    const code = cs.l && efer & 0x400n ? 64 : cs.db ? 32 : 16;
    const linear = Number(BigInt.asUintN(32, rip + (code === 64 ? 0n : cs.base)));
    let bytes: Uint8Array;
    try {
      bytes = this.a.memory.read(linear, Math.min(15, AT.ram - linear));
    } catch {
      return { insn: undefined, rip, bytes: new Uint8Array(0), code };
    }
    const insn = this.decoder.decode(bytes, 0, bytes.length, { code, stack: code === 64 ? 64 : ss.db ? 32 : 16 });
    return { insn: 'failure' in insn ? undefined : insn, rip, bytes, code };
  }

  /** Runs one instruction on each side and compares. */
  step(): StepResult {
    const { insn, rip, bytes, code } = this.decode();
    const name = insn?.row.name ?? 'undefined';
    const accesses: string[] = [];
    const before = this.b.vcpu.getRegs();
    let exitB = this.finish(this.b, accesses, undefined);
    for (let i = 0; i < MAX_MISSED && this.unfinished(exitB, before, insn); i++) {
      exitB = this.finish(this.b, accesses, undefined);
    }
    if (exitB.reason === 'internal-error') return { kind: 'unsupported', name };
    const log = [...accesses];
    const got: string[] = [];
    this.undefinedFlags = 0n;
    let exitA = this.advance(got, log);
    // Side b may do several iterations of a string instruction in one step.
    const repeats = insn?.rep !== undefined && insn.rep !== 'none';
    for (let i = 0; repeats && i < MAX_ITERATIONS && exitA.reason === 'debug' && !this.together(); i++) {
      exitA = this.advance(got, log);
    }
    // It may miss the trap, and a fault ends with the first instruction of its handler: both then halt.
    const next = rip + BigInt(insn?.length ?? 0);
    const halted = exitB.reason === 'hlt' || this.behindHalt(next);
    for (let i = 0; i < MAX_MISSED && halted && exitA.reason === 'debug' && !this.together(); i++) {
      exitA = this.advance(got, log);
    }
    // Under single steps a HLT is a trap on some engines.
    const isHalt = insn?.row.name === 'hlt' && exitA.reason === 'hlt';
    if (isHalt) exitB = exitA;
    if (halted && (exitA.reason === 'hlt' || exitB.reason === 'hlt') && this.together()) exitB = exitA;
    // What is left after a triple fault is undefined (SDM vol.3 6.15), and some exits come without end.
    if (exitA.reason === exitB.reason && exitA.reason === 'shutdown') return { kind: 'ended', reason: 'shutdown' };
    if (exitB.reason === 'unknown') return { kind: 'ended', reason: 'too many accesses' };
    if (exitB.reason === 'shutdown' && !this.stackInRam()) return { kind: 'ended', reason: 'stack not in RAM' };
    const differences: Difference[] = [];
    if (exitA.reason !== exitB.reason) differences.push({ what: 'exit', a: exitA.reason, b: exitB.reason });
    if (got.join() !== accesses.join()) differences.push({ what: 'accesses', a: got.join(' '), b: accesses.join(' ') });
    differences.push(...this.compare(insn, code === 64));
    if (differences.length > 0) {
      if (exitB.reason === 'debug' && this.joined(insn, code === 64, got, log))
        return { kind: 'ended', reason: 'steps in one' };
      const length = insn?.length ?? 15;
      const hex = [...bytes.subarray(0, length)].map((v) => v.toString(16).padStart(2, '0')).join(' ');
      const text = insn ? disassemble(insn, rip) : '(undefined)';
      return { kind: 'different', found: { differences, rip, text, bytes: hex, name, code } };
    }
    const row = insn?.row;
    if (this.inHandler()) return { kind: 'ended', reason: 'exception', row };
    if (exitA.reason !== 'debug' && exitA.reason !== 'hlt') return { kind: 'ended', reason: exitA.reason, row };
    if (this.tablesNow() !== this.tables) return { kind: 'ended', reason: 'tables moved', row };
    // Single steps of the guest's own are not seen by a debugger's.
    if (this.a.vcpu.getRegs().rflags & TF) return { kind: 'ended', reason: 'trap flag', row };
    return this.skipHalt() ? { kind: 'same', row } : { kind: 'ended', reason: 'branch', row };
  }

  /**
   * Side b came back without having got anywhere: with a fault still to be delivered, or for a HLT that it went over
   * in single steps before; or with all iterations of a string instruction done but not its end.
   */
  private unfinished(exit: Exit, before: Regs, insn: Insn | undefined): boolean {
    if (exit.reason !== 'debug' && exit.reason !== 'hlt') return false;
    const now = this.b.vcpu.getRegs();
    if (compareRegs(before, now).length === 0) return true;
    if (insn === undefined || insn.rep === 'none' || now.rip !== before.rip) return false;
    return BigInt.asUintN(insn.asize, now.rcx) === 0n || this.b.vcpu.getEvents().exception !== undefined;
  }
  private stackInRam(): boolean {
    const sp = this.a.vcpu.getRegs().rsp & LOW32;
    return sp > 64n && sp < BigInt(AT.ram);
  }
  private behindHalt(next: bigint): boolean {
    const { rip } = this.b.vcpu.getRegs();
    return rip !== next && rip > 0n && rip < BigInt(AT.ram) && this.b.memory.read(Number(rip) - 1, 1)[0] === HLT;
  }
  /**
   * Whether `b` has only done more instructions in one step: some more of `a`'s then give the same state. The last of
   * them may have a fault that waits for its delivery.
   */
  private joined(insn: Insn | undefined, wide: boolean, got: string[], log: string[]): boolean {
    if (this.b.vcpu.getEvents().exception) this.finish(this.b, log, undefined);
    for (let i = 0; i < MAX_JOINED; i++) {
      const { reason } = this.advance(got, log);
      if (this.compare(insn, wide).length === 0 && got.join() === log.join()) return true;
      if (reason !== 'debug' && reason !== 'hlt') return false;
    }
    return false;
  }
  /** Goes on behind the HLT that follows each instruction. False when rip is elsewhere. */
  private skipHalt(): boolean {
    const { rip, bytes } = this.decode();
    if (rip < BigInt(AT.code) || rip > BigInt(AT.code + 0xfff)) return false;
    if (bytes[0] !== HLT) return true;
    for (const { vcpu } of [this.a, this.b]) vcpu.setRegs({ ...vcpu.getRegs(), rip: rip + 1n });
    return true;
  }

  private compare(insn: Insn | undefined, wide: boolean): Difference[] {
    const ignoredFlags = this.undefinedFlags;
    this.alignFlags(ignoredFlags);
    const all = insn?.row.unit !== undefined || insn?.row.user === false;
    const out = compareVcpus(this.a.vcpu, this.b.vcpu, { ignoredFlags, all, wide });
    const [x, y] = [this.a.memory.read(0, AT.ram), this.b.memory.read(0, AT.ram)];
    const at = firstDifference(x, y);
    if (at >= 0) out.push({ what: `memory ${at.toString(16)}`, a: dump(x, at), b: dump(y, at) });
    return out;
  }
  /** Flags that the instruction leaves undefined go on as `b` has them. */
  private alignFlags(mask: bigint): void {
    if (mask === 0n) return;
    const [a, b] = [this.a.vcpu.getRegs(), this.b.vcpu.getRegs()];
    if (((a.rflags ^ b.rflags) & mask) === 0n) return;
    this.a.vcpu.setRegs({ ...a, rflags: (a.rflags & ~mask) | (b.rflags & mask) });
  }
  private inHandler(): boolean {
    const { rip } = this.b.vcpu.getRegs();
    return rip >= BigInt(AT.handlers) && rip <= HANDLERS_END;
  }
  /** Both are at the same place of the same iteration. */
  private together(): boolean {
    const [a, b] = [this.a.vcpu.getRegs(), this.b.vcpu.getRegs()];
    return a.rip === b.rip && (a.rcx & LOW32) === (b.rcx & LOW32);
  }

  /** Runs `a` until its next instruction is done, with `b`'s answers. */
  private advance(accesses: string[], answers: string[]): Exit {
    const undef = this.decode().insn?.row.undef?.split(/\s+/) ?? [];
    this.undefinedFlags |= undef.reduce((m, f) => m | (FLAG_BITS[f] ?? 0n), 0n);
    return this.finish(this.a, accesses, answers);
  }
  /**
   * Runs until the step is done, noting accesses. Reads are answered from the list of the other side's, or with a
   * new value.
   */
  private finish(side: Side, accesses: string[], answers: string[] | undefined): Exit {
    for (let i = 0; i < MAX_ACCESSES; i++) {
      const exit = side.vcpu.run();
      if (exit.reason === 'io') {
        for (let at = 0; at < exit.data.length; at += exit.size) {
          const part = exit.data.subarray(at, at + exit.size);
          this.access(`${exit.direction} ${exit.port.toString(16)}`, part, exit.direction === 'in', accesses, answers);
        }
      } else if (exit.reason === 'mmio') {
        const kind = `${exit.isWrite ? 'write' : 'read'} ${exit.gpa.toString(16)}`;
        this.access(kind, exit.data, !exit.isWrite, accesses, answers);
      } else if (exit.reason === 'rdmsr' || exit.reason === 'wrmsr') {
        exit.error = true;
        accesses.push(`${exit.reason} ${exit.index.toString(16)}`);
      } else if (exit.reason === 'hypercall') {
        accesses.push('hypercall');
        return exit;
      } else return exit;
    }
    return { reason: 'unknown', code: -1 };
  }
  private access(
    kind: string,
    data: Uint8Array,
    fill: boolean,
    accesses: string[],
    answers: string[] | undefined,
  ): void {
    if (fill) {
      const known = answers?.[accesses.length]?.split('=')[1];
      for (let i = 0; i < data.length; i++) {
        data[i] = known === undefined ? this.value() : Number.parseInt(known.slice(i * 2, i * 2 + 2), 16) || 0;
      }
    }
    accesses.push(`${kind}=${[...data].map((v) => v.toString(16).padStart(2, '0')).join('')}`);
  }
}

function firstDifference(x: Uint8Array, y: Uint8Array): number {
  const [a, b] = [x, y].map((m) => new BigUint64Array(m.buffer, m.byteOffset, m.length / 8)) as [
    BigUint64Array,
    BigUint64Array,
  ];
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i * 8;
  return -1;
}
const dump = (m: Uint8Array, at: number): string =>
  [...m.subarray(at, at + 16)].map((v) => v.toString(16).padStart(2, '0')).join('');
