/**
 * What is looked up in the TLB together: accesses that are constants on top of the same value, in blocks that follow each
 * other. The first one asks for the page of all of them; they need no look of their own then. What it asks for grows while
 * the accesses behind it are written.
 */
import type { FunctionBuilder, LateConstant } from '../../wasm/function.ts';
import { SPECIAL } from '../interp/special.ts';
import type { RegionExit } from './ways-out.ts';

/** What is further apart is looked up by itself: it would be on two pages too often. */
const SPAN_BYTES = 256;

/** Bytes that are looked up together, as distances from the address of the first access: low to high - 1. */
export class Span {
  low = 0;
  high: number;
  /** Constants of the code: `low`, and how far the last byte is from the first. */
  readonly first: LateConstant;
  readonly length: LateConstant;
  /** Where the region is left if they are not all on a page that the TLB has. */
  private exit: RegionExit | undefined;

  /** @param bytes of the first access */
  constructor(f: Pick<FunctionBuilder, 'lateConstant'>, bytes: number) {
    this.high = bytes;
    this.first = f.lateConstant(0);
    this.length = f.lateConstant(bytes - 1);
  }
  leavesAt(exit: RegionExit | undefined): void {
    this.exit = exit;
  }
  /** Whether it contains an access `from` bytes behind the first. */
  has(from: number, bytes: number): boolean {
    return from >= this.low && from + bytes <= this.high;
  }
  /** Takes an access in, if it is not too far. @returns whether it is looked up with the first */
  takes(from: number, bytes: number): boolean {
    const [low, high] = [Math.min(this.low, from), Math.max(this.high, from + bytes)];
    if (high - low > SPAN_BYTES) return false;
    [this.low, this.high] = [low, high];
    this.first.set(low);
    this.length.set(high - low - 1);
    // The access itself may be on one page all the same: that is told apart from other ways out.
    if (this.exit) this.exit.handler = SPECIAL.crossed;
    return true;
  }
}
