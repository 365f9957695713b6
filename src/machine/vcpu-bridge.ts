/** What a vCPU of the soft engine asks of the machine: ports, MMIO, the MSRs of the local APIC, CPUID, time. */

import type { AccessWidth } from '../devices/device.ts';
import type { CpuidEntry } from '../hv/contract.ts';
import { ARCH_CAPABILITIES, type CpuModel, cpuid, tscAt, xcr0Mask } from '../hv/cpu-model.ts';
import { CpuidTable } from '../hv/soft/cpuid-table.ts';
import type { SoftVcpu, VcpuHost } from '../hv/soft/vcpu.ts';
import type { SoftMemory } from '../hv/soft/vm.ts';
import { CPU, CR4, MODE_CODE64 } from '../isa/layout.ts';
import type { Board } from './board.ts';
import { KVM_ENOSYS, kvmHypercall } from './hypercalls.ts';
import { KvmClock } from './kvmclock.ts';

const IA32_APIC_BASE = 0x1b;
const IA32_ARCH_CAPABILITIES = 0x10a;
const IA32_TSC_DEADLINE = 0x6e0;
const X2APIC_FIRST = 0x800;
const X2APIC_LAST = 0x8ff;
const ALL_ADDRESS_BITS = 0xffff_ffff_ffff_ffffn;
const A20_BIT = 1n << 20n;
const APIC_BASE_ENABLE = 1n << 11n;
const NS_PER_SECOND = 1_000_000_000n;

/** What a machine that can change engine takes from both engines instead of from its CPU model. */
export interface SharedIdentity {
  /** CPUID leaves that both engines can carry. */
  readonly cpuid: readonly CpuidEntry[];
  readonly tscHz: number;
}

export class VcpuBridge implements VcpuHost {
  private readonly view: DataView;
  private readonly memory: SoftMemory;
  private readonly board: Board;
  private readonly model: CpuModel;
  private readonly shared: CpuidTable | undefined;
  private readonly tscHz: bigint | undefined;
  /** Added to what the clock gives, so that the TSC goes on where another engine left it. */
  private tscBase = 0n;
  private vcpu!: SoftVcpu;
  /** KVM's clock, where the model has it. */
  kvmClock: KvmClock | undefined;

  /** Ways out of the engine to the board. */
  readonly exits = { port: 0, mmio: 0, msr: 0, cpuid: 0, time: 0, interrupt: 0, nmi: 0, hypercall: 0 };
  /** Where RDRAND and RDSEED get their bits, if not from the platform. */
  random64?: () => bigint;

  /** @param model its features are those of `shared`, where that is given */
  constructor(memory: SoftMemory, board: Board, model: CpuModel, shared?: SharedIdentity) {
    this.view = new DataView(memory.memory.buffer);
    this.memory = memory;
    this.board = board;
    this.model = model;
    if (!shared) return;
    this.shared = new CpuidTable();
    this.shared.set(shared.cpuid);
    this.tscHz = BigInt(Math.round(shared.tscHz));
  }

  /** Connects the board's interrupt requests to the vCPU. */
  attach(vcpu: SoftVcpu): void {
    const { apic, clock } = this.board;
    this.vcpu = vcpu;
    const tsc = (): bigint => {
      vcpu.clockWasRead();
      return this.tsc_now() + this.view.getBigUint64(vcpu.cpu + CPU.tsc_offset!, true);
    };
    this.board.tsc = tsc;
    if (this.model.features.has('kvmclock')) {
      const tscHz = this.tscHz === undefined ? undefined : Number(this.tscHz);
      this.kvmClock ??= new KvmClock({ memory: this.memory, clock, tsc, wallMs: this.board.wallMs, tscHz });
    }
    this.view.setBigUint64(vcpu.cpu + CPU.xcr0_mask!, xcr0Mask(this.model.features), true);
    this.board.onInterruptChange = () => vcpu.setInterruptPending(apic.pending);
    this.board.onNmi = () => {
      this.exits.nmi++;
      vcpu.nmi();
    };
    this.board.onA20 = (open) => {
      this.view.setBigUint64(vcpu.cpu + CPU.a20_mask!, open ? ALL_ADDRESS_BITS : ALL_ADDRESS_BITS & ~A20_BIT, true);
      vcpu.runtime.flush_all(vcpu.cpu);
    };
    this.board.onA20(this.board.a20Open);
  }

  mmio_read(_cpu: number, gpa: bigint, size: number): bigint {
    this.exits.mmio++;
    const at = Number(gpa);
    if (size === 8) {
      return BigInt(this.board.mmio.read(at, 4)) | (BigInt(this.board.mmio.read(at + 4, 4)) << 32n);
    }
    return BigInt(this.board.mmio.read(at, size as AccessWidth));
  }
  mmio_write(_cpu: number, gpa: bigint, size: number, value: bigint): void {
    this.exits.mmio++;
    const at = Number(gpa);
    if (size === 8) {
      this.board.mmio.write(at, 4, Number(value & 0xffff_ffffn));
      this.board.mmio.write(at + 4, 4, Number(value >> 32n));
    } else this.board.mmio.write(at, size as AccessWidth, Number(BigInt.asUintN(size * 8, value)));
  }
  port_read(_cpu: number, port: number, size: number): number {
    this.exits.port++;
    return this.board.ports.read(port, size as AccessWidth);
  }
  port_write(_cpu: number, port: number, size: number, value: number): void {
    this.exits.port++;
    this.board.ports.write(port, size as AccessWidth, value);
  }

  msr_read(cpu: number, index: number): number {
    this.exits.msr++;
    const value = this.readMsr(index);
    if (value === undefined) return 1;
    this.view.setBigUint64(cpu + CPU.scratch!, value, true);
    return 0;
  }
  private readMsr(index: number): bigint | undefined {
    const { apic } = this.board;
    if (index === IA32_ARCH_CAPABILITIES) {
      return this.model.features.has('arch_capabilities') ? ARCH_CAPABILITIES : undefined;
    }
    const own =
      index === IA32_APIC_BASE || index === IA32_TSC_DEADLINE || (index >= X2APIC_FIRST && index <= X2APIC_LAST);
    return own ? apic.readMsr(index) : this.kvmClock?.readMsr(index);
  }
  msr_write(_cpu: number, index: number, value: bigint): number {
    this.exits.msr++;
    const own =
      index === IA32_APIC_BASE || index === IA32_TSC_DEADLINE || (index >= X2APIC_FIRST && index <= X2APIC_LAST);
    const known = own ? this.board.apic.writeMsr(index, value) : this.kvmClock?.writeMsr(index, value);
    return known ? 0 : 1;
  }
  tscWritten(): void {
    this.board.apic.tscWritten();
    this.kvmClock?.update();
  }
  hypercall(): void {
    this.exits.hypercall++;
    const { vcpu, kvmClock } = this;
    const regs = vcpu.getRegs();
    const longMode = (this.view.getUint32(vcpu.cpu + CPU.mode!, true) & MODE_CODE64) !== 0;
    const state = { cpl: this.view.getUint32(vcpu.cpu + CPU.cpl!, true), longMode };
    const rax = kvmClock ? kvmHypercall(regs, state, this.memory, kvmClock) : BigInt.asUintN(64, KVM_ENOSYS);
    vcpu.setRegs({ ...regs, rax });
  }

  tscNumber(): number {
    if (this.tscHz !== undefined) return -1;
    this.exits.time++;
    return tscAt(this.board.clock.nowNs());
  }
  tsc_now(): bigint {
    this.exits.time++;
    const now = this.board.clock.now();
    return this.tscHz === undefined ? tscAt(now) : (now * this.tscHz) / NS_PER_SECOND + this.tscBase;
  }
  /** Makes the guest's TSC `value` now, without IA32_TSC_ADJUST. Only for a machine with a shared identity. */
  setTsc(value: bigint): void {
    this.tscBase += value - this.board.tsc();
  }
  cpuid_query(cpu: number, leaf: number, subleaf: number): void {
    this.exits.cpuid++;
    const osxsave = (this.view.getBigUint64(cpu + CPU.cr4!, true) & BigInt(CR4.OSXSAVE)) !== 0n;
    const apicEnabled = ((this.board.apic.readMsr(IA32_APIC_BASE) ?? 0n) & APIC_BASE_ENABLE) !== 0n;
    const xcr0 = this.view.getBigUint64(cpu + CPU.xcr0!, true);
    if (this.shared) {
      const cr4 = this.view.getBigUint64(cpu + CPU.cr4!, true);
      this.shared.query(leaf, subleaf, cr4, apicEnabled ? APIC_BASE_ENABLE : 0n, xcr0).forEach((v, i) => {
        this.view.setUint32(cpu + CPU.scratch! + i * 4, v >>> 0, true);
      });
      return;
    }
    const apicId = this.view.getUint32(cpu + CPU.vcpu_id!, true);
    const r = cpuid(this.model, leaf, subleaf, { apicId, cpus: 1, osxsave, xcr0, apicEnabled });
    [r.eax, r.ebx, r.ecx, r.edx].forEach((v, i) => {
      this.view.setUint32(cpu + CPU.scratch! + i * 4, v >>> 0, true);
    });
  }
  set_cr8(_cpu: number, value: bigint): void {
    this.board.apic.cr8 = Number(value);
  }
  get_cr8(_cpu: number): bigint {
    return BigInt(this.board.apic.cr8);
  }
  acknowledge(): number | undefined {
    if (!this.board.apic.pending) return undefined;
    this.exits.interrupt++;
    return this.board.apic.acknowledge();
  }
}
