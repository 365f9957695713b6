/**
 * A vCPU's state and some RAM around the compiled runtime, poked from TypeScript. Guest frames are scattered over
 * machine memory, so that a gpa used as a machine address shows.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CPU, CPU_FIELDS, cpuField, EFLAGS, P2M, SEG, type SegmentName, VCPU_STRIDE } from '../../src/isa/layout.ts';

const root = join(import.meta.dirname, '../..');
// Does nothing when the module is newer than its sources.
execFileSync(process.execPath, [join(root, 'scripts/build.ts')], { cwd: root, stdio: 'pipe' });
/** The bytes of build/runtime.wasm. */
export const runtimeBytes = readFileSync(join(root, 'build/runtime.wasm'));
const module = new WebAssembly.Module(runtimeBytes);

const CPU_AT = 0x10000;
const P2M_AT = CPU_AT + VCPU_STRIDE;
/** Guest frames. */
export const FRAMES = 1024;
const CODE_MAP_AT = P2M_AT + FRAMES * 4;
const RAM_AT = 0x200000;
const PHYS_BITS = 40n;
const FIELD_WIDTH: ReadonlyMap<string, number> = new Map(CPU_FIELDS.map((f) => [f.name, f.stride]));

/** One access that reached the host. */
export interface HostAccess {
  readonly kind: 'read' | 'write' | 'in' | 'out';
  readonly at: number;
  readonly size: number;
  readonly value: bigint;
}

type Helper = (...args: (number | bigint)[]) => number;
/** Segment attributes: bits of the descriptor's second dword shifted right by 8. */
export const attr = (type: number, dpl = 0, flags = 0): number => 0x80 | (dpl << 5) | type | (flags << 12);
/** Flags nibble of a descriptor: AVL 1, L 2, D/B 4, G 8. */
export const L = 2;
export const DB = 4;
export const G = 8;

export class Machine {
  readonly memory = new WebAssembly.Memory({ initial: 128 });
  readonly cpu = CPU_AT;
  readonly view: DataView;
  readonly log: HostAccess[] = [];
  readonly msrs = new Map<number, bigint>();
  /** Value that reads of the host give. */
  hostValue = 0x1122334455667788n;
  private readonly exports: Record<string, Helper>;

  constructor() {
    this.view = new DataView(this.memory.buffer);
    const env: WebAssembly.ModuleImports = {
      memory: this.memory,
      mmio_read: (_cpu: number, gpa: bigint, size: number) => this.hostRead('read', Number(gpa), size),
      mmio_write: (_cpu: number, gpa: bigint, size: number, value: bigint) =>
        this.log.push({ kind: 'write', at: Number(gpa), size, value: BigInt.asUintN(size * 8, value) }),
      port_read: (_cpu: number, port: number, size: number) => Number(this.hostRead('in', port, size)),
      port_write: (_cpu: number, port: number, size: number, value: number) =>
        this.log.push({ kind: 'out', at: port, size, value: BigInt.asUintN(size * 8, BigInt(value)) }),
      msr_read: (_cpu: number, index: number) => {
        const value = this.msrs.get(index >>> 0);
        if (value === undefined) return 1;
        this.set('scratch', value);
        return 0;
      },
      msr_write: (_cpu: number, index: number, value: bigint) => {
        if (!this.msrs.has(index >>> 0)) return 1;
        this.msrs.set(index >>> 0, BigInt.asUintN(64, value));
        return 0;
      },
      tsc_now: () => 1000n,
      tsc_number: () => 1000,
      cpuid_query: (cpu: number, leaf: number, subleaf: number) => {
        for (let i = 0; i < 4; i++) this.view.setUint32(cpu + CPU.scratch! + i * 4, leaf + subleaf + i, true);
      },
      set_cr8: () => {},
      get_cr8: () => this.get('cr8'),
    };
    this.exports = new WebAssembly.Instance(module, { env }).exports as unknown as Record<string, Helper>;
    for (let frame = 0; frame < FRAMES; frame++) this.setP2m(frame, P2M.PRESENT | P2M.WRITABLE);
    this.set('p2m', BigInt(P2M_AT));
    this.set('p2m_frames', BigInt(FRAMES));
    this.set('phys_mask', (1n << PHYS_BITS) - 1n);
    this.set('xcr0_mask', 7n);
    this.call('code_init', CODE_MAP_AT, 0, 0, 0, 0, 0);
    this.call('reset');
  }

  private hostRead(kind: 'read' | 'in', at: number, size: number): bigint {
    const value = BigInt.asUintN(size * 8, this.hostValue);
    this.log.push({ kind, at, size, value });
    return BigInt.asIntN(64, value);
  }

  /** Calls an export with the cpu pointer first. */
  call(name: string, ...args: (number | bigint)[]): number {
    const f = this.exports[name];
    if (!f) throw new Error(`the runtime exports no ${name}`);
    return f(this.cpu, ...args) >>> 0;
  }
  /** The same for results of 64 bits. */
  call64(name: string, ...args: (number | bigint)[]): bigint {
    return BigInt.asUintN(64, this.exports[name]!(this.cpu, ...args) as unknown as bigint);
  }

  /** Machine address of a gpa; neighbouring guest frames lie apart. */
  machine(gpa: number): number {
    const frame = gpa >>> 12;
    if (frame >= FRAMES) throw new RangeError(`gpa ${gpa.toString(16)} is not RAM`);
    return RAM_AT + ((frame * 37) % FRAMES) * 4096 + (gpa & 0xfff);
  }
  /** gpa of a machine address that is RAM. */
  gpa(machine: number): number {
    for (let frame = 0; frame < FRAMES; frame++) {
      if (this.machine(frame << 12) === (machine & ~0xfff)) return (frame << 12) | (machine & 0xfff);
    }
    throw new RangeError(`${machine.toString(16)} is not in RAM`);
  }
  setP2m(frame: number, flags: number): void {
    this.view.setUint32(P2M_AT + frame * 4, flags === 0 ? 0 : (this.machine(frame << 12) & ~0xfff) | flags, true);
  }
  p2m(frame: number): number {
    return this.view.getUint32(P2M_AT + frame * 4, true);
  }

  get(field: string, index = 0): bigint {
    const at = this.cpu + cpuField(field, index);
    const stride = FIELD_WIDTH.get(field);
    if (stride === 2) return BigInt(this.view.getUint16(at, true));
    return stride === 4 ? BigInt(this.view.getUint32(at, true)) : this.view.getBigUint64(at, true);
  }
  set(field: string, value: bigint, index = 0): void {
    const at = this.cpu + cpuField(field, index);
    const stride = FIELD_WIDTH.get(field);
    if (stride === 2) this.view.setUint16(at, Number(value), true);
    else if (stride === 4) this.view.setUint32(at, Number(BigInt.asUintN(32, value)), true);
    else this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
  }
  /** A field as a number. */
  num(field: string, index = 0): number {
    return Number(this.get(field, index));
  }
  /** Segment register with its hidden part. */
  setSeg(name: SegmentName, selector: number, base: number, limit: number, attributes: number): void {
    const i = SEG[name];
    this.set('seg_sel', BigInt(selector), i);
    this.set('seg_base', BigInt(base), i);
    this.set('seg_limit', BigInt(limit), i);
    this.set('seg_attr', BigInt(attributes), i);
  }
  sel(name: SegmentName): number {
    return this.num('seg_sel', SEG[name]);
  }
  get rflags(): number {
    return this.num('eflags') | (this.num('cc_x') & EFLAGS.ARITH);
  }
  set rflags(v: number) {
    this.set('eflags', BigInt((v & ~EFLAGS.ARITH) | 2));
    this.set('cc_x', BigInt(v & EFLAGS.ARITH));
    this.set('cc_op', 0n);
  }
  get rsp(): bigint {
    return this.get('gpr', 4);
  }
  set rsp(v: bigint) {
    this.set('gpr', v, 4);
  }

  read(gpa: number, size: 1 | 2 | 4 | 8): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.view.getUint8(this.machine(gpa + i)));
    return value;
  }
  write(gpa: number, size: 1 | 2 | 4 | 8, value: bigint | number): void {
    let v = BigInt(value);
    for (let i = 0; i < size; i++, v >>= 8n) this.view.setUint8(this.machine(gpa + i), Number(v & 0xffn));
  }
  /** Values of `size` bytes each, from `gpa` up. */
  words(gpa: number, size: 2 | 4 | 8, count: number): number[] {
    return Array.from({ length: count }, (_, i) => Number(this.read(gpa + i * size, size)));
  }

  /** Writes a segment or system descriptor of 8 bytes, or 16 when `base` needs it. */
  descriptor(gpa: number, base: bigint | number, limit: number, attributes: number, wide = false): void {
    const b = BigInt(base);
    const lo = (BigInt(limit) & 0xffffn) | ((b & 0xffffn) << 16n);
    const hi = ((b >> 16n) & 0xffn) | (BigInt(attributes) << 8n) | (BigInt(limit) & 0xf0000n) | (b & 0xff000000n);
    this.write(gpa, 4, lo);
    this.write(gpa + 4, 4, hi);
    if (wide) this.write(gpa + 8, 8, b >> 32n);
  }
  /** Writes a gate: type, DPL and P in `attributes`; `extra` is the parameter count or the IST. */
  gate(gpa: number, selector: number, offset: bigint | number, attributes: number, extra = 0, wide = false): void {
    const o = BigInt(offset);
    this.write(gpa, 4, (o & 0xffffn) | (BigInt(selector) << 16n));
    this.write(gpa + 4, 4, (o & 0xffff0000n) | (BigInt(attributes) << 8n) | BigInt(extra));
    if (wide) this.write(gpa + 8, 8, o >> 32n);
  }

  /** Whether a helper faulted, and with what: `undefined` or [vector, error code]. */
  fault(status: number): [number, number] | undefined {
    return status === 0 ? undefined : [this.num('exc_vector'), this.num('exc_error')];
  }
}
