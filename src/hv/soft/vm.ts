/** A virtual machine on the soft engine: its pool of machine memory, the P2M table, guest-physical access. */
import { type PoolLayout, planPool, VCPU_BASE, WASM_PAGE } from '../../engine/layout.ts';
import type { RuntimeExports } from '../../engine/runtime.ts';
import { CPU, P2M, VCPU_STRIDE } from '../../isa/layout.ts';
import { type GuestMemory, HvError, type MemoryRegion, type VmOptions } from '../contract.ts';
import { PHYSICAL_BITS } from '../cpu-model.ts';

/** A range of guest-physical RAM (KVM_SET_USER_MEMORY_REGION): `offset` is where it lies in the slab, in bytes. */
export interface MemorySlot {
  readonly gpa: number;
  readonly size: number;
  readonly offset: number;
  readonly readonly?: boolean;
}

const PAGE = 4096;
/** The P2M covers at least this much guest-physical memory, in bytes. */
const LEAST_TOP = 4 << 20;

/** Machine memory of one VM with its RAM mapped. Guest-physical addresses are numbers up to 2^53. */
export class SoftMemory implements GuestMemory {
  readonly size: number;
  readonly memory: WebAssembly.Memory;
  readonly layout: PoolLayout;
  private readonly slots: readonly MemorySlot[];
  private readonly slab: number;
  /** Regions set after construction, by slot number. */
  private readonly regions = new Map<number, MemoryRegion>();
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Set when the runtime exists: told of stores into frames that hold decoded code. */
  runtime: RuntimeExports | undefined;

  /**
   * @param room least bytes of RAM and first gpa behind all of it, when regions are set later
   * @param advise told of the memory before anything is put there
   * @throws RangeError when the slots do not fit a WebAssembly memory
   */
  constructor(
    slots: readonly MemorySlot[],
    vcpus: number,
    room = { slab: 0, gpaTop: 0 },
    advise?: (memory: ArrayBuffer) => void,
  ) {
    this.slots = slots;
    this.slab = Math.max(room.slab, ...slots.map((s) => s.offset + s.size));
    this.size = Math.max(
      room.slab,
      slots.reduce((n, s) => n + s.size, 0),
    );
    this.layout = planPool(vcpus, this.slab, Math.max(room.gpaTop, ...slots.map((s) => s.gpa + s.size)));
    const pages = this.layout.total / WASM_PAGE;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    advise?.(this.memory.buffer);
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

  /** Memory for a VM whose regions are set later. @throws HvError for a size that cannot be */
  static ofSize(o: VmOptions): SoftMemory {
    if (!(o.ram > 0) || o.ram % PAGE !== 0) throw new HvError(`RAM of ${o.ram} bytes`, 'give a multiple of 4096');
    try {
      return new SoftMemory([], o.vcpus ?? 1, { slab: o.ram, gpaTop: Math.max(o.gpaTop ?? 0, o.ram, LEAST_TOP) });
    } catch (cause) {
      throw new HvError(`RAM of ${o.ram} bytes cannot be had: ${(cause as Error).message}`, 'give less', { cause });
    }
  }

  /** Absolute address of a vCPU's state. */
  vcpuAddress(id: number): number {
    return VCPU_BASE + id * VCPU_STRIDE;
  }

  private mapSlot(s: MemorySlot): void {
    const first = (this.layout.ram + s.offset) | P2M.PRESENT | (s.readonly ? 0 : P2M.WRITABLE);
    const count = s.size / PAGE;
    const entries = new Uint32Array(this.memory.buffer, this.layout.p2m + (s.gpa / PAGE) * 4, count);
    for (let n = 0; n < count; n++) entries[n] = first + n * PAGE;
  }

  /** @throws HvError for a region that is not whole pages of this RAM below the top, or overlaps another */
  checkRegion(r: MemoryRegion): void {
    const aligned = [r.gpa, r.size, r.offset].every((n) => Number.isSafeInteger(n) && n >= 0 && n % PAGE === 0);
    const top = this.layout.p2mFrames * PAGE;
    if (!aligned || r.offset + r.size > this.slab || r.gpa + r.size > top) {
      throw new HvError(
        `region ${r.slot} (gpa 0x${r.gpa.toString(16)}, ${r.size} bytes at ${r.offset}) is not in the RAM`,
        `give multiples of 4096 below ${this.slab} bytes of RAM and gpa 0x${top.toString(16)}`,
      );
    }
    const other = [...this.regions.values()].find(
      (o) => o.slot !== r.slot && o.gpa < r.gpa + r.size && r.gpa < o.gpa + o.size,
    );
    if (other) throw new HvError(`region ${r.slot} overlaps region ${other.slot}`, 'take the other away first');
  }
  /** Maps, changes or (size 0) takes away a region. The caller empties the TLBs of its vCPUs. */
  setRegion(r: MemoryRegion): void {
    if (r.size > 0) this.checkRegion(r);
    const old = this.regions.get(r.slot);
    if (old) {
      for (let at = 0; at < old.size; at += PAGE) this.setEntry(old.gpa + at, 0);
      this.regions.delete(r.slot);
    }
    if (r.size === 0) return;
    this.regions.set(r.slot, r);
    const flags = P2M.PRESENT | (r.readonly ? 0 : P2M.WRITABLE) | (r.logDirty ? P2M.LOG_DIRTY : 0);
    for (let at = 0; at < r.size; at += PAGE) this.setEntry(r.gpa + at, (this.layout.ram + r.offset + at) | flags);
  }
  private setEntry(gpa: number, value: number): void {
    this.view.setUint32(this.layout.p2m + (gpa / PAGE) * 4, value >>> 0, true);
  }
  /** Frames of a region written since the last call, a bit each. The caller empties the TLBs of its vCPUs. */
  takeDirtyLog(slot: number): Uint8Array {
    const r = this.regions.get(slot);
    if (!r?.logDirty) throw new HvError(`slot ${slot} logs nothing`, 'set it with logDirty first');
    const bitmap = new Uint8Array(Math.ceil(r.size / PAGE / 8));
    for (let i = 0; i < r.size / PAGE; i++) {
      const at = this.layout.p2m + (r.gpa / PAGE + i) * 4;
      const entry = this.view.getUint32(at, true);
      if (entry & P2M.LOG_DIRTY) continue;
      bitmap[i >> 3]! |= 1 << (i & 7);
      this.view.setUint32(at, entry | P2M.LOG_DIRTY, true);
    }
    return bitmap;
  }

  /** Machine address of a guest-physical byte. @throws RangeError outside RAM */
  private machine(gpa: number): number {
    const frame = Math.floor(gpa / PAGE);
    const entry = frame < this.layout.p2mFrames ? this.view.getUint32(this.layout.p2m + frame * 4, true) : 0;
    if (!(entry & P2M.PRESENT)) throw new RangeError(`gpa 0x${gpa.toString(16)} is not RAM`);
    return ((entry & ~P2M.FLAGS) >>> 0) + (gpa % PAGE);
  }

  /** Calls `each` for every piece of a range that lies together in machine memory. @throws RangeError outside RAM */
  private pieces(gpa: number, length: number, each: (machine: number, done: number, n: number) => void): void {
    for (let done = 0; done < length; ) {
      const at = this.machine(gpa + done);
      let n = Math.min(length - done, PAGE - ((gpa + done) % PAGE));
      while (done + n < length && this.machine(gpa + done + n) === at + n) n += Math.min(length - done - n, PAGE);
      each(at, done, n);
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
  /** A device's store into frames with decoded code drops that code. */
  private noteStore(gpa: number, length: number): void {
    for (let done = 0; done < length; ) {
      const at = gpa + done;
      const n = Math.min(length - done, PAGE - (at % PAGE));
      const frame = Math.floor(at / PAGE);
      const entry = this.view.getUint32(this.layout.p2m + frame * 4, true);
      if (entry & P2M.CODE) this.runtime?.code_written(this.vcpuAddress(0), frame, at % PAGE, n);
      done += n;
    }
  }
  /** The slots this memory was made of. */
  get memorySlots(): readonly MemorySlot[] {
    return this.slots;
  }
}
