/** What was made of an address: regions and their WebAssembly as lines of text. */
import type { Cfg, RegionInsn } from '../engine/bt/cfg.ts';
import { disassemble } from '../isa/disasm.ts';
import { printFunctions } from '../wasm/text.ts';

/** Which parts are told. */
export interface RegionTraceOptions {
  readonly regions: boolean;
  readonly code: boolean;
  /** Whether an instruction's linear address is one to tell of; a region is told if one of its instructions is. */
  readonly within: (address: bigint) => boolean;
  readonly out: (line: string) => void;
}

/** The translator's names of functions: the entry's rip, and a number. */
const FUNCTION_NAME = /^region_([0-9a-f]+)_/;
const hex = (address: bigint): string => BigInt.asUintN(64, address).toString(16).padStart(16, '0');

export class RegionTrace {
  private readonly o: RegionTraceOptions;
  /** Entries of regions that are told of and whose module is to come. */
  private readonly expected = new Set<string>();

  constructor(options: RegionTraceOptions) {
    this.o = options;
  }

  readonly onRegion = (rip: bigint, cfg: Cfg): void => {
    // Positions count from the start of the entry's page.
    const page = rip - BigInt(cfg.entry);
    const blocks = [...cfg.blocks.values()].sort((a, b) => a.at - b.at);
    const at = (i: RegionInsn): bigint => page + BigInt(i.at);
    if (!blocks.some((b) => b.insns.some((i) => this.o.within(at(i))))) return;
    this.expected.add(rip.toString(16));
    if (!this.o.regions) return;
    const count = blocks.reduce((n, b) => n + b.insns.length, 0);
    this.o.out(`region at ${hex(rip)}: ${count} instructions in ${blocks.length} blocks`);
    for (const b of blocks) {
      this.o.out(`  block ${hex(page + BigInt(b.at))}, ends by ${b.end.kind}`);
      for (const i of b.insns) this.o.out(`    ${hex(at(i))}  ${disassemble(i.insn)}`);
      if (b.end.kind === 'interpret')
        this.o.out(`    ${hex(at(b.end.insn))}  ${disassemble(b.end.insn.insn)}  (interpreted)`);
    }
  };

  readonly onModule = (bytes: Uint8Array): void => {
    if (this.o.code) {
      const wanted = (name: string): boolean => this.expected.has(FUNCTION_NAME.exec(name)?.[1] ?? '');
      for (const line of printFunctions(bytes, wanted)) this.o.out(line);
    }
    this.expected.clear();
  };
}
