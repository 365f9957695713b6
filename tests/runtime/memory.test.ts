import { describe, expect, it } from 'vitest';
import { CPU, CR0, CR4, EXC, P2M, TLB, TLB_BYTES, WIDE_TLB } from '../../src/isa/layout.ts';
import { FRAMES, Machine } from './machine.ts';
import { longMachine, protectedMachine } from './modes.ts';
import { wideAccess } from './tlb-history.ts';

const BOUNCE = (m: Machine): number => m.cpu + CPU.bounce!;
const TOP = FRAMES * 4096;
/** Second page table of long mode: makes 4 KiB pages out of the first 2 MiB. */
function smallPages(m: Machine): void {
  m.write(0x11000, 8, 0x12007n);
  m.write(0x12000, 8, 0x13007n);
  for (let i = 0; i < 512; i++) m.write(0x13000 + i * 8, 8, BigInt(i * 4096) | 7n);
  m.call('flush_all');
}
const pte = (page: number): number => 0x13000 + page * 8;

describe('memory accesses', () => {
  it('give the machine address of RAM and the value in it', () => {
    const m = new Machine();
    m.write(0x5123, 8, 0x8877665544332211n);
    const host = m.call('mem_read', 0x5123n, 8);
    expect(host).toBe(m.machine(0x5123));
    expect(m.view.getBigUint64(host, true)).toBe(0x8877665544332211n);
  });

  it('assemble what crosses into a page that lies elsewhere', () => {
    const m = new Machine();
    m.write(0x5ffd, 8, 0x8877665544332211n);
    const host = m.call('mem_read', 0x5ffdn, 8);
    expect(host).toBe(BOUNCE(m));
    expect(m.view.getBigUint64(host, true)).toBe(0x8877665544332211n);
    const to = m.call('mem_write', 0x6ffen, 4);
    m.view.setUint32(to, 0xddccbbaa, true);
    expect(m.read(0x6ffe, 4)).toBe(0n);
    m.call('mem_commit');
    expect(m.read(0x6ffe, 4)).toBe(0xddccbbaan);
  });

  it('are one for translated code where pages follow each other in the machine, and the TLB has both', () => {
    const m = longMachine(0);
    smallPages(m);
    const frames = Array.from({ length: FRAMES }, (_, i) => i);
    const [first, second] = frames.flatMap((a) =>
      frames.filter((b) => m.machine(b * 4096) === m.machine(a * 4096) + 4096).map((b) => [a, b] as const),
    )[0]!;
    const map = (page: number, frame: number): void => m.write(pte(page), 8, BigInt(frame * 4096) | 7n);
    map(0x46, first);
    map(0x47, second);
    m.call('flush_all');
    expect(m.call('ram_fill', 0x46ff0n, 32, 0)).toBe(0);
    expect(m.call('ram_fill', 0x47000n, 1, 0)).toBe(1);
    expect(m.call('ram_fill', 0x46ff0n, 32, 0)).toBe(1);
    expect(m.call('ram_address', 0x46ff0n, 32, 0)).toBe(m.machine(first * 4096 + 0xff0));
    // The second page is in the TLB for loads.
    expect(m.call('ram_fill', 0x46ff0n, 32, 1)).toBe(0);
    map(0x47, first);
    m.call('flush_all');
    expect(m.call('ram_fill', 0x47000n, 1, 0)).toBe(1);
    expect(m.call('ram_fill', 0x46ff0n, 32, 0)).toBe(0);
  });

  it('write nothing when the second page faults', () => {
    const m = longMachine(0);
    smallPages(m);
    m.write(pte(7), 8, 0n);
    expect(m.fault(m.call('mem_write', 0x6ffen, 4) ? 0 : 1)).toEqual([EXC.PF, 2]);
    expect(m.get('exc_cr2')).toBe(0x7000n);
    expect(m.fault(m.call('mem_read', 0x7ffen, 4) ? 0 : 1)).toEqual([EXC.PF, 0]);
    expect(m.get('exc_cr2')).toBe(0x7ffen);
  });

  it('split accesses to what is not RAM by natural alignment', () => {
    const m = new Machine();
    const host = m.call('mem_read', BigInt(TOP + 3), 8);
    expect(host).toBe(BOUNCE(m));
    expect(m.log.map((x) => [x.at - TOP, x.size])).toEqual([
      [3, 1],
      [4, 4],
      [8, 2],
      [10, 1],
    ]);
    m.log.length = 0;
    const to = m.call('mem_write', BigInt(TOP + 4), 8);
    m.view.setBigUint64(to, 0x8877665544332211n, true);
    m.call('mem_commit');
    expect(m.log).toEqual([
      { kind: 'write', at: TOP + 4, size: 4, value: 0x44332211n },
      { kind: 'write', at: TOP + 8, size: 4, value: 0x88776655n },
    ]);
    m.log.length = 0;
    m.call('mem_rmw', BigInt(TOP), 4);
    m.call('mem_commit');
    expect(m.log.map((x) => x.kind)).toEqual(['read', 'write']);
    m.call('mem_commit');
    expect(m.log).toHaveLength(2);
  });

  it('forget a store that was put off and never carried out', () => {
    const m = new Machine();
    m.write(0x6000, 8, 0x1122334455667788n);
    for (const helper of ['mem_read', 'mem_write', 'mem_rmw']) {
      m.call('mem_write', 0x8000n, 4);
      expect(m.call('mem_write', 0x5fffn, 4)).toBe(BOUNCE(m));
      m.view.setUint32(BOUNCE(m), 0x99999999, true);
      expect(m.call(helper, 0x8000n, 4)).toBe(m.machine(0x8000));
      m.call('mem_commit');
      expect(m.read(0x6000, 8)).toBe(0x1122334455667788n);
    }
  });

  it('drop stores to ROM', () => {
    const m = new Machine();
    m.write(0x5000, 4, 0x1234);
    m.setP2m(5, P2M.PRESENT);
    for (const helper of ['mem_write', 'mem_rmw']) {
      const to = m.call(helper, 0x5000n, 4);
      if (helper === 'mem_rmw') expect(m.view.getUint32(to, true)).toBe(0x1234);
      m.view.setUint32(to, 99, true);
      m.call('mem_commit');
      expect(m.read(0x5000, 4)).toBe(0x1234n);
    }
  });

  it('copy a shared frame before the first store and keep the original', () => {
    const m = new Machine();
    m.write(0x5010, 4, 7);
    const original = m.machine(0x5000);
    const spare = m.machine((FRAMES - 1) << 12);
    m.view.setUint32(spare, 0, true);
    m.set('cow_spare', BigInt(spare));
    m.set('cow_count', 1n);
    m.call('mem_read', 0x5010n, 4);
    m.setP2m(5, P2M.PRESENT | P2M.WRITABLE | P2M.COW);
    m.call('tlb_protect_frame', 5);
    const to = m.call('mem_rmw', 0x5010n, 4);
    expect(to).toBe(spare + 0x10);
    expect(m.view.getUint32(to, true)).toBe(7);
    m.view.setUint32(to, 8, true);
    expect(m.view.getUint32(original + 0x10, true)).toBe(7);
    expect(m.p2m(5)).toBe(spare | P2M.PRESENT | P2M.WRITABLE);
    expect(m.call('mem_read', 0x5010n, 4)).toBe(spare + 0x10);
    // No spare frame is left: the store is dropped and the vCPU leaves.
    m.setP2m(6, P2M.PRESENT | P2M.WRITABLE | P2M.COW);
    expect(m.call('mem_write', 0x6000n, 4)).toBe(BOUNCE(m));
    expect(m.num('exit_reason')).not.toBe(0);
  });

  it('note the first store to a frame being logged', () => {
    const m = new Machine();
    m.setP2m(5, P2M.PRESENT | P2M.WRITABLE | P2M.LOG_DIRTY);
    m.call('mem_read', 0x5000n, 4);
    expect(m.p2m(5) & P2M.LOG_DIRTY).toBe(P2M.LOG_DIRTY);
    expect(m.call('mem_write', 0x5000n, 4)).toBe(m.machine(0x5000));
    expect(m.p2m(5) & P2M.LOG_DIRTY).toBe(0);
  });

  it('refuse addresses that are not canonical, with #SS through SS', () => {
    const m = longMachine(0);
    const hole = 0x0000_8000_0000_0000n;
    expect(m.fault(m.call('mem_read', hole, 1) ? 0 : 1)).toEqual([EXC.GP, 0]);
    expect(m.fault(m.call('mem_read', hole - 1n, 2) ? 0 : 1)).toEqual([EXC.GP, 0]);
    expect(m.fault(m.call('mem_write', hole, 8 | 0x100) ? 0 : 1)).toEqual([EXC.SS, 0]);
  });

  it('check alignment at level 3 under CR0.AM and EFLAGS.AC, after page faults', () => {
    const m = longMachine(3);
    smallPages(m);
    m.set('cr0', m.get('cr0') | BigInt(CR0.AM));
    m.rflags = 0x40202;
    m.call('update_context');
    expect(m.num('tlb_ptr')).toBe(m.cpu + TLB.OFFSET + TLB.CTX_CHECKED * TLB_BYTES);
    expect(m.call('mem_read', 0x5004n, 4)).toBe(m.machine(0x5004));
    expect(m.fault(m.call('mem_read', 0x5002n, 4) ? 0 : 1)).toEqual([EXC.AC, 0]);
    m.write(pte(5), 8, 0n);
    m.call('invlpg', 0n);
    m.call('flush_all');
    expect(m.fault(m.call('mem_read', 0x5002n, 4) ? 0 : 1)).toEqual([EXC.PF, 4]);
  });

  it('forget a page after INVLPG, all of a large one, and no other', () => {
    const m = longMachine(0);
    m.write(0x11000, 8, 0x12007n);
    m.write(0x12000, 8, 0x87n);
    m.write(0x12008, 8, 0x2000e7n);
    m.call('flush_all');
    m.call('mem_read', 0x5000n, 4);
    m.call('mem_read', 0x200000n, 4);
    m.write(0x12000, 8, 0x200087n);
    expect(m.call('mem_read', 0x5000n, 4)).toBe(m.machine(0x5000));
    expect(m.call('invlpg', 0x1ff000n)).toBe(0);
    expect(m.call('mem_read', 0x5000n, 4)).toBe(m.machine(0x205000));
    m.write(0x12008, 8, 0n);
    expect(m.call('mem_read', 0x200000n, 4)).toBe(m.machine(0x200000));
  });

  it('forget both halves of a 4 MiB page after INVLPG in one', () => {
    const m = protectedMachine(0);
    m.write(0x10000, 4, 0xe7n);
    m.set('cr3', 0x10000n);
    m.set('cr4', BigInt(CR4.PSE));
    m.set('cr0', m.get('cr0') | BigInt(CR0.PG));
    m.call('set_state_done');
    m.call('mem_read', 0x5000n, 4);
    m.call('mem_read', 0x205000n, 4);
    m.call('invlpg', 0x5000n);
    m.write(0x10000, 4, 0n);
    expect(m.fault(m.call('mem_read', 0x205000n, 4) ? 0 : 1)).toEqual([EXC.PF, 0]);
  });

  it('keep global pages over a CR3 load and drop the others', () => {
    const m = longMachine(0);
    smallPages(m);
    m.set('cr4', m.get('cr4') | 0x80n);
    m.write(pte(5), 8, 0x5107n);
    m.call('mem_read', 0x5000n, 4);
    m.call('mem_read', 0x6000n, 4);
    m.write(pte(5), 8, 0x7107n);
    m.write(pte(6), 8, 0x7007n);
    expect(m.call('write_cr', 3, 0x10000n)).toBe(0);
    expect(m.call('mem_read', 0x5000n, 4)).toBe(m.machine(0x5000));
    expect(m.call('mem_read', 0x6000n, 4)).toBe(m.machine(0x7000));
  });

  it('take the right to write from every address space that has it', () => {
    const m = longMachine(3);
    smallPages(m);
    m.set('cr4', m.get('cr4') | BigInt(CR4.PCIDE));
    m.call('set_state_done');
    const hits = (): boolean => {
      const entry = m.num('tlb_ptr') + 5 * TLB.ENTRY_SIZE;
      return m.view.getBigUint64(entry + TLB.TAG_WRITE, true) === 0x5000n;
    };
    for (const pcid of [1, 2]) {
      switchTo(m, pcid, true);
      m.call('mem_write', 0x5000n, 4);
      expect(hits()).toBe(true);
    }
    m.call('tlb_protect_frame', 5);
    expect(hits()).toBe(false);
    switchTo(m, 1, true);
    expect(hits()).toBe(false);
    m.call('mem_write', 0x5000n, 4);
    expect(hits()).toBe(true);
  });
});

describe('the table for loops that go all over memory', () => {
  function filled(level: 0 | 3): Machine {
    const m = longMachine(level);
    smallPages(m);
    expect(m.call('ram_address', 0x5010n, 1, 1)).toBe(m.machine(0x5010));
    return m;
  }
  const at = (m: Machine, write: boolean): string | undefined => wideAccess(m, 0x5010n, write);

  it('has what the data TLB was filled with', () => {
    const m = filled(3);
    expect(at(m, false)).toBe('5010');
    expect(at(m, true)).toBe('5010');
    expect(wideAccess(m, 0x6010n, false)).toBeUndefined();
  });

  it('gives no right to write that the data TLB does not give', () => {
    const m = longMachine(3);
    smallPages(m);
    m.write(pte(5), 8, 0x5005n);
    m.call('flush_all');
    expect(m.call('ram_address', 0x5010n, 1, 0)).toBe(m.machine(0x5010));
    expect(at(m, false)).toBe('5010');
    expect(at(m, true)).toBeUndefined();
  });

  it('is empty for supervisors, and as it was for the user afterwards', () => {
    expect(at(filled(0), false)).toBeUndefined();
    const m = filled(3);
    m.set('cpl', 0n);
    m.call('update_context');
    expect(at(m, false)).toBeUndefined();
    m.set('cpl', 3n);
    m.call('update_context');
    expect(at(m, false)).toBe('5010');
  });

  const ends: Record<string, (m: Machine) => void> = {
    'INVLPG of any page': (m) => m.call('invlpg', 0x7000n),
    'a switch of the address space': (m) => {
      m.set('cr4', m.get('cr4') | BigInt(CR4.PCIDE));
      m.call('set_state_done');
      m.call('ram_address', 0x5010n, 1, 1);
      expect(at(m, true)).toBe('5010');
      switchTo(m, 1, true);
    },
    'stores to the frame being watched': (m) => m.call('tlb_protect_frame', 5),
    'the frame being elsewhere': (m) => m.call('tlb_drop_frame', 5),
    'a data breakpoint on the page': (m) => {
      m.call('write_dr', 0, 0x5010n);
      m.call('write_dr', 7, (0x3n << 16n) | 1n);
    },
  };
  it.each(Object.keys(ends))('is empty behind %s', (what) => {
    const m = filled(3);
    m.set('cpl', 0n);
    ends[what]!(m);
    m.set('cpl', 3n);
    expect(at(m, true)).toBeUndefined();
  });

  it('is empty when its keys begin anew', () => {
    const m = filled(3);
    for (let i = 0; i < WIDE_TLB.NO_KEY + 2; i++) {
      m.call('tlb_drop_frame', 6);
      expect(at(m, false)).toBeUndefined();
      expect(m.call('ram_address', 0x6010n, 1, 0)).toBe(m.machine(0x6010));
      expect(wideAccess(m, 0x6010n, false)).toBe('6010');
    }
  });
});

/** MOV to CR3 with a PCID. */
function switchTo(m: Machine, pcid: number, keep: boolean): void {
  const cpl = m.get('cpl');
  m.set('cpl', 0n);
  expect(m.call('write_cr', 3, 0x10000n | BigInt(pcid) | (keep ? 1n << 63n : 0n))).toBe(0);
  m.set('cpl', cpl);
}

describe('address spaces', () => {
  function tagged(level: 0 | 3): Machine {
    const m = longMachine(level);
    smallPages(m);
    m.set('cr4', m.get('cr4') | BigInt(CR4.PCIDE | CR4.PGE));
    m.call('set_state_done');
    return m;
  }
  /** Walks that a load at 0x5000 takes. */
  function walks(m: Machine): number {
    const before = m.num('n_walk');
    m.call('mem_read', 0x5000n, 4);
    return m.num('n_walk') - before;
  }

  for (const level of [0, 3] as const) {
    it(`keep what they know while others run, at level ${level}`, () => {
      const m = tagged(level);
      for (let pcid = 0; pcid < TLB.SPACES; pcid++) {
        switchTo(m, pcid, true);
        expect(walks(m)).toBe(1);
      }
      for (let pcid = 0; pcid < TLB.SPACES; pcid++) {
        switchTo(m, pcid, true);
        expect(walks(m)).toBe(0);
      }
      switchTo(m, 3, false);
      expect(walks(m)).toBe(1);
      switchTo(m, 4, true);
      expect(walks(m)).toBe(0);
      expect(m.call('invpcid', 1, 5n, 0n)).toBe(level ? 1 : 0);
    });
  }

  it('give way to new ones, the one not used for longest first', () => {
    const m = tagged(3);
    for (let pcid = 0; pcid <= TLB.SPACES; pcid++) {
      switchTo(m, pcid, true);
      walks(m);
      if (pcid === 2) switchTo(m, 0, true);
    }
    switchTo(m, 0, true);
    expect(walks(m)).toBe(0);
    switchTo(m, 1, true);
    expect(walks(m)).toBe(1);
  });

  it('lose a global page to INVLPG in any of them', () => {
    const m = tagged(3);
    m.write(pte(5), 8, 0x5107n);
    for (const pcid of [1, 2]) {
      switchTo(m, pcid, true);
      m.call('mem_read', 0x5000n, 4);
    }
    m.write(pte(5), 8, 0x7107n);
    m.set('cpl', 0n);
    expect(m.call('invlpg', 0x5000n)).toBe(0);
    m.set('cpl', 3n);
    switchTo(m, 1, true);
    expect(m.call('mem_read', 0x5000n, 4)).toBe(m.machine(0x7000));
  });

  it('share global pages', () => {
    const m = tagged(0);
    m.write(pte(5), 8, 0x5107n);
    expect(walks(m)).toBe(1);
    for (let pcid = 1; pcid < 20; pcid++) {
      switchTo(m, pcid, false);
      expect(walks(m)).toBe(0);
    }
    m.call('invlpg', 0x5000n);
    expect(walks(m)).toBe(1);
  });
});
