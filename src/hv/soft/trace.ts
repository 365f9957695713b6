/**
 * Tracing of what the runtime does for a vCPU: deliveries of exceptions and interrupts, and the translations that
 * the software TLB did not know. The runtime's functions are wrapped, so a vCPU without a trace pays nothing.
 */
import { CPU, TLB } from '../../isa/layout.ts';

/** Takes the lines of a trace. `address` is what a filter looks at: rip of an event, linear address of an access. */
export interface VcpuTrace {
  /** Exceptions, interrupts, software interrupts. */
  readonly int?: ((address: bigint, line: string) => void) | undefined;
  /** Accesses and fetches that missed the TLB. */
  readonly mmu?: ((address: bigint, line: string) => void) | undefined;
  /** Every instruction is run, and decoded, alone: `onTrace` then tells what is executed. */
  readonly everyInstruction?: boolean | undefined;
}

type Call = (...args: never[]) => unknown;
const hex = (n: bigint, digits = 16): string => BigInt.asUintN(64, n).toString(16).padStart(digits, '0');
const PAGE = 0xfffn;

class Tracer {
  private readonly view: DataView;
  constructor(memory: WebAssembly.Memory) {
    this.view = new DataView(memory.buffer);
  }
  u32(cpu: number, field: string): number {
    return this.view.getUint32(cpu + CPU[field]!, true);
  }
  u64(cpu: number, field: string): bigint {
    return this.view.getBigUint64(cpu + CPU[field]!, true);
  }

  /** Where the event found the vCPU. */
  place(cpu: number): string {
    const cs = this.view
      .getUint16(cpu + CPU.seg_sel! + 2, true)
      .toString(16)
      .padStart(4, '0');
    return `at ${cs}:${hex(this.u64(cpu, 'rip'))} cpl ${this.u32(cpu, 'cpl')}`;
  }
  exception(cpu: number): string {
    const vector = this.u32(cpu, 'exc_vector');
    const error = this.u32(cpu, 'exc_error').toString(16).padStart(4, '0');
    const address = vector === 14 ? ` address ${hex(this.u64(cpu, 'exc_cr2'))}` : '';
    return `exception ${vector} error ${error}${address}`;
  }
  /** gpa of what the data TLB now knows of `va`, or how else the access was served. */
  served(cpu: number, va: bigint, host: number, write: boolean): string {
    if (host === 0) return this.exception(cpu);
    const slot = Number((va >> 12n) & BigInt(TLB.ENTRIES - 1)) * TLB.ENTRY_SIZE;
    const entry = this.u32(cpu, 'tlb_ptr') + slot;
    const tag = this.view.getBigUint64(entry + (write ? TLB.TAG_WRITE : TLB.TAG_READ), true);
    if (tag !== (va & ~PAGE)) return 'by the slow path';
    return hex((BigInt(this.view.getUint32(entry + TLB.FRAME, true)) << 12n) | (va & PAGE), 9);
  }
}

function traceInterrupts(out: Record<string, Call>, t: Tracer, say: NonNullable<VcpuTrace['int']>): void {
  const wrap = (name: string, text: (cpu: number, vector: number) => string): void => {
    const original = out[name] as (...args: number[]) => unknown;
    out[name] = (...args: number[]) => {
      const [cpu = 0, vector = 0] = args;
      say(t.u64(cpu, 'rip'), `int ${text(cpu, vector)} ${t.place(cpu)}`);
      return original(...args);
    };
  };
  wrap('deliver_exception', (cpu) => t.exception(cpu));
  wrap('deliver_interrupt', (_cpu, vector) => `interrupt ${vector}`);
  wrap('deliver_nmi', () => 'nmi');
  wrap('software_interrupt', (_cpu, vector) => `software ${vector}`);
}

function traceTranslations(out: Record<string, Call>, t: Tracer, say: NonNullable<VcpuTrace['mmu']>): void {
  for (const [name, kind] of [
    ['mem_read', 'read'],
    ['mem_write', 'write'],
    ['mem_rmw', 'modify'],
  ] as const) {
    const original = out[name] as (cpu: number, va: bigint, size: number) => number;
    out[name] = (cpu: number, va: bigint, size: number) => {
      const host = original(cpu, va, size);
      const linear = BigInt.asUintN(64, va);
      say(linear, `mmu ${kind} ${size} at ${hex(linear)}: ${t.served(cpu, linear, host, kind !== 'read')}`);
      return host;
    };
  }
  const translate = out.exec_translate as (cpu: number, va: bigint) => bigint;
  out.exec_translate = (cpu: number, va: bigint) => {
    const gpa = translate(cpu, va);
    const linear = BigInt.asUintN(64, va);
    say(linear, `mmu fetch at ${hex(linear)}: ${gpa === -1n ? t.exception(cpu) : hex(gpa, 9)}`);
    return gpa;
  };
}

/** The runtime's exports with those functions wrapped that the trace is to tell of. */
export function tracedRuntime(
  exports: WebAssembly.Exports,
  memory: WebAssembly.Memory,
  trace: VcpuTrace,
): WebAssembly.Exports {
  const out = { ...exports } as unknown as Record<string, Call>;
  const tracer = new Tracer(memory);
  if (trace.int) traceInterrupts(out, tracer, trace.int);
  if (trace.mmu) traceTranslations(out, tracer, trace.mmu);
  return out as unknown as WebAssembly.Exports;
}
