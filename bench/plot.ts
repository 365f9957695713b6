// The plot of docs/performance.md as SVG: for each benchmark a row, for each contestant a mark at its time over the
// host's, on a logarithmic axis, with a line from the best to the worst round.

import { BENCHMARKS } from './benchmarks.ts';
import { elapsed, median, type Results, type Sample } from './samples.ts';
import { contestantsOf } from './table.ts';

const ROW = 24;
const LEFT = 130;
const WIDTH = 330;
const GAP = 40;
const TOP = 64;

interface Mark {
  readonly contestant: string;
  readonly label: string;
  readonly color: string;
  readonly shape: (x: number, y: number) => string;
}

const circle = (x: number, y: number): string => `<circle cx="${x}" cy="${y}" r="5"/>`;
const square = (x: number, y: number): string => `<rect x="${x - 4.5}" y="${y - 4.5}" width="9" height="9"/>`;
const diamond = (x: number, y: number): string =>
  `<path d="M${x} ${y - 6.5}L${x + 6.5} ${y}L${x} ${y + 6.5}L${x - 6.5} ${y}Z"/>`;

interface Panel {
  readonly title: string;
  readonly over: string;
  readonly marks: readonly Mark[];
}
// Colours that colour-blind readers tell apart; shapes say the same again.
const PANELS: readonly Panel[] = [
  {
    title: '64-bit guest',
    over: 'native64',
    marks: [
      { contestant: 'plinth64', label: 'Plinth', color: '#0072b2', shape: circle },
      { contestant: 'qemu64', label: 'QEMU TCG', color: '#d55e00', shape: square },
    ],
  },
  {
    title: '32-bit guest',
    over: 'native32',
    marks: [
      { contestant: 'plinth32', label: 'Plinth', color: '#0072b2', shape: circle },
      { contestant: 'v8632', label: 'v86', color: '#009e73', shape: diamond },
    ],
  },
];

/** Best, middle and worst of the rounds, over the median of another contestant. */
interface Span {
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

function times(results: Results, contestant: string, name: string): number[] {
  const samples = results.runs
    .filter((run) => run.contestant === contestant)
    .flatMap((run): readonly Sample[] => run.samples.filter((sample) => sample.name === name));
  return samples.map((sample) => elapsed(sample) / sample.operations);
}

/** Undefined where one of the two was not measured. */
export function span(results: Results, contestant: string, over: string, name: string): Span | undefined {
  const [above, below] = [times(results, contestant, name), times(results, over, name)];
  if (above.length === 0 || below.length === 0) return undefined;
  const base = median(below);
  return { low: Math.min(...above) / base, middle: median(above) / base, high: Math.max(...above) / base };
}

const escapeText = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
const text = (x: number, y: number, words: string, extra = ''): string =>
  `<text x="${x}" y="${y}"${extra}>${escapeText(words)}</text>`;
const round = (value: number): number => Math.round(value * 10) / 10;

/** Where the axis begins and ends: the powers of two around all values, 1 among them. */
function axisOf(values: readonly number[]): { low: number; high: number } {
  return {
    low: Math.floor(Math.log2(Math.min(1, ...values))),
    high: Math.ceil(Math.log2(Math.max(2, ...values))),
  };
}

function drawPanel(results: Results, panel: Panel, names: readonly string[], left: number, labels: boolean): string[] {
  const spans = names.map((name) => panel.marks.map((mark) => span(results, mark.contestant, panel.over, name)));
  const { low, high } = axisOf(spans.flat().flatMap((each) => (each ? [each.low, each.high] : [])));
  const x = (value: number): number => round(left + ((Math.log2(value) - low) / (high - low)) * WIDTH);
  const bottom = TOP + names.length * ROW;
  const parts = [text(left, 22, panel.title, ' font-weight="bold"')];
  let legend = left + 105;
  for (const { label, color, shape } of panel.marks) {
    parts.push(`<g fill="${color}">${shape(legend, 18)}</g>`, text(legend + 10, 22, label));
    legend += 24 + label.length * 8;
  }
  for (let power = low; power <= high; power++) {
    const at = x(2 ** power);
    const color = power === 0 ? '#444' : '#ddd';
    parts.push(`<line x1="${at}" x2="${at}" y1="${TOP - 8}" y2="${bottom}" stroke="${color}"/>`);
    const label = power < 0 ? `1/${2 ** -power}` : `${2 ** power}`;
    parts.push(text(at, TOP - 14, label, ' text-anchor="middle" fill="#444"'));
  }
  names.forEach((name, row) => {
    const y = TOP + row * ROW + ROW / 2;
    if (labels) parts.push(text(left - 10, y + 4, name, ' text-anchor="end"'));
    parts.push(`<line x1="${left}" x2="${left + WIDTH}" y1="${y}" y2="${y}" stroke="#eee"/>`);
    panel.marks.forEach(({ color, shape }, at) => {
      const each = spans[row]![at];
      if (!each) return;
      parts.push(
        `<g fill="${color}" stroke="${color}"><line x1="${x(each.low)}" x2="${x(each.high)}" y1="${y}" y2="${y}"/>`,
      );
      parts.push(`${shape(x(each.middle), y)}</g>`);
    });
  });
  parts.push(text(left, bottom + 20, "time over the host's, logarithmic; left is faster", ' fill="#444"'));
  return parts;
}

/** The whole picture; panels whose contestants were not measured are left out. */
export function plot(results: Results): string {
  const present = contestantsOf(results);
  const panels = PANELS.filter(
    ({ over, marks }) => present.includes(over) && marks.some(({ contestant }) => present.includes(contestant)),
  );
  const names = BENCHMARKS.filter(({ group }) => group !== 'boot').map(({ name }) => name);
  const height = TOP + names.length * ROW + 34;
  const width = LEFT + panels.length * (WIDTH + GAP);
  const body = panels.flatMap((panel, at) => drawPanel(results, panel, names, LEFT + at * (WIDTH + GAP), at === 0));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
${body.join('\n')}
</svg>
`;
}
