/** `struct kvm_run` after an exit -> the contract's Exit, and back what the caller put into it. */
import type { Exit } from '../contract.ts';
import { EXIT_REASON, INTERNAL_DATA_MAX, IO_OUT, RUN } from './abi.ts';

const INTERRUPTED: Exit = { reason: 'intr' };
export const interrupted = (): Exit => INTERRUPTED;

export class RunPage {
  readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly buffer: ArrayBuffer;

  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  /** The exit that the page describes. Data of I/O and MMIO are views of the page itself. */
  exit(): Exit {
    const v = this.view;
    const reason = v.getUint32(RUN.EXIT_REASON, true);
    switch (reason) {
      case EXIT_REASON.IO:
        return this.io();
      case EXIT_REASON.MMIO: {
        const length = Math.min(8, v.getUint32(RUN.MMIO.LENGTH, true));
        return {
          reason: 'mmio',
          gpa: v.getBigUint64(RUN.MMIO.GPA, true),
          isWrite: v.getUint8(RUN.MMIO.IS_WRITE) !== 0,
          data: this.bytes.subarray(RUN.MMIO.DATA, RUN.MMIO.DATA + length),
        };
      }
      case EXIT_REASON.HLT:
        return { reason: 'hlt' };
      case EXIT_REASON.SHUTDOWN:
        return { reason: 'shutdown' };
      case EXIT_REASON.INTR:
        return INTERRUPTED;
      case EXIT_REASON.IRQ_WINDOW_OPEN:
        return { reason: 'irq-window-open' };
      case EXIT_REASON.SET_TPR:
        return { reason: 'set-tpr' };
      case EXIT_REASON.IOAPIC_EOI:
        return { reason: 'ioapic-eoi', vector: v.getUint8(RUN.EOI.VECTOR) };
      case EXIT_REASON.DEBUG:
        return {
          reason: 'debug',
          exception: v.getUint32(RUN.DEBUG.EXCEPTION, true),
          pc: v.getBigUint64(RUN.DEBUG.PC, true),
          dr6: v.getBigUint64(RUN.DEBUG.DR6, true),
          dr7: v.getBigUint64(RUN.DEBUG.DR7, true),
        };
      case EXIT_REASON.X86_RDMSR:
        return { reason: 'rdmsr', index: v.getUint32(RUN.MSR.INDEX, true), value: 0n, error: false };
      case EXIT_REASON.X86_WRMSR: {
        const value = v.getBigUint64(RUN.MSR.DATA, true);
        return { reason: 'wrmsr', index: v.getUint32(RUN.MSR.INDEX, true), value, error: false };
      }
      case EXIT_REASON.XEN:
        return this.hypercall();
      case EXIT_REASON.FAIL_ENTRY:
        return { reason: 'fail-entry', hardwareReason: v.getBigUint64(RUN.FAIL_ENTRY.REASON, true) };
      case EXIT_REASON.INTERNAL_ERROR:
        return this.internalError();
      case EXIT_REASON.SYSTEM_EVENT:
        return { reason: 'system-event', type: v.getUint32(RUN.SYSTEM_EVENT.TYPE, true) };
      default:
        return { reason: 'unknown', code: reason };
    }
  }

  private io(): Exit {
    const v = this.view;
    const size = v.getUint8(RUN.IO.SIZE) as 1 | 2 | 4;
    const count = v.getUint32(RUN.IO.COUNT, true);
    const at = Number(v.getBigUint64(RUN.IO.DATA_OFFSET, true));
    return {
      reason: 'io',
      direction: v.getUint8(RUN.IO.DIRECTION) === IO_OUT ? 'out' : 'in',
      port: v.getUint16(RUN.IO.PORT, true),
      size,
      count,
      data: new Uint8Array(this.buffer, at, size * count),
    };
  }

  private hypercall(): Exit {
    const v = this.view;
    return {
      reason: 'hypercall',
      number: v.getBigUint64(RUN.XEN.INPUT, true),
      args: Array.from({ length: 6 }, (_, i) => v.getBigUint64(RUN.XEN.PARAMS + i * 8, true)),
      longMode: v.getUint32(RUN.XEN.LONG_MODE, true) !== 0,
      result: 0n,
    };
  }

  private internalError(): Exit {
    const v = this.view;
    const count = Math.min(INTERNAL_DATA_MAX, v.getUint32(RUN.INTERNAL.COUNT, true));
    return {
      reason: 'internal-error',
      suberror: v.getUint32(RUN.INTERNAL.SUBERROR, true),
      data: Array.from({ length: count }, (_, i) => v.getBigUint64(RUN.INTERNAL.DATA + i * 8, true)),
    };
  }

  /** Writes what the caller left in an exit where the kernel will look for it. */
  finish(exit: Exit): void {
    const v = this.view;
    if (exit.reason === 'rdmsr') {
      v.setBigUint64(RUN.MSR.DATA, BigInt.asUintN(64, exit.value), true);
      v.setUint8(RUN.MSR.ERROR, exit.error ? 1 : 0);
    } else if (exit.reason === 'wrmsr') v.setUint8(RUN.MSR.ERROR, exit.error ? 1 : 0);
    else if (exit.reason === 'hypercall') v.setBigUint64(RUN.XEN.RESULT, BigInt.asUintN(64, exit.result), true);
  }
}
