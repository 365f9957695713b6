// The plot of docs/performance.md as SVG: for each benchmark a row, for each contestant a mark at its time over the
// host's, on a logarithmic axis, with a line from the best to the worst round.

import { BENCHMARKS } from './benchmarks.ts';
import { median, operationSeconds, type Results } from './samples.ts';
import { contestantsOf, digits, samplesOf } from './table.ts';

const ROW = 24;
const LEFT = 130;
const WIDTH = 330;
const GAP = 40;
const TOP = 64;
/** Marks of a row lie a little above and below its line, so that equal ones are both seen. */
const SHIFT = 4;

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
  const { clock } = results.settings;
  return samplesOf(results, contestant, name).map((sample) => operationSeconds(sample, clock));
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

/** A logarithmic axis from one power of two to another. */
interface Axis {
  readonly low: number;
  readonly high: number;
  readonly x: (value: number) => number;
}

/** The powers of two around all values, 1 among them. */
function axisOf(values: readonly number[], left: number): Axis {
  const low = Math.floor(Math.log2(Math.min(1, ...values)));
  const high = Math.ceil(Math.log2(Math.max(2, ...values)));
  return { low, high, x: (value) => round(left + ((Math.log2(value) - low) / (high - low)) * WIDTH) };
}

const middleOf = (row: number): number => TOP + row * ROW + ROW / 2;

function drawLegend({ title, marks }: Panel, left: number): string[] {
  const parts = [text(left, 22, title, ' font-weight="bold"')];
  let at = left + 105;
  for (const { label, color, shape } of marks) {
    parts.push(`<g fill="${color}">${shape(at, 18)}</g>`, text(at + 10, 22, label));
    at += 24 + label.length * 8;
  }
  return parts;
}

function drawAxis(axis: Axis, bottom: number): string[] {
  const parts: string[] = [];
  for (let power = axis.low; power <= axis.high; power++) {
    const at = axis.x(2 ** power);
    const color = power === 0 ? '#444' : '#ddd';
    const label = power < 0 ? `1/${2 ** -power}` : `${2 ** power}`;
    parts.push(`<line x1="${at}" x2="${at}" y1="${TOP - 8}" y2="${bottom}" stroke="${color}"/>`);
    parts.push(text(at, TOP - 14, label, ' text-anchor="middle" fill="#444"'));
  }
  return parts;
}

function drawPanel(results: Results, panel: Panel, names: readonly string[], left: number): string[] {
  const spans = names.map((name) => panel.marks.map((mark) => span(results, mark.contestant, panel.over, name)));
  const values = spans.flat().flatMap((each) => (each ? [each.low, each.high] : []));
  const axis = axisOf(values, left);
  const bottom = TOP + names.length * ROW;
  const parts = [...drawLegend(panel, left), ...drawAxis(axis, bottom)];
  names.forEach((name, row) => {
    const middle = middleOf(row);
    parts.push(`<line x1="${left}" x2="${left + WIDTH}" y1="${middle}" y2="${middle}" stroke="#eee"/>`);
    panel.marks.forEach(({ color, shape }, at) => {
      const each = spans[row]![at];
      if (!each) return;
      const y = middle + (at === 0 ? -SHIFT : SHIFT);
      const line = `<line x1="${axis.x(each.low)}" x2="${axis.x(each.high)}" y1="${y}" y2="${y}"/>`;
      const title = `<title>${escapeText(`${name}: ${digits(each.middle)}`)}</title>`;
      parts.push(`<g fill="${color}" stroke="${color}">${title}${line}${shape(axis.x(each.middle), y)}</g>`);
    });
  });
  const what = results.settings.clock === 'cpu' ? 'processor time' : 'time';
  parts.push(text(left, bottom + 20, `${what} over the host's, logarithmic`, ' fill="#444"'));
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
  const body = [
    ...names.map((name, row) => text(LEFT - 10, middleOf(row) + 4, name, ' text-anchor="end"')),
    ...panels.flatMap((panel, at) => drawPanel(results, panel, names, LEFT + at * (WIDTH + GAP))),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="13">
<title>Time over the host's for every benchmark, by contestant</title>
<rect width="100%" height="100%" fill="white"/>
${body.join('\n')}
</svg>
`;
}
