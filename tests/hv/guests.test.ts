// Small guests in every mode, with interrupts, faults, ports, MMIO and MSRs: the exits written down with them, and the
// same final state, on both engines, and with what they run on translated.
import { afterAll, describe, expect, it } from 'vitest';
import { loadEngineImage } from '../../src/hv/kvm/engine-files.ts';
import { SoftHypervisor } from '../../src/hv/soft/contract-vm.ts';
import { openKvm, runsPae, softHypervisor } from './engines.ts';
import { differences, PROGRAMS, prepare, trace } from './programs.ts';

const kvm = openKvm();
if (typeof kvm === 'string') console.log(`guests on /dev/kvm skipped: ${kvm}`);
const soft = await softHypervisor();
const translating = new SoftHypervisor({ image: await loadEngineImage(), engine: 'bt' });
afterAll(() => {
  if (typeof kvm !== 'string') kvm.close();
});

const pae = typeof kvm !== 'string' && runsPae(kvm);
if (!pae) console.log('PAE guests on /dev/kvm skipped: it is not there, or its host does not run 32-bit paging');

describe.for(PROGRAMS)('$mode: $name', (p) => {
  it.for([soft, translating])('gives its exits on the soft engine', (engine) => {
    const guest = prepare(engine, p);
    expect(trace(guest)).toEqual(p.exits);
    guest.vm.close();
  });

  it.skipIf(typeof kvm === 'string' || (p.mode === 'pae' && !pae))('gives the same on /dev/kvm', () => {
    if (typeof kvm !== 'string') expect(differences(soft, kvm, p)).toEqual([]);
  });
});
