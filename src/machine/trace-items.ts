/** Trace items by name, and how what is traced becomes lines of text. */

import type { Cfg } from '../engine/bt/cfg.ts';
import type { VcpuTrace } from '../hv/soft/trace.ts';
import { disassemble } from '../isa/disasm.ts';
import type { Insn } from '../isa/insn.ts';
import { MachineError } from './errors.ts';
import { LOG_ITEM_NAMES, type LogItem } from './log-items.ts';
import { RegionTrace } from './region-trace.ts';

/** What a vCPU is given to tell what it does. */
export interface VcpuTraceOptions {
  readonly onTrace?: ((rip: bigint, insns: readonly Insn[]) => void) | undefined;
  readonly trace?: VcpuTrace | undefined;
  readonly onRegion?: ((rip: bigint, cfg: Cfg) => void) | undefined;
  readonly onModule?: ((bytes: Uint8Array) => void) | undefined;
}

/** @throws MachineError for a name that is no item */
export function checkLogItems(items: readonly string[]): void {
  const unknown = items.find((item) => !(LOG_ITEM_NAMES as readonly string[]).includes(item));
  if (unknown !== undefined) {
    throw new MachineError(`no trace item ${unknown}`, `give some of ${LOG_ITEM_NAMES.join(',')}`);
  }
}

/**
 * The vCPU's part of the trace.
 * @param range linear addresses `[first, last]` to tell of; all when absent
 */
export function vcpuTrace(
  items: readonly string[],
  range: readonly [bigint, bigint] | undefined,
  out: (line: string) => void,
): VcpuTraceOptions {
  const wants = (item: LogItem): boolean => items.includes(item);
  const within = (address: bigint): boolean => !range || (address >= range[0] && address <= range[1]);
  const filtered = (address: bigint, line: string): void => {
    if (within(address)) out(line);
  };
  const onInsns = (rip: bigint, insns: readonly Insn[]): void => {
    let at = rip;
    for (const insn of insns) {
      if (within(at)) out(`${at.toString(16).padStart(16, '0')}  ${disassemble(insn)}`);
      at += BigInt(insn.length);
    }
  };
  const code = wants('wasm');
  const regions =
    wants('region') || code ? new RegionTrace({ regions: wants('region'), code, within, out }) : undefined;
  return {
    onRegion: regions?.onRegion,
    onModule: regions?.onModule,
    onTrace: wants('exec') || wants('decode') ? onInsns : undefined,
    trace:
      wants('int') || wants('mmu') || wants('exec')
        ? {
            int: wants('int') ? filtered : undefined,
            mmu: wants('mmu') ? filtered : undefined,
            everyInstruction: wants('exec'),
          }
        : undefined,
  };
}
