// Small guests in every mode, with interrupts, faults, ports, MMIO and MSRs, and the exits they must give.
import { compareVcpus } from '../../src/hv/compare.ts';
import type { Exit, Hypervisor } from '../../src/hv/contract.ts';
import { AT, type ModeName } from '../../src/hv/modes.ts';
import { type Guest, makeGuest } from './engines.ts';

/** An OUT to this port asks for an interrupt. */
const REQUEST_PORT = 0x21;
const VECTOR = 0x20;
/** Bytes for string output, below 64 KiB. */
const DATA = 0x9800;
const LAST = /^(hlt|shutdown|internal-error|fail-entry|unknown|intr)/;

export interface Program {
  readonly name: string;
  readonly mode: ModeName;
  readonly code: readonly number[];
  readonly handlers?: Readonly<Record<number, readonly number[]>>;
  readonly exits: readonly string[];
}

const le = (v: number, bytes: number): number[] => Array.from({ length: bytes }, (_, i) => (v / 256 ** i) & 0xff);
const PAGE_FAULT_HANDLER = [0x0f, 0x20, 0xd0, 0xe7, 0x14, 0x58, 0xe7, 0x15, 0xf4]; // mov eax, cr2; out; pop eax; out; hlt

const FAULT_BEHIND_INTERRUPT = [
  'write 80010 5a',
  'read 80020 c1c2c3c4',
  'out 21 c1c2c3c4',
  'irq-window-open',
  'out 12 49',
  'out 14 10100400',
  'out 15 03000000',
  'hlt 80e9',
];

export const PROGRAMS: readonly Program[] = [
  {
    name: 'ports, an interrupt and MMIO',
    mode: 'real',
    code: [
      0xfb, //             sti
      0xb0, 0x41, //       mov al, 'A'
      0xe6, 0x10, //       out 0x10, al
      0xe4, 0x11, //       in al, 0x11
      0xe6, 0x21, //       out 0x21, al       asks for the interrupt
      0x90, //             nop
      0xb8, 0x00, 0x80, // mov ax, 0x8000
      0x8e, 0xd8, //       mov ds, ax
      0xc6, 0x06, 0x23, 0x01, 0x55, // mov byte [0x123], 0x55
      0x8a, 0x1e, 0x24, 0x01, //       mov bl, [0x124]
      0xf4, //             hlt
    ], // biome-ignore format: one instruction a line
    handlers: { [VECTOR]: [0xb0, 0x49, 0xe6, 0x12, 0xcf] }, // mov al, 'I'; out 0x12, al; iret
    exits: [
      'out 10 41',
      'in 11 c1',
      'out 21 c1',
      'irq-window-open',
      'out 12 49',
      'write 80123 55',
      'read 80124 c2',
      'hlt a019',
    ],
  },
  {
    name: 'no interrupt before the instruction behind STI',
    mode: 'real',
    code: [0xe6, 0x21, 0xfb, 0x40, 0xeb, 0xfe], // out 0x21, al; sti; inc ax; jmp $
    handlers: { [VECTOR]: [0xe7, 0x12, 0xf4] }, // out 0x12, ax; hlt
    exits: ['out 21 00', 'irq-window-open', 'out 12 0100', 'hlt 8203'],
  },
  {
    name: 'string output and a divide error',
    mode: 'real',
    code: [
      0xbe, ...le(DATA, 2), //    mov si, DATA
      0xba, 0x30, 0x00, //       mov dx, 0x30
      0xb9, 0x03, 0x00, //       mov cx, 3
      0xf3, 0x6e, //             rep outsb
      0x31, 0xdb, //             xor bx, bx
      0xf7, 0xf3, //             div bx
    ], // biome-ignore format: one instruction a line
    handlers: { 0: [0x58, 0xe7, 0x13, 0xf4] }, // pop ax; out 0x13, ax; hlt
    exits: ['out 30 b0', 'out 30 49', 'out 30 e6', 'out 13 0da0', 'hlt 8004'],
  },
  {
    name: 'MMIO of three sizes, an interrupt that ends the guest',
    mode: 'protected',
    code: [
      0xfb, //                         sti
      0xc6, 0x05, ...le(0x80010, 4), 0x5a, //       mov byte [0x80010], 0x5a
      0x66, 0xa1, ...le(0x80020, 4), //             mov ax, [0x80020]
      0x03, 0x05, ...le(0x80030, 4), //             add eax, [0x80030]
      0x01, 0x05, ...le(0x80040, 4), //             add [0x80040], eax
      0xe7, 0x21, //                   out 0x21, eax
      0xeb, 0xfe, //                   jmp $
    ], // biome-ignore format: one instruction a line
    handlers: { [VECTOR]: [0xb8, 1, 2, 3, 4, 0xef, 0xf4] }, // mov eax, 0x04030201; out dx, eax; hlt
    exits: [
      'write 80010 5a',
      'read 80020 c1c2',
      'read 80030 c3c4c5c6',
      'read 80040 c7c8c9ca',
      'write 80040 4b509091',
      'out 21 8487c6c6',
      'irq-window-open',
      'out 0 01020304',
      'hlt 8207',
    ],
  },
  {
    name: 'a page fault of a load',
    mode: 'pae',
    code: [0xa1, ...le(0x40010, 4)], // mov eax, [0x40010]
    handlers: { 14: PAGE_FAULT_HANDLER },
    exits: ['out 14 10000400', 'out 15 00000000', 'hlt 80e9'],
  },
  {
    name: 'MMIO through page tables, an interrupt and a page fault behind it',
    mode: 'pae',
    code: [
      0xfb, //                                      sti
      0xc6, 0x05, ...le(0x42010, 4), 0x5a, //       mov byte [0x42010], 0x5a
      0xa1, ...le(0x42020, 4), //                   mov eax, [0x42020]
      0xe7, 0x21, //                                out 0x21, eax    asks for the interrupt
      0x90, //                                      nop
      0xa3, ...le(0x41010, 4), //                   mov [0x41010], eax
    ], // biome-ignore format: one instruction a line
    handlers: { [VECTOR]: [0xb0, 0x49, 0xe6, 0x12, 0xcf], 14: PAGE_FAULT_HANDLER }, // mov al, 'I'; out 0x12, al; iret
    exits: FAULT_BEHIND_INTERRUPT,
  },
  {
    name: 'MMIO through page tables, an interrupt and a page fault behind it',
    mode: 'long',
    code: [
      0xfb, //                                      sti
      0xc6, 0x04, 0x25, ...le(0x42010, 4), 0x5a, // mov byte [0x42010], 0x5a
      0x8b, 0x04, 0x25, ...le(0x42020, 4), //       mov eax, [0x42020]
      0xe7, 0x21, //                                out 0x21, eax    asks for the interrupt
      0x90, //                                      nop
      0x89, 0x04, 0x25, ...le(0x41010, 4), //       mov [0x41010], eax
    ], // biome-ignore format: one instruction a line
    handlers: { [VECTOR]: [0xb0, 0x49, 0xe6, 0x12, 0x48, 0xcf], 14: PAGE_FAULT_HANDLER },
    exits: FAULT_BEHIND_INTERRUPT,
  },
  {
    name: 'a page fault of a load',
    mode: 'long',
    code: [0x48, 0x8b, 0x04, 0x25, ...le(0x40010, 4)], // mov rax, [0x40010]
    handlers: { 14: PAGE_FAULT_HANDLER },
    exits: ['out 14 10000400', 'out 15 00000000', 'hlt 80e9'],
  },
  {
    name: 'a page fault of a store to a read-only page',
    mode: 'long',
    code: [0x89, 0x04, 0x25, ...le(0x41010, 4)], // mov [0x41010], eax
    handlers: { 14: PAGE_FAULT_HANDLER },
    exits: ['out 14 10100400', 'out 15 03000000', 'hlt 80e9'],
  },
  {
    name: 'MMIO of 8 bytes through page tables, and an MSR nobody has',
    mode: 'long',
    code: [
      0xc7, 0x04, 0x25, ...le(0x42010, 4), ...le(0x11223344, 4), // mov dword [0x42010], 0x11223344
      0x48, 0x8b, 0x1c, 0x25, ...le(0x42018, 4), //                 mov rbx, [0x42018]
      0xb9, ...le(0x999, 4), // mov ecx, 0x999
      0x0f, 0x32, //            rdmsr
      0xe7, 0x14, //            out 0x14, eax
      0x0f, 0x30, //            wrmsr
      0xf4,
    ], // biome-ignore format: one instruction a line
    handlers: { 13: [0xe7, 0x16, 0xf4] }, // out 0x16, eax; hlt
    exits: [
      'write 80010 44332211',
      'read 80018 c1c2c3c4c5c6c7c8',
      'rdmsr 999',
      'out 14 78563412',
      'wrmsr 999 12345678',
      'out 16 78563412',
      'hlt 80d3',
    ],
  },
  {
    name: 'a triple fault',
    mode: 'protected',
    code: [0x0f, 0x01, 0x1d, ...le(AT.data, 4), 0x0f, 0x0b], // lidt [zeros]; ud2
    exits: ['shutdown'],
  },
];

const hex = (bytes: Uint8Array): string => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');

/** Runs to the end; answers reads with C1, C2, ... and MSRs with a value first and an error then. */
export function trace({ vm, vcpu }: Guest): string[] {
  const out: string[] = [];
  let next = 0xc1;
  const fill = (data: Uint8Array): void => {
    for (let i = 0; i < data.length; i++) data[i] = next++;
  };
  for (let i = 0; i < 100; i++) {
    const exit = vcpu.run({ nanoseconds: 2e9 });
    switch (exit.reason) {
      case 'io':
        if (exit.direction === 'in') fill(exit.data);
        for (let at = 0; at < exit.data.length; at += exit.size) {
          out.push(`${exit.direction} ${exit.port.toString(16)} ${hex(exit.data.subarray(at, at + exit.size))}`);
        }
        if (exit.port === REQUEST_PORT) vcpu.requestInterruptWindow = true;
        break;
      case 'mmio':
        if (!exit.isWrite) fill(exit.data);
        out.push(`${exit.isWrite ? 'write' : 'read'} ${exit.gpa.toString(16)} ${hex(exit.data)}`);
        break;
      case 'irq-window-open':
        out.push('irq-window-open');
        vcpu.requestInterruptWindow = false;
        vcpu.interrupt(VECTOR);
        break;
      default:
        out.push(other(exit, vcpu.getRegs().rip));
    }
    if (LAST.test(out.at(-1)!)) return out;
  }
  vm.close();
  throw new Error(`the guest does not end: ${out.slice(0, 20).join(', ')}`);
}
function other(exit: Exit, rip: bigint): string {
  if (exit.reason === 'hlt') return `hlt ${rip.toString(16)}`;
  if (exit.reason === 'rdmsr') {
    exit.value = 0x12345678n;
    return `rdmsr ${exit.index.toString(16)}`;
  }
  if (exit.reason === 'wrmsr') {
    exit.error = true;
    return `wrmsr ${exit.index.toString(16)} ${exit.value.toString(16)}`;
  }
  return exit.reason;
}

export function prepare(hypervisor: Hypervisor, p: Program): Guest {
  const guest = makeGuest(hypervisor, p.mode, p.code, (v) => p.handlers?.[v] ?? [0xf4]);
  guest.vm.memory.write(DATA, Uint8Array.from([0xb0, 0x49, 0xe6]));
  return guest;
}

/**
 * What a processor that QEMU (7.2) emulates does its own way: it does not set RF, in the third byte of a pushed RFLAGS,
 * at faults (SDM vol.3 17.3.1.1), and sets the accessed bit in PDPTEs of PAE, which have none (4.4.1).
 */
const RF_BYTE = 2;
const ACCESSED = 0x20;
const PDPTES = 32;
function memoryDifferences(mode: ModeName, a: Uint8Array, b: Uint8Array): string[] {
  const found: string[] = [];
  for (let at = 0; at < AT.ram; at++) {
    const change = a[at]! ^ b[at]!;
    if (change === 0 || (change === 1 && at % 4 === RF_BYTE && at >= AT.stack - STACK && at < AT.stack)) continue;
    if (mode === 'pae' && change === ACCESSED && at >= AT.tables && at < AT.tables + PDPTES) continue;
    found.push(`memory ${at.toString(16)}: ${a[at]!.toString(16)} and ${b[at]!.toString(16)}`);
  }
  return found.slice(0, MOST);
}
const STACK = 0x1000;
const MOST = 8;

/**
 * Runs a program on both engines.
 * @returns what is wrong, in lines; none when exits, registers and memory are as they must be
 */
export function differences(soft: Hypervisor, other: Hypervisor, p: Program): string[] {
  const [a, b] = [prepare(soft, p), prepare(other, p)];
  const exits = [trace(a), trace(b)].map((seen) => seen.join(', '));
  const wanted = p.exits.join(', ');
  const wrong = exits.flatMap((seen, i) => (seen === wanted ? [] : [`${[a, b][i]!.vm.engine}: ${seen}`]));
  // After a triple fault nothing is defined.
  if (p.exits.at(-1) !== 'shutdown') {
    const found = compareVcpus(a.vcpu, b.vcpu, { all: true, wide: p.mode === 'long' });
    wrong.push(...found.map((d) => `${d.what}: ${d.a} and ${d.b}`));
    wrong.push(...memoryDifferences(p.mode, a.vm.memory.read(0, AT.ram), b.vm.memory.read(0, AT.ram)));
  }
  a.vm.close();
  b.vm.close();
  return wrong;
}
