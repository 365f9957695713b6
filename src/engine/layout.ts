/**
 * Where things lie in a pool's WebAssembly memory:
 *
 *   0x00000  never used by guests: a null pointer traps or reads nothing of value; static data of the runtime
 *   0x10000  vCPU states, VCPU_STRIDE apart
 *            P2M table, u32 per guest frame
 *            map from frame to code pages, u32 per guest frame
 *            code pages; records
 *            machine frames: the guest's RAM as one slab
 */
import { VCPU_STRIDE } from '../isa/layout.ts';

export const WASM_PAGE = 0x10000;
export const PAGE_SIZE = 4096;
/** Absolute address of the first vCPU's state. */
export const VCPU_BASE = 0x10000;
/** WebAssembly memories are at most 4 GiB. */
export const MAX_POOL_BYTES = 0x1_0000_0000;

export interface PoolLayout {
  readonly p2m: number;
  readonly p2mFrames: number;
  readonly codeMap: number;
  readonly codePages: number;
  readonly codePagesEnd: number;
  readonly records: number;
  readonly recordsEnd: number;
  readonly ram: number;
  /** Bytes of the whole memory, a multiple of WASM_PAGE. */
  readonly total: number;
}

const up = (n: number, to: number): number => Math.ceil(n / to) * to;
const MIB = 1 << 20;
/** Code pages and records; when one of the two is full everything decoded is dropped. */
const CODE_PAGES_BYTES = 64 * MIB;
const RECORDS_BYTES = 96 * MIB;

/**
 * Plans a pool for one VM.
 * @param ramBytes guest RAM in bytes, a multiple of 4096
 * @param gpaTop first gpa behind the highest RAM, in bytes
 * @throws RangeError when it does not fit a WebAssembly memory
 */
export function planPool(vcpus: number, ramBytes: number, gpaTop: number): PoolLayout {
  const p2mFrames = Math.ceil(gpaTop / PAGE_SIZE);
  const p2m = VCPU_BASE + vcpus * VCPU_STRIDE;
  const codeMap = up(p2m + p2mFrames * 4, PAGE_SIZE);
  const codePages = up(codeMap + p2mFrames * 4, PAGE_SIZE);
  const records = codePages + CODE_PAGES_BYTES;
  const ram = up(records + RECORDS_BYTES, WASM_PAGE);
  const total = up(ram + ramBytes, WASM_PAGE);
  if (total > MAX_POOL_BYTES) {
    throw new RangeError(`guest RAM of ${ramBytes / MIB} MiB does not fit: at most ${maximumRam(vcpus) / MIB} MiB do`);
  }
  return {
    p2m,
    p2mFrames,
    codeMap,
    codePages,
    codePagesEnd: records,
    records,
    recordsEnd: records + RECORDS_BYTES,
    ram,
    total,
  };
}

/** Most RAM that fits beside the tables, in bytes, rounded down to MiB. */
export function maximumRam(vcpus: number): number {
  const frames = (MAX_POOL_BYTES + 0x4000_0000) / PAGE_SIZE;
  const tables = VCPU_BASE + vcpus * VCPU_STRIDE + frames * 8 + CODE_PAGES_BYTES + RECORDS_BYTES + 4 * WASM_PAGE;
  return Math.floor((MAX_POOL_BYTES - tables) / MIB) * MIB;
}
