// The guests of programs.ts on both engines, where there is no test runner: one line each.
//
//   node tests/hv/run-programs.ts
//
// Ends with 0 when every guest that /dev/kvm can run gives the same on both.
import { openKvm, runsPae, softHypervisor } from './engines.ts';
import { differences, PROGRAMS } from './programs.ts';

const kvm = openKvm();
if (typeof kvm === 'string') {
  console.error(`run-programs: ${kvm}`);
  process.exit(1);
}
const soft = await softHypervisor();
const pae = runsPae(kvm);
for (const p of PROGRAMS) {
  const name = `${p.mode}: ${p.name}`;
  if (p.mode === 'pae' && !pae) {
    console.log(`left out, this /dev/kvm has no 32-bit paging: ${name}`);
    continue;
  }
  const wrong = differences(soft, kvm, p);
  console.log(wrong.length === 0 ? `same: ${name}` : `different: ${name}\n  ${wrong.join('\n  ')}`);
  if (wrong.length > 0) process.exitCode = 1;
}
kvm.close();
