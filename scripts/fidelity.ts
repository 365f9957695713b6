// Writes docs/fidelity.md: which oracle stands behind which instruction rows, what has none and why, and what the long
// runs came to (docs/fidelity-runs.json).
//
//   node scripts/fidelity.ts
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Row } from '../src/isa/row.ts';
import { ROWS } from '../src/isa/rows.ts';
import { helpersOf, notForHost } from '../tests/differential/generate.ts';
import { hostFeatures } from '../tests/differential/host.ts';
import { readRuns } from './fidelity-runs.ts';

interface Standing {
  readonly row: Row;
  /** The host CPU of the machine that wrote the report can be asked. */
  readonly host: boolean;
  /** Why not. */
  readonly reason: string;
  /** The bigint reference states all of it, without the runtime's help. */
  readonly reference: boolean;
}

const features = hostFeatures();

function standing(row: Row): Standing {
  const absent = row.feature !== undefined && !features.has(row.feature);
  const reason = notForHost(row) ?? (absent ? `this host has no ${row.feature}` : '');
  return { row, host: reason === '', reason, reference: helpersOf(row).length === 0 };
}

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((r) => `| ${r.join(' | ')} |`).join('\n');

const all = ROWS.map(standing);
const count = (list: readonly Standing[], of: (s: Standing) => boolean): number => list.filter(of).length;
const neither = all.filter((s) => !s.host && !s.reference);

function byFeature(): string {
  const names = [...new Set(all.map((s) => s.row.feature ?? 'always there'))];
  const lines = names.map((name) => {
    const list = all.filter((s) => (s.row.feature ?? 'always there') === name);
    const none = count(list, (s) => !s.host && !s.reference);
    return [name, list.length, count(list, (s) => s.host), count(list, (s) => s.reference), none];
  });
  return table(['Feature', 'Rows', 'Host CPU', 'Reference alone', 'Neither'], lines);
}

function withoutOracle(): string {
  const reasons = new Map<string, Set<string>>();
  for (const { row, reason } of neither) {
    const names = reasons.get(reason) ?? new Set();
    names.add(row.name.split('/')[0]!);
    reasons.set(reason, names);
  }
  return [...reasons].map(([reason, names]) => `- **${reason}**: ${[...names].sort().join(', ')}`).join('\n');
}

function runs(): string {
  const lines = readRuns().map((r) => [
    r.oracle,
    r.engine,
    r.bits.join(', '),
    r.compared.toLocaleString('en'),
    r.rows || '',
    r.allowed.toLocaleString('en'),
    r.mismatches,
    `${r.seed}${r.jobs > 1 ? ` (${r.jobs} jobs)` : ''}`,
    `${r.seconds} s`,
    r.date,
  ]);
  const head = ['Oracle', 'Engine', 'Bits', 'Cases', 'Rows', 'Allowed', 'Mismatches', 'Seed', 'Time', 'Date'];
  const notes = readRuns().flatMap((r) => r.notes.map((n) => `- ${r.oracle}, ${r.engine}: ${n}`));
  return lines.length > 0 ? `${table(head, lines)}\n\n${notes.join('\n')}` : 'No long run is recorded.';
}

const text = `# Fidelity

Written by \`node scripts/fidelity.ts\`; do not edit. What holds the instruction set to a real CPU, row by row.

## Oracles

| Oracle | Says | Asked by |
|---|---|---|
| host CPU | registers, flags, memory, x87, vectors, fault, error code and address after one user-mode instruction | \`tests/differential\`, \`npm run fuzz -- --oracle host\` |
| iced-x86 | length, validity and text of any bytes | \`tests/isa/decoder-iced.test.ts\`, \`--oracle iced\` |
| bigint reference | the same as the host CPU, from the rows alone; 16-bit code too | \`tests/differential\`, \`--oracle reference\` |
| reference walker | translations and page faults in all paging modes, over TLB histories | \`tests/runtime\`, \`--oracle mmu\` |
| device properties | any access leaves a device in a valid state | \`tests/devices\`, \`--oracle devices\` |
| instruction streams | the host comes back, in time, whatever the guest executes | \`--oracle streams\` |
| KVM in lockstep | state after kernel-mode instructions | \`tests/hv\`, \`scripts/lockstep.ts\` |

Every disagreement that was a mistake of Plinth is kept in \`tests/filetests\`, which the reference, the interpreter
and, where there is one, the host CPU run.

## Rows

${all.length} rows. The decoder's part of all of them is compared with iced-x86. ${count(all, (s) => s.host)} are compared
with the host CPU on the machine that wrote this, ${count(all, (s) => s.reference)} are stated by the reference without
the runtime's helpers, ${neither.length} have neither.

${byFeature()}

## Rows without an independent oracle

Their meaning is in helpers of the runtime, so that the reference would only repeat it, and a user program cannot
execute them or sees in them the machine it runs on. Tests by hand (\`tests/runtime\`, \`tests/exceptions\`), the kernels
that boot and the lockstep with KVM stand behind them.

${withoutOracle()}

## Differences that the manuals allow

\`tests/differential/known.ts\` has the rules: transcendental x87 functions within a unit in the last place and C1, FYL2XP1
out of its range, RCP and RSQRT within their error, SHLD and SHRD of 16 bits by more than 16, which byte of an image
faults, MXCSR bit 17, the x87 after an MMX conversion that raised #XM, and addresses of the host's kernel. A rule excuses a
part of a result; the rest must agree.

## Long runs

A mismatch is counted once per mnemonic, encoding and operand size.

${runs()}
`;

writeFileSync(join(import.meta.dirname, '../docs/fidelity.md'), text);
console.log(`docs/fidelity.md: ${all.length} rows, ${neither.length} without an independent oracle`);
