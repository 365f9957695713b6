// Debug exceptions on real instructions: single steps, RF, instruction, data and I/O breakpoints (SDM vol.3 17.3), the
// interrupt shadow and the blocking of NMIs.
import { describe, expect, it } from 'vitest';
import { CR4, EFLAGS } from '../../src/isa/layout.ts';
import { HANDLERS } from '../differential/guest.ts';
import { CODE, DATA, PAGE, Program } from './program.ts';

const DB = 1;
const BS = 0x4000;
const { TF, RF, IF } = EFLAGS;

describe('single steps', () => {
  it('trap after the instruction behind the POPF that sets TF', () => {
    // push 0x102; popfq; nop; nop
    const p = new Program('68 02 01 00 00  9d  90  90');
    const first = p.run();
    expect([first.vector, first.rip, p.dr6]).toEqual([DB, CODE + 7n, BS]);
    expect(first.rflags & TF).toBe(TF);
    const second = p.resume(first);
    expect([second.vector, second.rip]).toEqual([DB, CODE + 8n]);
    const end = p.resume(second, { rflags: 2 });
    expect([end.vector, end.rip]).toEqual([3, CODE + 9n]);
  });
  it('trap after each iteration of a repeated string', () => {
    const p = new Program('f3 aa', { registers: { rcx: 3n, rdi: DATA, rax: 0x55n }, rflags: 2 | TF });
    let e = p.run();
    for (const left of [2n, 1n]) {
      expect([e.vector, e.rip, p.reg('rcx')]).toEqual([DB, CODE, left]);
      e = p.resume(e);
    }
    expect([e.vector, e.rip, p.reg('rcx')]).toEqual([DB, CODE + 2n, 0n]);
    expect(p.read(0, 4)).toBe('55555500');
  });
  it('do not come when the instruction faults', () => {
    const p = new Program('8b 07', { registers: { rdi: 0n }, rflags: 2 | TF });
    const e = p.run();
    expect([e.vector, e.rip, e.rflags & (TF | RF)]).toEqual([14, CODE, TF | RF]);
    expect(p.dr6).toBe(0);
  });
  it('come after a taken branch, at its target', () => {
    const p = new Program('eb 02 90 90 90', { rflags: 2 | TF });
    expect(p.run()).toMatchObject({ vector: DB, rip: CODE + 4n });
  });
});

describe('instruction breakpoints', () => {
  it('fault before the instruction, and RF lets it pass once', () => {
    // nop; l: inc eax; jmp l
    const p = new Program('90  ff c0  eb fc');
    p.breakpoint(1, CODE + 1n, 0, 1);
    let e = p.run();
    for (const count of [0n, 1n, 2n]) {
      expect([e.vector, e.rip, p.dr6, p.reg('rax')]).toEqual([DB, CODE + 1n, 2, count]);
      expect(e.rflags & RF).toBe(0);
      e = p.resume(e, { rflags: e.rflags | RF });
    }
  });
  it('do not come again within a repeated string', () => {
    const p = new Program('f3 aa', { registers: { rcx: 3n, rdi: DATA, rax: 0x55n } });
    p.breakpoint(0, CODE, 0, 1);
    const e = p.run();
    expect([e.vector, e.rip, p.reg('rcx')]).toEqual([DB, CODE, 3n]);
    const end = p.resume(e, { rflags: e.rflags | RF });
    expect([end.vector, end.rip, p.reg('rcx')]).toEqual([3, CODE + 3n, 0n]);
  });
  it('at the start of the handler of #DB do not keep the host from coming back', () => {
    const p = new Program('90 90', { rflags: 2 | TF });
    p.breakpoint(0, HANDLERS + 0x10n, 0, 1);
    for (let i = 0; i < 20; i++) expect(['budget', 'shutdown']).toContain(p.guest.vcpu.run(50));
  });
  it('do nothing when disabled or elsewhere', () => {
    const p = new Program('90 90');
    p.breakpoint(0, CODE + 0x100n, 0, 1);
    p.guest.set64('dr', CODE, 1);
    expect(p.run().vector).toBe(3);
  });
});

describe('data breakpoints', () => {
  const at = DATA + 0x104n;
  it('trap after a store that meets them', () => {
    // mov [rdi], eax; nop
    const p = new Program('89 07 90', { registers: { rdi: at, rax: 0x12345678n } });
    p.breakpoint(2, at, 1, 4);
    expect(p.run()).toMatchObject({ vector: DB, rip: CODE + 2n });
    expect([p.dr6, p.read(0x104, 4)]).toEqual([4, '78563412']);
  });
  const met = (code: string, offset: bigint, kind: 1 | 3, length: 1 | 2 | 4 | 8, warm = false): boolean => {
    // The page may be in the TLB before: mov ecx, [rdx].
    const p = new Program(`${warm ? '8b 0a' : ''} ${code} 90`, {
      registers: { rdi: at + offset, rdx: DATA, rsi: DATA },
    });
    p.breakpoint(0, at, kind, length);
    const e = p.run();
    if (e.vector === DB) expect(e.rip).toBe(CODE + BigInt((warm ? 2 : 0) + code.split(' ').length));
    return e.vector === DB;
  };
  it('look at the kind and at every byte', () => {
    expect(met('8b 07', 0n, 1, 4)).toBe(false);
    expect(met('8b 07', 0n, 3, 4)).toBe(true);
    expect(met('8b 07', 0n, 3, 4, true)).toBe(true);
    expect(met('89 07', 0n, 3, 4)).toBe(true);
    expect(met('89 07', 0n, 1, 4, true)).toBe(true);
    expect(met('88 07', 3n, 1, 4)).toBe(true);
    expect(met('88 07', 4n, 1, 4)).toBe(false);
    expect(met('88 07', -1n, 1, 4)).toBe(false);
    expect(met('66 89 07', -1n, 1, 4)).toBe(true);
    expect(met('48 89 07', -8n, 1, 4)).toBe(false);
    expect(met('48 89 07', -7n, 1, 1)).toBe(true);
    expect(met('01 07', 0n, 1, 2)).toBe(true);
    expect(met('0f 11 07', -12n, 1, 1)).toBe(true);
    expect(met('a4', 0n, 1, 1)).toBe(true);
  });
  it('see a store over the end of the page', () => {
    const p = new Program('48 89 07 90', { registers: { rdi: DATA + BigInt(PAGE) - 4n } });
    p.breakpoint(0, DATA + BigInt(PAGE), 1, 1);
    expect(p.run()).toMatchObject({ vector: DB, rip: CODE + 3n });
  });
  it('see pushes, and stop a repeated string after the element', () => {
    const push = new Program('50 90');
    push.breakpoint(3, DATA + 0xff8n, 1, 8);
    expect(push.run()).toMatchObject({ vector: DB, rip: CODE + 1n });
    const p = new Program('f3 aa', { registers: { rcx: 8n, rdi: DATA + 0x100n } });
    p.breakpoint(0, at, 1, 1);
    const e = p.run();
    expect([e.vector, e.rip, p.reg('rcx')]).toEqual([DB, CODE, 3n]);
    const end = p.resume(e);
    expect([end.vector, p.reg('rcx')]).toEqual([3, 0n]);
  });
  it('leave no trap behind when the instruction faults', () => {
    // movsb from the watched byte to nowhere
    const p = new Program('a4', { registers: { rsi: at, rdi: 0n } });
    p.breakpoint(0, at, 3, 1);
    expect(p.run().vector).toBe(14);
    expect(p.dr6).toBe(0);
  });
  it('come together with a single step', () => {
    const p = new Program('89 07 90', { registers: { rdi: at }, rflags: 2 | TF });
    p.breakpoint(0, at, 1, 4);
    expect(p.run()).toMatchObject({ vector: DB, rip: CODE + 2n });
    expect(p.dr6).toBe(BS | 1);
  });
  it('are seen when set by MOV to debug registers while the page is in the TLB', () => {
    // mov ecx, [rdi]; mov dr0, rdi; mov rax, 0x000d0401 | 1; mov dr7, rax; mov [rdi], ecx; nop
    const p = new Program('8b 0f  0f 23 c7  b8 01 04 0d 00  0f 23 f8  89 0f  90', { cpl: 0, registers: { rdi: at } });
    expect(p.run()).toMatchObject({ vector: DB, rip: CODE + 15n });
  });
});

describe('I/O breakpoints', () => {
  const run = (cr4: number, port: bigint) => {
    const p = new Program('ee 90', {
      registers: { rdx: port },
      rflags: 2 | EFLAGS.IOPL,
      prepare: (g) => g.set64('cr4', g.get64('cr4') | BigInt(cr4)),
    });
    p.breakpoint(1, 0x80n, 2, 4);
    const e = p.run();
    return [e.vector, e.rip - CODE, p.dr6];
  };
  it('trap after an access to a port that they cover, with CR4.DE', () => {
    expect(run(CR4.DE, 0x80n)).toEqual([DB, 1n, 2]);
    expect(run(CR4.DE, 0x83n)).toEqual([DB, 1n, 2]);
    expect(run(CR4.DE, 0x84n)).toEqual([3, 3n, 0]);
    expect(run(0, 0x80n)).toEqual([3, 3n, 0]);
  });
});

describe('interrupt shadows', () => {
  const VECTOR = 0x40;
  const guest = { host: { acknowledge: () => VECTOR } };
  const pending = (code: string, rflags: number, registers: Record<string, bigint> = {}) => {
    const p = new Program(code, { cpl: 0, guest, rflags, registers });
    p.guest.vcpu.setInterruptPending(true);
    return p;
  };
  it('STI lets one more instruction run', () => {
    expect(pending('fb 90 90', 2).run()).toMatchObject({ vector: VECTOR, rip: CODE + 2n });
    expect(pending('fb fa 90', 2).run()).toMatchObject({ vector: 3 });
  });
  it('STI with interrupts enabled has none', () => {
    const p = pending('fb 90 90', 2 | IF);
    expect(p.run()).toMatchObject({ vector: VECTOR, rip: CODE });
  });
  it('MOV SS holds interrupts and debug traps off for one instruction', () => {
    // cli-free: mov eax, ss; mov ss, eax; sti-less IF is set by popf before
    const p = pending('90 8e d0 90 90', 2, { rax: 0x10n });
    p.guest.vcpu.setInterruptPending(false);
    p.breakpoint(0, DATA, 3, 1);
    expect(p.run().vector).toBe(3);
    const q = new Program('8e 17 90 90', { cpl: 0, registers: { rdi: DATA }, rflags: 2 });
    q.write(0, '1000');
    q.breakpoint(0, DATA, 3, 1);
    expect(q.run()).toMatchObject({ vector: DB, rip: CODE + 3n });
    const r = new Program('8e d0 90 90', { cpl: 0, registers: { rax: 0x10n }, rflags: 2 | TF });
    expect(r.run()).toMatchObject({ vector: DB, rip: CODE + 3n });
  });
  it('HLT after STI wakes for the interrupt', () => {
    const p = pending('fb f4 90', 2);
    expect(p.run()).toMatchObject({ vector: VECTOR, rip: CODE + 2n });
  });
});

describe('hypercalls', () => {
  it('count against the budget', () => {
    // l: vmcall; jmp l
    const p = new Program('0f 01 c1 eb fb', { cpl: 0 });
    expect(p.guest.vcpu.run(1000)).toBe('budget');
  });
});

describe('NMIs', () => {
  it('are blocked from their delivery to the next IRET', () => {
    // The handler of vector 2 counts in [r8], then inc r9, then IRETs.
    const handler = (vector: number): Uint8Array =>
      vector === 2 ? Uint8Array.from([0x49, 0xff, 0xc1, 0xf4, 0x49, 0xff, 0xc2, 0x48, 0xcf]) : Uint8Array.of(0xf4);
    const p = new Program('90 90 90', { cpl: 0, guest: { handler } });
    const { vcpu } = p.guest;
    vcpu.nmi();
    expect(vcpu.run(16)).toBe('hlt');
    expect([p.reg('r9'), p.guest.get32('nmi_blocked')]).toEqual([1n, 1]);
    // A second one waits, and wakes nothing.
    vcpu.nmi();
    expect(vcpu.run(16)).toBe('hlt');
    expect([p.reg('r9'), p.reg('r10')]).toEqual([1n, 0n]);
    p.guest.set32('halted', 0);
    expect(vcpu.run(16)).toBe('hlt');
    // After the IRET the second is delivered, before the program goes on.
    expect([p.reg('r9'), p.reg('r10')]).toEqual([2n, 1n]);
  });
  it('that cannot be delivered, nor the double fault, shut down before another instruction', () => {
    // inc r9, on and on; the stack is not mapped.
    const p = new Program('49 ff c1 eb fb', { cpl: 0, registers: { rsp: 0x7000_0000n } });
    const { vcpu } = p.guest;
    vcpu.nmi();
    expect(vcpu.run(16)).toBe('shutdown');
    expect(p.reg('r9')).toBe(0n);
  });
});
