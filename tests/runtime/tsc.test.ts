// RDTSC between looks at the host's clock: in which order, how often it looks, and that it does not stay behind.
import { describe, expect, it } from 'vitest';
import { CODE_PAGE } from '../differential/case.ts';
import { Guest, PTE } from '../differential/guest.ts';

const WINDOW = 500;
const LIST = 0x3000_0000n;
const READS = 400;
/** Instructions of a turn of the loop below. */
const TURN = 8;
// 0 rdtsc; 2 shl rdx, 32; 6 or rax, rdx; 9 mov [rdi], rax; c add rdi, 8; 10 dec rcx; 13 nop; 14 jnz 0; 16 jmp itself
const LOOP = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0, 0x48, 0x89, 0x07, 0x48, 0x83, 0xc7, 8];
const AGAIN = [0x48, 0xff, 0xc9, 0x90, 0x75, 0xea, 0xeb, 0xfe];

// 0 inc rsi; 3 rdtsc; 5 shl rdx, 32; 9 or rax, rdx; c cmp rax, rbx; f jb 0; 11 jmp itself
const WAIT = [
  0x48, 0xff, 0xc6, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0, 0x48, 0x39, 0xd8, 0x72, 0xef, 0xeb, 0xfe,
];

// rdtsc; mov rsi, rax; wrmsr; rdtsc; hlt
const TOLD = [0x0f, 0x31, 0x48, 0x89, 0xc6, 0x0f, 0x30, 0x0f, 0x31, 0xf4];
const IA32_TSC = 0x10n;
/** Makes ready to run that, with the number of the MSR that is written. */
function loadTold(guest: Guest, msr: bigint): void {
  const code = guest.frames(1);
  guest.map(CODE_PAGE, code, PTE.P);
  guest.memory.write(code, Uint8Array.from(TOLD));
  guest.enterMode(64, 0);
  guest.set64('rip', CODE_PAGE);
  guest.set64('gpr', msr, 1);
}

/** Runs the loop in slices. @returns what was read, and what the clock said each time that it was asked */
function read(tscWindow: number, clock: () => number, slices: number): { values: bigint[]; asked: number[] } {
  const asked: number[] = [];
  const tscNumber = (): number => {
    asked.push(clock());
    return asked.at(-1)!;
  };
  const guest = new Guest({ host: { tscNumber }, vcpu: { engine: 'bt', hotThreshold: 40, tscWindow } });
  const [code, list] = [guest.frames(1), guest.frames(1)];
  guest.map(CODE_PAGE, code, PTE.P | PTE.US);
  guest.map(LIST, list, PTE.P | PTE.US | PTE.RW);
  guest.memory.write(code, Uint8Array.from([...LOOP, ...AGAIN]));
  guest.enterMode(64, 3);
  guest.set64('rip', CODE_PAGE);
  guest.set64('gpr', BigInt(READS), 1);
  guest.set64('gpr', LIST, 7);
  for (let n = 0; n < slices; n++) guest.vcpu.run(Math.ceil((READS * TURN * 1.2) / slices));
  const values = Array.from({ length: READS }, (_, i) => guest.view.getBigUint64(guest.ram + list + 8 * i, true));
  return { values, asked };
}
const isRising = (values: readonly bigint[]): boolean => values.every((v, i) => i === 0 || v > values[i - 1]!);

describe('the time-stamp counter', () => {
  it('asks for the clock each time without a window', () => {
    let now = 0;
    const { values, asked } = read(0, () => (now += 100), 1);
    expect(asked.length).toBe(READS);
    expect(values).toEqual(asked.map(BigInt));
  });
  it('counts a tick an instruction within the window, and is the clock behind it', () => {
    let now = 0;
    const { values, asked } = read(WINDOW, () => (now += 10_000), 1);
    expect(asked.length).toBeGreaterThan((READS * TURN) / WINDOW - 1);
    expect(asked.length).toBeLessThan((READS * TURN) / WINDOW + 3);
    expect(isRising(values)).toBe(true);
    for (const value of values) {
      const behind = Number(value) - Math.max(...asked.filter((a) => a <= Number(value)));
      expect(behind).toBeLessThan(WINDOW);
    }
    for (const a of asked) expect(values).toContain(BigInt(a));
  });
  it('asks again in each slice', () => {
    let now = 0;
    const { asked } = read(60_000, () => (now += 10_000), 20);
    expect(asked.length).toBeGreaterThanOrEqual(15);
    expect(asked.length).toBeLessThanOrEqual(21);
  });
  it('never goes back, also when instructions take less than a tick', () => {
    expect(isRising(read(WINDOW, () => 5, 7).values)).toBe(true);
  });
  it.for(['interp', 'bt'] as const)('is asked for by a loop that waits, on engine %s', (engine) => {
    let [now, regions] = [0, 0];
    const host = { tscNumber: () => (now += 10_000) };
    const vcpu = { engine, hotThreshold: 40, tscWindow: WINDOW, onRegion: () => void regions++ };
    const guest = new Guest({ host, vcpu });
    const code = guest.frames(1);
    guest.map(CODE_PAGE, code, PTE.P | PTE.US);
    guest.memory.write(code, Uint8Array.from(WAIT));
    guest.enterMode(64, 3);
    guest.set64('rip', CODE_PAGE);
    guest.set64('gpr', 1_000_000n, 3);
    const turns = (): number => Number(guest.get64('gpr', 6));
    guest.vcpu.run(500);
    guest.vcpu.run(200 * WINDOW);
    expect(turns()).toBeGreaterThan((90 * WINDOW) / 6);
    expect(turns()).toBeLessThan((101 * WINDOW) / 6);
    expect(regions > 0).toBe(engine === 'bt');
  });
  it('is not behind what the guest was told otherwise', () => {
    let now = 0;
    const told: number[] = [];
    const tscNumber = (): number => (now += 10_000);
    const guest = new Guest({ host: { tscNumber, msr_write: tell }, vcpu: { tscWindow: WINDOW } });
    function tell(): number {
      guest.vcpu.clockWasRead();
      told.push(tscNumber());
      return 0;
    }
    loadTold(guest, 0x1234_5678n);
    expect(guest.vcpu.run(WINDOW)).toBe('hlt');
    expect(told).toEqual([20_000]);
    expect([guest.get64('gpr', 6), guest.get64('gpr', 0)]).toEqual([10_000n, 30_000n]);
  });
  it('is what was written, or more', () => {
    let now = 0;
    const guest = new Guest({ host: { tscNumber: () => (now += 10_000) }, vcpu: { tscWindow: WINDOW } });
    loadTold(guest, IA32_TSC);
    while (guest.get64('rip') < CODE_PAGE + BigInt(TOLD.length)) guest.vcpu.run(WINDOW);
    const written = 10_000n;
    expect(guest.get64('gpr', 0)).toBeGreaterThanOrEqual(written);
    expect(guest.get64('gpr', 0)).toBeLessThan(written + BigInt(WINDOW));
  });
  it('follows a clock that was set back by much', () => {
    let now = 2 ** 40;
    const { values } = read(0, () => (now -= 2 ** 30), 1);
    expect(values[0]! > values.at(-1)!).toBe(true);
    now = 2 ** 45;
    const estimated = read(WINDOW, () => (now -= 2 ** 30), 1).values;
    expect(estimated[0]! > estimated.at(-1)!).toBe(true);
  });
});
