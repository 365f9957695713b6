// From results to figures: medians, ratios, and whether each bar is met; as lines for a terminal and for Markdown.

import { BARS, type Bar, BENCHMARKS, type Benchmark } from './benchmarks.ts';
import { type Clock, median, operationSeconds, type Results, type Sample } from './samples.ts';

export type Verdict = 'met' | 'not met' | 'not measured';

export interface Judged {
  readonly bar: Bar;
  /** Plinth's time over the other's; undefined when something is missing. */
  readonly ratio?: number;
  readonly verdict: Verdict;
  /** Whether the aim is reached too. */
  readonly aimed: boolean;
}

/** All rounds of one benchmark by one contestant. */
export function samplesOf(results: Results, contestant: string, name: string): Sample[] {
  const runs = results.runs.filter((run) => run.contestant === contestant);
  return runs.flatMap((run) => run.samples.filter((sample) => sample.name === name));
}

/** Median nanoseconds of one operation; undefined when it was not measured. */
export function nanoseconds(results: Results, contestant: string, name: string, clock: Clock): number | undefined {
  const samples = samplesOf(results, contestant, name);
  if (samples.length === 0) return undefined;
  return median(samples.map((sample) => operationSeconds(sample, clock) * 1e9));
}

/** The first contestant's time over the second's. */
export function ratio(
  results: Results,
  name: string,
  [first, second]: readonly [string, string],
  clock: Clock,
): number | undefined {
  const above = nanoseconds(results, first, name, clock);
  const below = nanoseconds(results, second, name, clock);
  return above === undefined || below === undefined || below === 0 ? undefined : above / below;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Holds the results against one bar. */
export function judge(results: Results, bar: Bar, clock: Clock): Judged {
  const pair = [`plinth${bar.bits}`, bar.over] as const;
  const ratios = bar.benchmarks.map((name) => ratio(results, name, pair, clock));
  const known = ratios.filter((value) => value !== undefined);
  if (known.length < ratios.length) return { bar, verdict: 'not measured', aimed: false };
  const value = bar.combine === 'mean' ? geometricMean(known) : Math.max(...known);
  const verdict = value <= bar.must ? 'met' : 'not met';
  return { bar, ratio: value, verdict, aimed: bar.aim !== undefined && value <= bar.aim };
}

/** Checks that differ from what most of the contestants got: one line for each. */
export function wrongChecks(results: Results): string[] {
  const lines: string[] = [];
  for (const { name } of BENCHMARKS) {
    const got = new Map<string, Set<string>>();
    for (const run of results.runs) {
      for (const sample of run.samples.filter((each) => each.name === name)) {
        const who = got.get(sample.check) ?? new Set<string>();
        got.set(sample.check, who.add(run.contestant));
      }
    }
    if (got.size < 2) continue;
    const said = [...got].map(([check, who]) => `${check} on ${[...who].join(', ')}`);
    lines.push(`${name}: ${said.join('; ')}`);
  }
  return lines;
}

/** Contestants that a results file has, in the order in which they first ran. */
export function contestantsOf(results: Results): string[] {
  return [...new Set(results.runs.map((run) => run.contestant))];
}

/** Three significant digits, no exponent. */
export function digits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A time in the unit that suits it. */
export function duration(ns: number): string {
  const [size, unit] =
    [[1e9, 's'] as const, [1e6, 'ms'] as const, [1e3, 'µs'] as const].find(([least]) => ns >= least) ??
    ([1, 'ns'] as const);
  return `${digits(ns / size)} ${unit}`;
}

/** A bar's ratio or limit as the bar is stated: times the other's time, or times faster. */
function stated(bar: Bar, value: number | undefined): string {
  if (value === undefined) return '–';
  return bar.faster ? `${digits(1 / value)} × faster` : `${digits(value)} ×`;
}

const RELATIONS = [
  ['plinth64', 'native64'],
  ['plinth64', 'qemu64'],
  ['plinth32', 'native32'],
  ['plinth32', 'qemu32'],
  ['plinth32', 'v8632'],
] as const;

export type Rows = readonly (readonly string[])[];

function benchmarkRow(results: Results, benchmark: Benchmark, names: readonly string[], clock: Clock): string[] {
  const times = names.map((name) => nanoseconds(results, name, benchmark.name, clock));
  return [benchmark.name, benchmark.unit, ...times.map((ns) => (ns === undefined ? '' : duration(ns)))];
}

/** Time of one operation by contestant: a heading row, and a row for each benchmark that was measured. */
export function timeRows(results: Results, clock: Clock): Rows {
  const names = contestantsOf(results);
  const rows = BENCHMARKS.map((benchmark) => benchmarkRow(results, benchmark, names, clock));
  return [['benchmark', 'unit', ...names], ...rows.filter((row) => row.slice(2).some((cell) => cell !== ''))];
}

/** Ratios by benchmark, those of time with those of processor time behind them in brackets. */
export function ratioRows(results: Results): Rows {
  const present = contestantsOf(results);
  const pairs = RELATIONS.filter(([first, second]) => present.includes(first) && present.includes(second));
  const cell = (name: string, pair: readonly [string, string]): string => {
    const time = ratio(results, name, pair, 'time');
    const cpu = ratio(results, name, pair, 'cpu');
    return time === undefined || cpu === undefined ? '' : `${digits(time)} (${digits(cpu)})`;
  };
  const rows = BENCHMARKS.map(({ name }) => [name, ...pairs.map((pair) => cell(name, pair))]);
  const heading = ['benchmark', ...pairs.map(([first, second]) => `${first} / ${second}`)];
  return [heading, ...rows.filter((row) => row.slice(1).some((text) => text !== ''))];
}

/** The bars with their verdicts, by time; the ratio of processor time stands beside it. */
export function barRows(results: Results, clock: Clock = 'time'): Rows {
  const rows = BARS.map((bar) => {
    const { ratio: value, verdict, aimed } = judge(results, bar, clock);
    const other = judge(results, bar, clock === 'cpu' ? 'time' : 'cpu').ratio;
    const aim = bar.aim === undefined ? '' : stated(bar, bar.aim);
    return [
      bar.name,
      bar.over,
      stated(bar, value),
      stated(bar, other),
      stated(bar, bar.must),
      aim,
      aimed ? 'met, and the aim' : verdict,
    ];
  });
  const beside = clock === 'cpu' ? ['by processor time', 'by time'] : ['by time', 'by processor time'];
  return [['bar', 'against', ...beside, 'must', 'aim', ''], ...rows];
}

/** Rows as text with aligned columns. */
export function asText(rows: Rows): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** Rows as a Markdown table. */
export function asMarkdown(rows: Rows): string {
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
  const [heading, ...body] = rows;
  const rule = heading!.map((_, at) => (at === 0 ? '---' : '---:'));
  return [line(heading!), line(rule), ...body.map(line)].join('\n');
}
