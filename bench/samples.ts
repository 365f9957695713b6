// What one run of the programs gives: the lines that bench/guest/report.h describes, with the host's time stamps, and
// the results file that gathers them.

/** The processor time and the clock of the host at one moment, in seconds. */
export interface Stamp {
  readonly wall: number;
  readonly cpu: number;
}

/** One measurement of one benchmark. */
export interface Sample {
  readonly name: string;
  readonly check: string;
  readonly operations: number;
  /** Seconds by the clock that the program itself could read. */
  readonly own: number;
  /** Seconds between the two lines, by the host's clock. */
  readonly wall: number;
  /** Seconds of processor time of whoever ran it, all threads. */
  readonly cpu: number;
}

/** One start of a contestant. */
export interface Run {
  readonly contestant: string;
  readonly round: number;
  /** Which set of programs: a guest is started once for each. */
  readonly set: string;
  /** The machine's load average of one minute when the run had ended: above 1 or so, others were at work too. */
  readonly load: number;
  readonly samples: readonly Sample[];
  /** One line, when the run did not come to its end. */
  readonly failure?: string;
}

/** Which figure of a sample counts: the time that passed, or the processor time of all threads. */
export type Clock = 'time' | 'cpu';

/** What a run was asked for; one that goes on must be asked for the same. */
export interface Settings {
  readonly scale: number;
  readonly rounds: number;
  readonly clock: Clock;
  readonly append: string;
  readonly engine: string;
  readonly qemuCpu: string;
}

/** A results file. */
export interface Results {
  readonly format: 1;
  readonly date: string;
  readonly host: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: Settings;
  readonly runs: readonly Run[];
}

interface Begun {
  readonly name: string;
  readonly at: Stamp;
}

/** Reads a program's lines as they come, and keeps what they say. */
export class Reader {
  readonly samples: Sample[] = [];
  #begun: Begun | undefined;

  /** Takes one line without its line end. `native` says that the program's own processor time is the host's. */
  line(text: string, at: Stamp, native = false): void {
    const begin = /@start (\S+)$/.exec(text);
    if (begin) this.#begun = { name: begin[1]!, at };
    const match = /@done (\S+) (\S+) (\d+) ([\d.]+) ([\d.]+)$/.exec(text);
    if (!match || this.#begun?.name !== match[1]) return;
    const from = this.#begun!.at;
    this.#begun = undefined;
    this.samples.push({
      name: match[1]!,
      check: match[2]!,
      operations: Number(match[3]),
      own: Number(match[4]),
      wall: at.wall - from.wall,
      cpu: native ? Number(match[5]) : at.cpu - from.cpu,
    });
  }
}

/** How far a guest's clock may be from the host's before it is not believed: a share, and seconds for the lines' way. */
const TRUST = { share: 0.05, seconds: 0.03 };

/** Seconds that a measurement took: by the program's clock, or by the host's where that one is far off. */
export function elapsed(sample: Sample): number {
  const off = Math.abs(sample.own - sample.wall);
  return off > TRUST.share * sample.wall + TRUST.seconds ? sample.wall : sample.own;
}

/** Seconds of one operation, by either clock. */
export function operationSeconds(sample: Sample, clock: Clock): number {
  return (clock === 'cpu' ? sample.cpu : elapsed(sample)) / sample.operations;
}

/** The middle of some numbers, or the mean of the two in the middle. @throws RangeError for none */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
