/**
 * Writes planned regions as a WebAssembly module: a function of the plans alone, so that any thread can do it. What only
 * the vCPU's thread can give, addresses of exits and places in the table, the module imports as constants.
 */
import { HELPERS } from '../../isa/helpers.ts';
import type { Insn } from '../../isa/insn.ts';
import { type FuncType, type ImportSource, ModuleBuilder } from '../../wasm/module.ts';
import { HANDLER } from '../interp/chain.ts';
import { INTERPRETER_FUNCTIONS } from '../interp/module.ts';
import { TABLE_SIZE } from '../interp/special.ts';
import { RegionOps } from './backend.ts';
import { type Cfg, isTranslatable } from './cfg.ts';
import { RegionWriter, type WrittenRegion } from './region.ts';
import { UnevenTurns } from './registers.ts';
import type { RegionExit } from './ways-out.ts';

/** What a region is made of. */
export interface RegionPlan {
  /** Name of its function; no two regions of a module have the same. */
  readonly name: string;
  readonly cfg: Cfg;
  /** Code page by number from the entry's, and how often that had been dropped; for all pages with blocks. */
  pages(d: number): { readonly page: number; readonly drops: number };
}

/** Written plans as a module. */
export interface WrittenModule {
  /** Undefined when no plan could be written. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  /**
   * By plan its exits (see packExits), undefined for one that could not be written. The functions of the others come one
   * behind the other into the table, from the imported constant `table` on.
   */
  readonly exits: readonly (Int32Array | undefined)[];
  /** By plan the positions of its entries; empty for one that could not be written. */
  readonly entries: readonly Int32Array[];
  /** What the first plan that could not be written failed with. */
  readonly error: unknown;
}

/** Vocabulary that the region backend has. */
const METHODS = {
  has: (name: string): boolean => name in RegionOps.prototype,
};
/** Can a region contain this instruction? */
export const canTranslate = (insn: Insn): boolean => isTranslatable(insn, METHODS);

/** Module name of the constants: `table`, and `exits<number of the plan>`, the address of its REGION_EXITs. */
export const LINK = 'link';

/**
 * Writes plans. A mistake of the translator costs the guest speed, not its life: a plan that cannot be written is left
 * out.
 */
export function writeModule(plans: readonly RegionPlan[]): WrittenModule {
  const m = new ModuleBuilder(importOf);
  const table = m.importConstant(LINK, 'table');
  let error: unknown;
  const regions = plans.map(({ name, cfg, pages }, i) => {
    const exitTable = m.importConstant(LINK, `exits${i}`);
    const before = m.functionNames.length;
    const attempt = (inTurns: boolean): WrittenRegion | undefined => {
      try {
        return new RegionWriter(m, name, cfg, { exitTable, pages, inTurns }).write();
      } catch (e) {
        if (m.functionNames.length > before) m.dropLast();
        if (inTurns && e instanceof UnevenTurns) return attempt(false);
        error ??= e;
        return undefined;
      }
    };
    return attempt(true);
  });
  const exits = regions.map((r) => r && packExits(r.exits));
  const entries = regions.map((r) => Int32Array.from(r?.entries ?? []));
  const names = m.functionNames;
  if (names.length === 0) return { bytes: undefined, exits, entries, error };
  m.element(table, names);
  return {
    bytes: m.build({ maximumPages: 65536, shared: false, table: { type: HANDLER, size: TABLE_SIZE } }),
    exits,
    entries,
    error,
  };
}

/** Numbers of a packed exit. */
const EXIT_NUMBERS = 4;
function packExits(exits: readonly RegionExit[]): Int32Array {
  const packed = new Int32Array(exits.length * EXIT_NUMBERS);
  exits.forEach((e, n) => {
    packed[n * EXIT_NUMBERS] = e.handler;
    packed[n * EXIT_NUMBERS + 1] = e.rec;
    packed[n * EXIT_NUMBERS + 2] = e.back;
    packed[n * EXIT_NUMBERS + 3] = e.page;
  });
  return packed;
}
export const countExits = (packed: Int32Array): number => packed.length / EXIT_NUMBERS;
export function unpackExit(packed: Int32Array, n: number): RegionExit {
  const [handler, rec, back, page] = packed.subarray(n * EXIT_NUMBERS, (n + 1) * EXIT_NUMBERS);
  return { handler: handler!, rec: rec! >>> 0, back: back!, page: page! };
}

const WASM_TYPE = { i: 'i32', l: 'i64', v: 'v128' } as const;
const HELPER_BY_NAME = new Map(HELPERS.map((h) => [h.name, h]));
const I64_OF_I64S = (n: number): FuncType => ({ params: new Array(n).fill('i64'), results: ['i64'] });
const FLAG_FUNCTION: FuncType = { params: ['i32'], results: ['i32'] };
/** Functions of the runtime that are no row's helpers. */
const RUNTIME: Readonly<Record<string, FuncType>> = {
  ram_address: { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] },
  ram_fill: { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] },
  page_holds: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] },
};
const INTERPRETER = new Set(INTERPRETER_FUNCTIONS);

const importOf: ImportSource = (name) => {
  const known = RUNTIME[name];
  if (known) return { module: 'runtime', type: known };
  if (INTERPRETER.has(name)) return { module: 'interpreter', type: interpreterType(name) };
  const helper = HELPER_BY_NAME.get(name);
  if (!helper) return undefined;
  const params = ['i32' as const, ...[...helper.params].map((p) => WASM_TYPE[p as 'i'])];
  return {
    module: 'runtime',
    type: { params, results: helper.result === '' ? [] : [WASM_TYPE[helper.result as 'i']] },
  };
};

function interpreterType(name: string): FuncType {
  if (name === 'yield_at') return { params: ['i32', 'i32'], results: [] };
  if (name === 'goto') return { params: ['i32', 'i64'], results: [] };
  if (name === 'explicit' || name === 'goto_events') return { params: ['i32'], results: [] };
  if (name.startsWith('mulh')) return I64_OF_I64S(2);
  if (name === 'udiv128') return I64_OF_I64S(3);
  return FLAG_FUNCTION;
}
