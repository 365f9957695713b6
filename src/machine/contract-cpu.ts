/** A vCPU behind the contract on the board: exits go to the board's devices, its interrupts to the vCPU. */

import type { AccessWidth } from '../devices/device.ts';
import type { CpuidEntry, Exit, Regs, Sregs, Vcpu, Vm } from '../hv/contract.ts';
import type { CpuModel } from '../hv/cpu-model.ts';
import { cpuidEntries } from '../hv/cpuid-entries.ts';
import { littleEndian, putLittleEndian } from '../hv/io-hooks.ts';
import type { Board } from './board.ts';
import { MachineError } from './errors.ts';
import { KVM_ENOSYS } from './hypercalls.ts';

/** What the machine's loop asks of its vCPU. */
export interface MachineCpu {
  /** Instructions executed, 0 where nobody counts them. */
  readonly retired: number;
  /** Runs about `budget` instructions or `ns` nanoseconds, whichever the engine can measure. */
  run(budget: number, ns: number): 'budget' | 'hlt' | 'shutdown';
  requestExit(): void;
  setRegs(regs: Regs): void;
  setSregs(sregs: Sregs): void;
}

const IF = 1n << 9n;
const MHZ = 1_000_000;
/** Leaves that tell the frequency of the TSC; the crystal of leaf 15H stays what the board's timers go by. */
const TSC_LEAF = 0x15;
const FREQUENCY_LEAF = 0x16;
const HYPERVISOR_FREQUENCY_LEAF = 0x4000_0010;
const FEATURE_LEAF = 1;
/** Features whose registers the board would have to see at once; with an engine of its own it does not. */
const ECX_X2APIC = 1 << 21;
const ECX_TSC_DEADLINE = 1 << 24;

/** The model's leaves for an engine whose TSC runs at the host's frequency. */
function boardCpuid(model: CpuModel, tscHz: number): CpuidEntry[] {
  return cpuidEntries(model).map((e) => {
    if (e.leaf === FEATURE_LEAF) return { ...e, ecx: (e.ecx & ~(ECX_X2APIC | ECX_TSC_DEADLINE)) >>> 0 };
    if (e.leaf === TSC_LEAF) return { ...e, eax: Math.round(e.ecx / MHZ), ebx: Math.round(tscHz / MHZ) };
    if (e.leaf === FREQUENCY_LEAF) return { ...e, eax: Math.round(tscHz / MHZ), ebx: Math.round(tscHz / MHZ) };
    return e.leaf === HYPERVISOR_FREQUENCY_LEAF ? { ...e, eax: Math.round(tscHz / 1000) } : e;
  });
}

export class ContractCpu implements MachineCpu {
  readonly retired = 0;
  private readonly vcpu: Vcpu;
  private readonly board: Board;
  private halted = false;
  private nmiPending = false;
  private exitWanted = false;

  /** @param filter takes away what the engine cannot give */
  constructor(vm: Vm, board: Board, model: CpuModel, filter: (entries: readonly CpuidEntry[]) => CpuidEntry[]) {
    this.vcpu = vm.createVcpu(0);
    this.board = board;
    this.vcpu.setCpuid(filter(boardCpuid(model, vm.tscHz)));
    board.onNmi = () => {
      this.nmiPending = true;
      this.vcpu.requestExit();
    };
  }
  setRegs(regs: Regs): void {
    this.vcpu.setRegs(regs);
  }
  setSregs(sregs: Sregs): void {
    this.vcpu.setSregs(sregs);
  }
  requestExit(): void {
    this.exitWanted = true;
    this.vcpu.requestExit();
  }

  run(_budget: number, ns: number): 'budget' | 'hlt' | 'shutdown' {
    const ends = performance.now() + ns / 1e6;
    this.exitWanted = false;
    for (;;) {
      this.offerInterrupts();
      if (this.halted) return 'hlt';
      const left = (ends - performance.now()) * 1e6;
      if (left <= 0 || this.exitWanted) return 'budget';
      const exit = this.vcpu.run({ nanoseconds: left });
      if (exit.reason === 'shutdown') return 'shutdown';
      this.handle(exit);
    }
  }

  /** Hands over what waits, if the vCPU can take it now, and ends a HLT. */
  private offerInterrupts(): void {
    const { vcpu, board } = this;
    if (this.nmiPending) {
      this.nmiPending = false;
      this.halted = false;
      vcpu.nmi();
    }
    vcpu.requestInterruptWindow = false;
    if (!board.apic.pending) return;
    if (vcpu.readyForInterrupt) {
      this.halted = false;
      vcpu.interrupt(board.apic.acknowledge());
    } else if (this.halted && (vcpu.getRegs().rflags & IF) === 0n) return;
    else vcpu.requestInterruptWindow = true;
  }

  private handle(exit: Exit): void {
    switch (exit.reason) {
      case 'io':
        for (let at = 0; at < exit.data.length; at += exit.size) this.port(exit, at);
        return;
      case 'mmio':
        this.mmio(exit);
        return;
      case 'rdmsr': {
        const value = this.board.apic.readMsr(exit.index);
        exit.error = value === undefined;
        exit.value = value ?? 0n;
        return;
      }
      case 'wrmsr':
        exit.error = !this.board.apic.writeMsr(exit.index, exit.value);
        return;
      case 'hypercall':
        exit.result = KVM_ENOSYS;
        return;
      case 'hlt':
        this.halted = true;
        return;
      case 'intr':
      case 'irq-window-open':
        return;
      default:
        throw new MachineError(`the engine stopped with ${describe(exit)}`, 'use --engine interp and report it');
    }
  }
  private port(exit: Extract<Exit, { reason: 'io' }>, at: number): void {
    const { ports } = this.board;
    const { port, size, data } = exit;
    if (exit.direction === 'out') ports.write(port, size, Number(littleEndian(data, at, size)));
    else putLittleEndian(data, at, size, BigInt(ports.read(port, size)));
  }
  /** An access of up to 8 bytes at any address, as the accesses of 1, 2 and 4 aligned bytes that devices answer. */
  private mmio(exit: Extract<Exit, { reason: 'mmio' }>): void {
    const { mmio } = this.board;
    const { data } = exit;
    for (let at = 0; at < data.length; ) {
      const gpa = Number(exit.gpa) + at;
      let size: AccessWidth = 4;
      while (gpa % size !== 0 || size > data.length - at) size = (size / 2) as AccessWidth;
      if (exit.isWrite) mmio.write(gpa, size, Number(littleEndian(data, at, size)));
      else putLittleEndian(data, at, size, BigInt(mmio.read(gpa, size)));
      at += size;
    }
  }
}

function describe(exit: Exit): string {
  if (exit.reason === 'internal-error') {
    const data = exit.data.map((v) => v.toString(16)).join(' ');
    return exit.suberror === 1 ? 'an instruction that it cannot carry out' : `error ${exit.suberror} (${data})`;
  }
  if (exit.reason === 'fail-entry') return `a state that the processor refuses (${exit.hardwareReason.toString(16)})`;
  return exit.reason === 'unknown' ? `reason ${exit.code}` : exit.reason;
}
