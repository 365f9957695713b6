// Writes docs/fidelity.md: which oracle stands behind which instruction rows, what has none and why, and what the long
// runs came to (docs/fidelity-*.json).
//
//   node scripts/fidelity.ts
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Row } from '../src/isa/row.ts';
import { ROWS } from '../src/isa/rows.ts';
import { helpersOf, isThere, notForHost } from '../tests/differential/generate.ts';
import { hostFeatures } from '../tests/differential/host.ts';
import { MACHINE_OWN } from '../tests/differential/known.ts';
import { readLockstep, readPrograms, readRuns, rowKey } from './fidelity-runs.ts';
import { JOBS, RULES } from './programs/jobs.ts';

interface Standing {
  readonly row: Row;
  /** The host CPU of the machine that wrote the report can be asked. */
  readonly host: boolean;
  /** Why not. */
  readonly reason: string;
  /** The bigint reference states all of it, without the runtime's help. */
  readonly reference: boolean;
  /** KVM came to the same often enough, not counting faults. */
  readonly kvm: boolean;
}

/** Agreements with KVM, without a fault, from which on it counts as an oracle of a row. */
const ENOUGH = 10;
const lockstep = readLockstep();

const features = hostFeatures();

function standing(row: Row): Standing {
  const reason = notForHost(row) ?? (isThere(row, features) ? '' : `this host has no ${row.feature ?? 'LDT'}`);
  const [through = 0] = lockstep.rows[rowKey(row)] ?? [];
  return { row, host: reason === '', reason, reference: helpersOf(row).length === 0, kvm: through >= ENOUGH };
}

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((r) => `| ${r.join(' | ')} |`).join('\n');

const all = ROWS.map(standing);
const count = (list: readonly Standing[], of: (s: Standing) => boolean): number => list.filter(of).length;
const without = (s: Standing): boolean => !s.host && !s.reference && !s.kvm;
const none = all.filter(without);

function byFeature(): string {
  const names = [...new Set(all.map((s) => s.row.feature ?? 'always there'))];
  const lines = names.map((name) => {
    const list = all.filter((s) => (s.row.feature ?? 'always there') === name);
    const have = (of: (s: Standing) => boolean): number => count(list, of);
    return [name, list.length, have((s) => s.host), have((s) => s.reference), have((s) => s.kvm), have(without)];
  });
  return table(['Feature', 'Rows', 'Host CPU', 'Reference alone', 'KVM', 'None'], lines);
}

/** Why KVM cannot be asked either: by name, the first that fits. */
const NO_KVM: readonly (readonly [RegExp, string])[] = [
  [/^rdpmc$/, 'counts: no two machines give the same'],
  [/^(rdmsr|wrmsr|xsetbv)$/, 'tell about the machine, or set what only it has'],
  [/^(hlt|monitor|mwait|vmcall|vmmcall)$/, 'go to the monitor, each to its own'],
  [/^(sysret|sysexit)/, 'taken by a host without nested virtualization for its own return to user mode'],
  [/^x(save|rstor)/, 'images of which the manual leaves open what is written for state that is in its initial form'],
];
const NOT_EMULATED = `KVM's emulator lacks it, or it came through less than ${ENOUGH} times in lockstep`;

function withoutOracle(): string {
  const reasons = new Map<string, Set<string>>();
  for (const { row, reason } of none) {
    const why =
      row.user === false || reason ? (NO_KVM.find(([name]) => name.test(row.name))?.[1] ?? NOT_EMULATED) : reason;
    const names = reasons.get(why) ?? new Set();
    names.add(row.name.split('/')[0]!);
    reasons.set(why, names);
  }
  return [...reasons].map(([reason, names]) => `- **${reason}**: ${[...names].sort().join(', ')}`).join('\n');
}

/** The distribution's programs, by job over engines and models. */
function programs(): string {
  const { packages, runs: unordered } = readPrograms();
  if (unordered.length === 0) return 'No run is recorded.';
  const runs = unordered.toSorted((a, b) => (`${a.engine} ${a.model}` < `${b.engine} ${b.model}` ? -1 : 1));
  const names = JOBS.map((j) => j.name).filter((name) => runs.some((r) => r.jobs.some((j) => j.job === name)));
  const lines = names.map((name) => {
    const about = JOBS.find((j) => j.name === name)?.about ?? '';
    const cells = runs.map((r) => {
      const job = r.jobs.find((j) => j.job === name);
      return job === undefined ? 'not run' : job.same ? 'same' : '**different**';
    });
    const bytes = Math.max(...runs.map((r) => r.jobs.find((j) => j.job === name)?.bytes ?? 0));
    return [name, about, bytes.toLocaleString('en'), ...cells];
  });
  const head = ['Job', 'What', 'Bytes compared', ...runs.map((r) => `${r.engine} ${r.model}`)];
  const rules = RULES.map((r) => `\`${r.pattern.source.replaceAll('|', '\\|')}\` (${r.about})`).join('; ');
  const commits = [...new Set(runs.flatMap((r) => r.jobs.map((j) => j.commit ?? 'none')))].sort();
  return `${table(head, lines)}

Code that gave these results: ${commits.join(', ').replace('none', 'some from before commits were noted')}. Left out are lines that match ${rules}. Packages: ${packages.join(', ')}.`;
}

/** What the runs of an oracle on an engine come to. */
function totals(): string {
  const list = readRuns();
  const kinds = [...new Set(list.map((r) => `${r.oracle} ${r.engine}`))];
  const lines = kinds.map((kind) => {
    const of = list.filter((r) => `${r.oracle} ${r.engine}` === kind);
    const sum = (value: (r: (typeof of)[number]) => number): number => of.reduce((n, r) => n + value(r), 0);
    const counted = of.filter((r) => r.processor !== undefined);
    const minutes = counted.length > 0 ? (sum((r) => r.processor ?? 0) / 60).toFixed(1) : '';
    const mismatches = sum((r) => r.mismatches);
    return [...kind.split(' '), of.length, sum((r) => r.compared).toLocaleString('en'), mismatches, minutes];
  });
  return table(['Oracle', 'Engine', 'Runs', 'Cases', 'Mismatches', 'Minutes of CPU'], lines);
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
    r.processor === undefined ? `${r.seconds} s` : `${r.processor} s of CPU`,
    r.date,
    r.commit ?? '',
  ]);
  const head = ['Oracle', 'Engine', 'Bits', 'Cases', 'Rows', 'Allowed', 'Mismatches', 'Seed', 'Time', 'Date', 'Code'];
  const notes = new Set(readRuns().flatMap((r) => r.notes.map((n) => `- ${r.oracle}, ${r.engine}: ${n}`)));
  return lines.length > 0 ? `${table(head, lines)}\n\n${[...notes].join('\n')}` : 'No long run is recorded.';
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
| KVM in lockstep | all state after one kernel-mode instruction, by KVM's own emulator or the CPU | \`tests/hv\`, \`scripts/lockstep.ts\` |
| programs of the distribution | what the same binaries say on the host | \`npm run programs\` |

Every disagreement that was a mistake of Plinth is kept in \`tests/filetests\`, which the reference, the interpreter
and, where there is one, the host CPU run.

## Rows

${all.length} rows. The decoder's part of all of them is compared with iced-x86. ${count(all, (s) => s.host)} are compared
with the host CPU on the machine that wrote this (of ${count(all, (s) => s.host && MACHINE_OWN.test(s.row.name))} the result is the machine's or the moment's, and only its width,
the flags and the rest of the state are compared), ${count(all, (s) => s.reference)} are stated by the reference without
the runtime's helpers, ${count(all, (s) => s.kvm)} came to the same as in KVM at least ${ENOUGH} times without a fault
(${lockstep.compared.toLocaleString('en')} instructions of kernel-mode code in lockstep, ${lockstep.unexplained} differences
without a reason in \`tests/hv/lockstep-known.ts\`), ${none.length} have none of these.

${byFeature()}

## Rows without an independent oracle

Their meaning is in helpers of the runtime, so that the reference would only repeat it, and a user program cannot
execute them or sees in them the machine it runs on. Tests by hand (\`tests/runtime\`, \`tests/exceptions\`) and the
kernels that boot stand behind them. Why KVM does not:

${withoutOracle()}

## Differences that the manuals allow

\`tests/differential/known.ts\` has the rules: transcendental x87 functions within a unit in the last place and C1, FYL2XP1
out of its range, RCP and RSQRT within their error, SHLD and SHRD of 16 bits by more than 16, which byte of an image
faults, MXCSR bit 17, the x87 after an MMX conversion that raised #XM, addresses of the host's kernel, and whether #AC comes
before #PF (AMD) or behind it (SDM vol.3 table 6-2), or takes the place of #GP for FXSAVE, and whether a CALL finds first
that it may not push or that it may not go there; and time, CPUID and random numbers, which are
most of what counts as allowed below in runs that name a commit. A rule excuses a part of a result; the rest must agree.

\`tests/differential/intel.ts\` has what Intel's CPUs do otherwise than AMD's, where an Intel CPU is the host: vector operands that are not
aligned raise no #AC, operands may wrap around at 4 GiB, x87 stores whose operand raises an unmasked exception do not look at
memory, a CALL to where it may not go has stored its return address, DPPS adds in another order, exact remainders do not
underflow, MMX stores that fault have changed the x87, MOVSXD of 16 bits reads 16, MOVS and STOS with 32-bit addresses that are
not repeated once clear the upper halves of their registers.

## Programs of the distribution

Each program runs on the host and in the guest, from the same files; what it says must be the same, byte for byte.

${programs()}

## Long runs

A mismatch is counted once per mnemonic, encoding and operand size. A case of the streams is a stream, entered at 16
places. A run is of the commit that it names, older ones of the code of their day; a run with the seed of an earlier one takes
its place. Runs that did not note processor time are not in the sums of it.

${totals()}

${runs()}
`;

writeFileSync(join(import.meta.dirname, '../docs/fidelity.md'), text);
console.log(`docs/fidelity.md: ${all.length} rows, ${none.length} without an independent oracle`);
