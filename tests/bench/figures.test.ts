// From the lines that programs print to verdicts, the plot and the document: all that `npm run bench` does but running.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BARS, type Bar, BENCHMARKS } from '../../bench/benchmarks.ts';
import { BLOCKS, dispersedSource } from '../../bench/dispersed.ts';
import { readOptions } from '../../bench/options.ts';
import { plot, span } from '../../bench/plot.ts';
import {
  between,
  describeResults,
  documentPath,
  latestPath,
  plotPath,
  readResults,
  stringifyResults,
} from '../../bench/report.ts';
import { elapsed, median, Reader, type Results, type Sample } from '../../bench/samples.ts';
import {
  asMarkdown,
  asText,
  barRows,
  judge,
  nanoseconds,
  ratioRows,
  timeRows,
  wrongChecks,
} from '../../bench/table.ts';

function sample(name: string, seconds: number, check = 'right', cpu = seconds): Sample {
  return { name, check, operations: 1, own: seconds, wall: seconds, cpu };
}

/** Results in which each contestant took the given seconds for each benchmark, one list a round. */
function results(times: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>): Results {
  const runs = Object.entries(times).flatMap(([contestant, names]) =>
    Object.entries(names).flatMap(([name, rounds]) =>
      rounds.map((seconds, at) => {
        return { contestant, round: at + 1, set: 'small', load: 0.5, samples: [sample(name, seconds)] };
      }),
    ),
  );
  const settings = { scale: 1, rounds: 3, clock: 'time', append: 'quiet', engine: 'bt', qemuCpu: 'qemu64' } as const;
  return { format: 1, date: '2026-11-22', host: 'a host', versions: { plinth: 'Plinth' }, settings, runs };
}

const bar = (change: Partial<Bar>): Bar => {
  const base = { name: 'x', over: 'qemu64', bits: 64, benchmarks: ['crc', 'fib'], combine: 'mean', must: 1 } as const;
  return { ...base, ...change };
};

describe('lines of the programs', () => {
  it('become samples with the time between the two lines', () => {
    const reader = new Reader();
    reader.line('[   12.0] something @start crc', { wall: 10, cpu: 5 });
    reader.line('@done crc 00ac 200 1.5 1.25', { wall: 11.6, cpu: 7 });
    expect(reader.samples).toHaveLength(1);
    const [first] = reader.samples;
    expect(first).toMatchObject({ name: 'crc', check: '00ac', operations: 200, own: 1.5, cpu: 2 });
    expect(first!.wall).toBeCloseTo(1.6);
  });

  it('give their own processor time on the host', () => {
    const reader = new Reader();
    reader.line('@start crc', { wall: 0, cpu: 0 }, true);
    reader.line('@done crc 00ac 200 1.5 1.25', { wall: 1.5, cpu: 0 }, true);
    expect(reader.samples[0]!.cpu).toBe(1.25);
  });

  it('that end what was not begun are left out', () => {
    const reader = new Reader();
    reader.line('@done crc 00ac 200 1.5 1.25', { wall: 1, cpu: 1 });
    reader.line('@start crc', { wall: 1, cpu: 1 });
    reader.line('@done fib 00ac 200 1.5 1.25', { wall: 1, cpu: 1 });
    expect(reader.samples).toEqual([]);
  });

  it("are not believed about time when the guest's clock is off", () => {
    const own = { ...sample('crc', 2), wall: 2.05 };
    expect(elapsed(own)).toBe(2);
    expect(elapsed({ ...own, own: 0.5 })).toBe(2.05);
  });
});

describe('figures', () => {
  it('are medians of the rounds, by operation', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
    expect(nanoseconds(results({ qemu64: { crc: [5, 1, 2] } }), 'qemu64', 'crc', 'time')).toBe(2e9);
  });

  it('meet a bar up to its limit and not beyond', () => {
    const both = results({ plinth64: { crc: [2], fib: [8] }, qemu64: { crc: [1], fib: [1] } });
    expect(judge(both, bar({ must: 4.001, aim: 3 }), 'time')).toMatchObject({ verdict: 'met', aimed: false });
    expect(judge(both, bar({ must: 4.001, aim: 4.001 }), 'time')).toMatchObject({ verdict: 'met', aimed: true });
    expect(judge(both, bar({ must: 3.999 }), 'time').verdict).toBe('not met');
    expect(judge(both, bar({ must: 3.999 }), 'time').ratio).toBeCloseTo(4);
    expect(judge(both, bar({ combine: 'worst' }), 'time').ratio).toBe(8);
  });

  it('say when something was not measured', () => {
    const half = results({ plinth64: { crc: [2], fib: [8] }, qemu64: { crc: [1] } });
    expect(judge(half, bar({ must: 100 }), 'time').verdict).toBe('not measured');
  });

  it('name the contestants whose results differ', () => {
    const same = results({ plinth64: { crc: [2] }, qemu64: { crc: [1] } });
    expect(wrongChecks(same)).toEqual([]);
    const other = { ...same.runs[0]!, contestant: 'v8632', samples: [sample('crc', 1, 'wrong')] };
    expect(wrongChecks({ ...same, runs: [...same.runs, other] })).toEqual([
      'crc: right on plinth64, qemu64; wrong on v8632',
    ]);
  });
});

describe('bars', () => {
  it('are about benchmarks that exist', () => {
    const names = BENCHMARKS.map(({ name }) => name);
    for (const { benchmarks } of BARS) {
      expect(benchmarks.length).toBeGreaterThan(0);
      expect(names).toEqual(expect.arrayContaining([...benchmarks]));
    }
  });

  it('are stated as they are set', () => {
    const rows = barRows(results({ plinth64: { boot: [3] }, qemu64: { boot: [2] } }));
    expect(rows).toContainEqual(['boot', 'qemu64', '1.50 ×', '1.50 ×', '1.30 ×', '0.80 ×', 'not met']);
    const loops = rows.find(([name, over]) => name === 'four loops, mean' && over === 'qemu64');
    expect(loops?.slice(2)).toEqual(['–', '–', '1.80 × faster', '3.00 × faster', 'not measured']);
  });
});

describe('tables and the document', () => {
  const measured = results({ native64: { crc: [1e-9] }, plinth64: { crc: [2e-9, 4e-9, 6e-9] } });

  it('leave out what was not measured', () => {
    expect(timeRows(measured, 'time')).toEqual([
      ['benchmark', 'unit', 'native64', 'plinth64'],
      ['crc', 'byte', '1.00 ns', '4.00 ns'],
    ]);
    expect(ratioRows(measured)[1]).toEqual(['crc', '4.00 (4.00)']);
  });

  it('are aligned as text and ruled as Markdown', () => {
    const rows = [
      ['a', 'bb'],
      ['long', '1'],
    ];
    expect(asText(rows)).toBe('a     bb\nlong   1');
    expect(asMarkdown(rows)).toBe('| a | bb |\n| --- | ---: |\n| long | 1 |');
  });

  it('replace what stands between the marks and nothing else', () => {
    const [begin, end] = ['<!-- made by npm run bench: begin -->', '<!-- made by npm run bench: end -->'];
    const made = between(`before\n${begin}\nold\n${end}\nafter\n`, 'new');
    expect(made).toBe(`before\n${begin}\n\nnew\n\n${end}\nafter\n`);
    expect(between(made, 'new')).toBe(made);
    expect(() => between('no marks', 'new')).toThrow(/lacks the lines/);
  });

  it('are made of a file that says the same, to the microsecond', () => {
    const kept = results({ native64: { crc: [1.25, 2] }, plinth64: { fib: [3] } });
    expect(JSON.parse(stringifyResults(kept))).toEqual(kept);
    const long = results({ native64: { crc: [1.000000449] } });
    expect(JSON.parse(stringifyResults(long)).runs[0].samples[0].own).toBe(1);
  });
});

describe('docs/performance.md', () => {
  it('says what the kept results say', () => {
    const document = readFileSync(documentPath, 'utf8');
    expect(document).toBe(between(document, describeResults(readResults(latestPath))));
    expect(readFileSync(plotPath, 'utf8')).toBe(plot(readResults(latestPath)));
  });
});

describe('the command line', () => {
  it('takes groups and names, peers and contestants', () => {
    expect(readOptions(['--only', 'loops,boot']).only).toEqual(['crc', 'spmv', 'sieve', 'fib', 'boot']);
    expect(readOptions(['--peers', 'plinth,v86,qemu32']).contestants).toEqual([
      'plinth64',
      'plinth32',
      'v8632',
      'qemu32',
    ]);
    expect(readOptions(['--peers', 'qemu']).contestants).toEqual(['qemu64']);
  });

  it('keeps only what a complete run measured, unless told to', () => {
    expect(readOptions([]).kept).toBe(true);
    const partial = [['--quick'], ['--only', 'crc'], ['--peers', 'qemu'], ['--rounds', '1'], ['--engine', 'interp']];
    for (const words of partial) expect(readOptions(words).kept).toBe(false);
    expect(readOptions(['--rounds', '1', '--record']).kept).toBe(true);
  });
});

describe('the plot', () => {
  const measured = results({ native64: { crc: [1] }, plinth64: { crc: [2, 4, 8] } });

  it('spans the rounds', () => {
    expect(span(measured, 'plinth64', 'native64', 'crc')).toEqual({ low: 2, middle: 4, high: 8 });
    expect(span(measured, 'qemu64', 'native64', 'crc')).toBeUndefined();
  });

  it('has a mark for each median, at its place on a logarithmic axis, and no panel without marks', () => {
    const marks = [...plot(measured).matchAll(/<circle cx="([\d.]+)"/g)].map((match) => Number(match[1]));
    // One in the legend, one in the picture: 4 is two thirds of the way from 1 to 8.
    expect(marks).toHaveLength(2);
    expect(marks[1]).toBeCloseTo(130 + (330 * 2) / 3, 0);
    expect(plot(measured)).not.toContain('32-bit');
  });
});

describe('the program of dispersed blocks', () => {
  it('is the same each time, with every block in its place', () => {
    const text = dispersedSource();
    expect(dispersedSource()).toBe(text);
    expect(text.match(/^block\d+:$/gm)).toHaveLength(BLOCKS);
    expect(text.match(/^\.balign 4096$/gm)).toHaveLength(BLOCKS / 10);
    const jumps = [...text.matchAll(/^(?:jne|jmp) block(\d+)$/gm)].map((match) => Number(match[1]));
    expect(Math.max(...jumps)).toBe(BLOCKS - 1);
  });
});
