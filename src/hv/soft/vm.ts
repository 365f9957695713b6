/** A virtual machine on the soft engine: its pool of machine memory, the P2M table, guest-physical access. */
import { type PoolLayout, planPool, VCPU_BASE, WASM_PAGE } from '../../engine/layout.ts';
import type { RuntimeExports } from '../../engine/runtime.ts';
import { CPU, P2M, VCPU_STRIDE } from '../../isa/layout.ts';
import type { GuestMemory } from '../contract.ts';
import { PHYSICAL_BITS } from '../cpu-model.ts';

/** A range of guest-physical RAM (KVM_SET_USER_MEMORY_REGION): `offset` is where it lies in the slab, in bytes. */
export interface MemorySlot {
  readonly gpa: number;
  readonly size: number;
  readonly offset: number;
  readonly readonly?: boolean;
}

const PAGE = 4096;

/** Machine memory of one VM with its RAM mapped. Guest-physical addresses are numbers up to 2^53. */
export class SoftMemory implements GuestMemory {
  readonly size: number;
  readonly memory: WebAssembly.Memory;
  readonly layout: PoolLayout;
  private readonly slots: readonly MemorySlot[];
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Set when the runtime exists: told of stores into frames that hold decoded code. */
  runtime: RuntimeExports | undefined;

  /** @throws RangeError when the slots do not fit a WebAssembly memory */
  constructor(slots: readonly MemorySlot[], vcpus: number) {
    this.slots = slots;
    this.size = slots.reduce((n, s) => n + s.size, 0);
    const slab = Math.max(...slots.map((s) => s.offset + s.size));
    this.layout = planPool(vcpus, slab, Math.max(...slots.map((s) => s.gpa + s.size)));
    const pages = this.layout.total / WASM_PAGE;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.bytes = new Uint8Array(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    for (const s of slots) this.mapSlot(s);
    for (let i = 0; i < vcpus; i++) {
      const cpu = this.vcpuAddress(i);
      this.view.setUint32(cpu + CPU.p2m!, this.layout.p2m, true);
      this.view.setUint32(cpu + CPU.p2m_frames!, this.layout.p2mFrames, true);
      this.view.setUint32(cpu + CPU.vcpu_id!, i, true);
      this.view.setBigUint64(cpu + CPU.phys_mask!, (1n << BigInt(PHYSICAL_BITS)) - 1n, true);
    }
  }

  /** Absolute address of a vCPU's state. */
  vcpuAddress(id: number): number {
    return VCPU_BASE + id * VCPU_STRIDE;
  }

  private mapSlot(s: MemorySlot): void {
    const flags = P2M.PRESENT | (s.readonly ? 0 : P2M.WRITABLE);
    for (let at = 0; at < s.size; at += PAGE) {
      const machine = this.layout.ram + s.offset + at;
      this.view.setUint32(this.layout.p2m + ((s.gpa + at) / PAGE) * 4, machine | flags, true);
    }
  }

  /** Machine address of a guest-physical byte. @throws RangeError outside RAM */
  private machine(gpa: number): number {
    const frame = Math.floor(gpa / PAGE);
    const entry = frame < this.layout.p2mFrames ? this.view.getUint32(this.layout.p2m + frame * 4, true) : 0;
    if (!(entry & P2M.PRESENT)) throw new RangeError(`gpa 0x${gpa.toString(16)} is not RAM`);
    return ((entry & ~P2M.FLAGS) >>> 0) + (gpa % PAGE);
  }

  /** Calls `each` for every piece of a range that lies in one frame. @throws RangeError outside RAM */
  private pieces(gpa: number, length: number, each: (machine: number, done: number, n: number) => void): void {
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, PAGE - ((gpa + done) % PAGE));
      each(this.machine(gpa + done), done, n);
      done += n;
    }
  }

  read(gpa: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    this.pieces(gpa, length, (at, done, n) => out.set(this.bytes.subarray(at, at + n), done));
    return out;
  }
  write(gpa: number, bytes: Uint8Array): void {
    this.pieces(gpa, bytes.length, (at, done, n) => {
      this.noteStore(gpa + done, n);
      this.bytes.set(bytes.subarray(done, done + n), at);
    });
  }
  fill(gpa: number, length: number, value: number): void {
    this.pieces(gpa, length, (at, done, n) => {
      this.noteStore(gpa + done, n);
      this.bytes.fill(value, at, at + n);
    });
  }
  /** A device's store into a frame with decoded code drops that code. */
  private noteStore(gpa: number, n: number): void {
    const frame = Math.floor(gpa / PAGE);
    const entry = this.view.getUint32(this.layout.p2m + frame * 4, true);
    if (entry & P2M.CODE) this.runtime?.code_written(this.vcpuAddress(0), frame, gpa % PAGE, n);
  }
  /** The slots this memory was made of. */
  get memorySlots(): readonly MemorySlot[] {
    return this.slots;
  }
}
