// Keeps the results of a complete run: bench/results/latest.json, and what is made of it, docs/performance.svg and the
// part of docs/performance.md between the two marks. What people wrote around that part stays.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { BENCHMARKS } from './benchmarks.ts';
import { BenchError, root } from './build.ts';
import { plot } from './plot.ts';
import type { Results } from './samples.ts';
import { asMarkdown, barRows, contestantsOf, digits, ratioRows, timeRows } from './table.ts';

export const latestPath = join(root, 'bench/results/latest.json');
export const documentPath = join(root, 'docs/performance.md');
export const plotPath = join(root, 'docs/performance.svg');

const BEGIN = '<!-- made by npm run bench: begin -->';
const END = '<!-- made by npm run bench: end -->';

/** Writes a file whole or not at all. */
export function writeWhole(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

/** Results as JSON, a run on each line, seconds to the microsecond. */
export function stringifyResults(results: Results): string {
  const { runs, ...head } = results;
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === 'number' ? Math.round(value * 1e6) / 1e6 : value;
  const lines = runs.map((run) => JSON.stringify(run, rounded));
  return `${JSON.stringify(head, null, 1).slice(0, -2)},\n "runs": [\n${lines.join(',\n')}\n]}\n`;
}

/** Reads a results file. @throws BenchError when it is not there or is none */
export function readResults(path: string): Results {
  try {
    const results: Results = JSON.parse(readFileSync(path, 'utf8'));
    if (results.format === 1 && Array.isArray(results.runs)) return results;
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      throw new BenchError(`there are no results in ${path}; run "npm run bench" without --report first`);
    }
  }
  throw new BenchError(`${path} holds no results of this program; remove it`);
}

/** Puts new text between the marks of a document. @throws BenchError when the marks are missing */
export function between(document: string, text: string): string {
  const [from, to] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (from < 0 || to < from) throw new BenchError(`docs/performance.md lacks the lines "${BEGIN}" and "${END}"`);
  return `${document.slice(0, from + BEGIN.length)}\n\n${text.trim()}\n\n${document.slice(to)}`;
}

/** Above this load average the contestants had less than a processor of the two that they can use. */
const BUSY_LOAD = 2;

/** The generated part of the document. */
export function describeResults(results: Results): string {
  const { date, host, versions, settings } = results;
  const rounds = contestantsOf(results).map((contestant) => {
    const took = new Set(results.runs.filter((run) => run.contestant === contestant).map(({ round }) => round));
    return `${contestant} ${took.size}`;
  });
  const loads = results.runs.map(({ load }) => load);
  const parts = BENCHMARKS.map(({ name, unit, description }) => `- ${name}: ${description} (by ${unit})`);
  const busy = Math.max(...loads) > BUSY_LOAD ? ' **The machine was busy: these figures are preliminary.**' : '';
  return `Taken on ${date}, ${host}; ${Object.values(versions).join('; ')}; rounds: ${rounds.join(', ')}.
Load average of the machine after each start: ${digits(Math.min(...loads))} to ${digits(Math.max(...loads))}; above 1, others were at work too.${busy}
Kernel command line \`${settings.append}\`, QEMU's CPU model ${settings.qemuCpu}.

### Bars

Plinth's time over the other's; "faster" is the inverse. What counts is ${settings.clock === 'cpu' ? 'processor time' : 'the time that passed'}.

${asMarkdown(barRows(results, settings.clock))}

![Time over the host's for every benchmark](performance.svg)

### Ratios

Of time, and in brackets of processor time, all threads of the process included.

${asMarkdown(ratioRows(results))}

### Times

Of one operation, by time that passed.

${asMarkdown(timeRows(results, 'time'))}

Of one operation, by processor time.

${asMarkdown(timeRows(results, 'cpu'))}

${parts.join('\n')}`;
}

/** Rewrites the plot and the generated part of the document. */
export function writeReport(results: Results): void {
  const document = between(readFileSync(documentPath, 'utf8'), describeResults(results));
  writeWhole(plotPath, plot(results));
  writeWhole(documentPath, document);
}
