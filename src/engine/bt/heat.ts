/**
 * How often what is decoded is jumped to. The counter of a record (REC.HEAT) runs down while it is interpreted, until what
 * a region will save is thought to be worth making it: it is hot then.
 */
import { REC } from '../../isa/layout.ts';

/** Jumps to a record before it is translated by a thread of its own, and where that has to be waited for. */
const HOT_AT = 5000;
const HOT_ALONE_AT = 12_000;
/** What a counter is set to after its record was dealt with; tests that translate everything at once ask again at once. */
const COUNTER_REST = 0xffff;
const EAGER_THRESHOLD = 16;
/** What was jumped to less than this part of the threshold is left out of regions. */
const COLD_PART = 16;
/** What was jumped to more than this part of it will soon be hot. */
const WARM_PART = 2;

export class Heat {
  private readonly view: DataView;
  private threshold: number;
  private readonly usual: number;

  /** @param isAlone no other thread makes regions */
  constructor(memory: WebAssembly.Memory, isAlone: boolean) {
    this.view = new DataView(memory.buffer);
    this.usual = isAlone ? HOT_ALONE_AT : HOT_AT;
    this.threshold = this.usual;
  }

  /** Jumps that make hot, and the counter of a new record. */
  get hotAt(): number {
    return this.threshold;
  }
  /** @param jumps 1-65535; undefined: as usual */
  setHotAt(jumps: number | undefined): void {
    this.threshold = jumps ?? this.usual;
  }
  /** Everything is translated at once, as tests do it. */
  get isEager(): boolean {
    return this.threshold < EAGER_THRESHOLD;
  }

  private set(rec: number, jumps: number): void {
    this.view.setUint16(rec + REC.HEAT, jumps, true);
  }
  /** A record is to count from the start. */
  restart(rec: number): void {
    this.set(rec, this.threshold);
  }
  /** A record was dealt with. */
  rest(rec: number): void {
    this.set(rec, this.isEager ? this.threshold : COUNTER_REST);
  }
  /** Jumps to a record that is no entry of a region; as many as make hot if it was hot before. */
  private jumps(rec: number): number {
    const left = this.view.getUint16(rec + REC.HEAT, true);
    // A counter that has run down goes on above the threshold.
    return left > this.threshold ? this.threshold : this.threshold - left;
  }
  /** Was a record jumped to so seldom that a region is better without it? It must not be the entry of one. */
  isCold(rec: number): boolean {
    return !this.isEager && this.jumps(rec) * COLD_PART < this.threshold;
  }
  /** Was a record jumped to so often that it will have a region of its own? It must not be the entry of one. */
  isWarm(rec: number): boolean {
    return !this.isEager && this.jumps(rec) * WARM_PART > this.threshold;
  }
}
