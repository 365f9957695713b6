// Pieces of random programs that are about the system: flags and interrupts, page tables, system calls, ports,
// segments, what the processor tells about itself.
import { Label } from './assembler.ts';
import { type Emit, type Node, REG } from './emit.ts';
import { SERVICE } from './events.ts';
import { SELECTOR } from './kernel.ts';
import type { Piece } from './kinds-control.ts';
import { PAGE } from './places.ts';
import { randomInsn } from './straight.ts';

/** The program asks for a change of its address space. */
export function service(e: Emit): void {
  e.asm.bytes(0xcd, SERVICE);
}

/** PUSHF, a change, POPF. */
function flags(e: Emit): void {
  const { random } = e;
  const bits = random.pick([0x400, 0x40000, 0x200000, 0x200, 0x3000, 0x8d5, 0x801, 0x4000]);
  changeFlags(e, random.pick([1, 4, 6]), bits);
  if (bits === 0x400 || bits === 0x4000) {
    randomInsn(e, 'plain');
    changeFlags(e, 4, ~(0x4400 | 0x40000));
  }
}
/** or (1), and (4), xor (6) of the flags. */
function changeFlags(e: Emit, digit: number, bits: number): void {
  e.asm.bytes(0x9c, 0x81, (digit << 3) | 4, 0x24);
  e.asm.u32(bits);
  e.asm.bytes(0x9d);
}
function trapFlag(e: Emit, node: Node): void {
  changeFlags(e, 1, 0x100);
  if (e.random.once(2)) e.children(node);
  else for (let n = e.random.below(6); n >= 0; n--) randomInsn(e, 'plain');
  changeFlags(e, 4, ~0x100);
}

function interrupts(e: Emit): void {
  const { asm, random } = e;
  const kind = random.below(5);
  if (kind === 0)
    asm.bytes(0xfb); // sti
  else if (kind === 1)
    asm.bytes(0xfa, 0x90, 0xfb); // cli; nop; sti
  else if (kind === 2)
    asm.bytes(0x9c, 0xfa, 0x90, 0x9d); // pushf; cli; nop; popf
  else if (kind === 3)
    asm.bytes(0xfb, 0xf4); // sti; hlt
  else asm.bytes(0xfa);
}

/** SYSCALL in 64-bit user code, SYSENTER in 32-bit user code. */
function systemCall(e: Emit): void {
  const { asm } = e;
  if (e.o.cpl !== 3) {
    service(e);
    return;
  }
  if (e.long) {
    if (e.reserved & (1 << REG.CX)) return;
    asm.bytes(0x0f, 0x05);
    return;
  }
  if (!e.o.flat || e.o.mode !== 'legacy' || e.reserved & ((1 << REG.CX) | (1 << REG.DX))) return;
  const back = new Label();
  e.movLabel(REG.DX, back);
  e.regReg(0x89, REG.SP, REG.CX); // mov ecx, esp
  asm.bytes(0x0f, 0x34);
  asm.here(back);
}

function ports(e: Emit): void {
  const { asm, random } = e;
  const port = 0x60 + random.below(8);
  const kind = random.below(6);
  if (kind <= 1) asm.bytes(0xe6 | random.below(2), port);
  else if (kind === 2 && !(e.reserved & 1)) asm.bytes(0xe4 | random.below(2), port);
  else if (kind === 3 && !(e.reserved & 4)) {
    e.movImm(REG.DX, BigInt(port));
    asm.bytes(0xee | random.below(2));
  } else if (kind >= 4 && !(e.reserved & ((1 << REG.DX) | (1 << REG.DI) | (1 << REG.SI) | (1 << REG.CX)))) {
    e.movImm(REG.DX, BigInt(port));
    e.movImm(REG.CX, BigInt(random.below(6)));
    const at = BigInt(random.pick(e.o.places.data) + random.below(PAGE) - e.o.dataBase);
    e.movImm(REG.DI, at);
    e.movImm(REG.SI, at);
    asm.bytes(0xf3, random.pick([0x6c, 0x6d, 0x6e, 0x6f]));
  }
}

/** RDTSC, CPUID, RDTSCP, XGETBV, RDRAND. */
function processor(e: Emit): void {
  const { asm, random } = e;
  if (e.reserved & 0xf) return;
  const kind = random.below(6);
  if (kind === 0) asm.bytes(0x0f, 0x31);
  else if (kind === 1) asm.bytes(0x0f, 0xa2);
  else if (kind === 2) asm.bytes(0x0f, 0x01, 0xf9);
  else if (kind === 3) {
    e.regReg(0x31, REG.CX, REG.CX, false);
    asm.bytes(0x0f, 0x01, 0xd0);
  } else if (kind === 4) asm.bytes(0x0f, 0xc7, 0xf0 | random.below(4));
  else modelRegister(e);
}
/** RDMSR and WRMSR of the base of FS and of what nobody knows; #GP in user code. */
function modelRegister(e: Emit): void {
  e.movImm(REG.CX, BigInt(e.random.pick([0xc000_0100, 0xc000_0102, 0x10, 0x1b, 0x1234])));
  e.asm.bytes(0x0f, 0x32);
  if (e.long && e.random.once(2)) {
    e.movImm(REG.CX, 0xc000_0100n);
    e.movImm(REG.AX, BigInt(e.o.extraBases[0]));
    e.regReg(0x31, REG.DX, REG.DX, false);
    e.asm.bytes(0x0f, 0x30);
  }
}

function segments(e: Emit): void {
  const { asm, random } = e;
  if (e.reserved & 1) return;
  if (e.long) {
    const kind = random.below(4);
    if (kind === 0 && e.o.cpl === 0)
      asm.bytes(0x0f, 0x01, 0xf8); // swapgs
    else if (kind <= 1)
      asm.bytes(0xf3, 0x48, 0x0f, 0xae, 0xc0 | (random.below(2) * 8)); // rdfsbase, rdgsbase rax
    else {
      e.movImm(REG.AX, BigInt(e.o.extraBases[kind & 1]!));
      asm.bytes(0xf3, 0x48, 0x0f, 0xae, 0xd0 | ((kind & 1) * 8)); // wrfsbase, wrgsbase
    }
    return;
  }
  const odd = e.o.cpl === 3 ? SELECTOR.ODD_USER_DATA : SELECTOR.ODD_KERNEL_DATA;
  const flat = e.o.cpl === 3 ? SELECTOR.USER_DATA : SELECTOR.KERNEL_DATA;
  const mine = e.o.flat ? flat : odd;
  const seg = random.pick([0, 3, 4, 5, 2]);
  // ES, DS and SS get their own again; FS and GS may change.
  e.movImm(REG.AX, BigInt(seg < 4 ? mine : random.pick([flat, odd, 0])));
  asm.bytes(0x8e, 0xc0 | (seg << 3)); // mov seg, eax
}

/** An interrupt may become due while interrupts are off; STI lets it in one instruction later. */
function masked(e: Emit, node: Node): void {
  const { asm, random } = e;
  asm.bytes(0xfa);
  e.children(node);
  for (let n = random.below(8); n >= 0; n--) randomInsn(e, 'plain');
  if (random.once(3))
    changeFlags(e, 1, 0x200); // popf
  else asm.bytes(0xfb);
  for (let n = 1 + random.below(4); n >= 0; n--) randomInsn(e, 'plain');
}

/** GS changed and used at once, as at the begin and end of a kernel's entry. */
function kernelGs(e: Emit): void {
  const { asm, random } = e;
  if (!e.long || e.o.cpl !== 0) {
    segments(e);
    return;
  }
  if (e.reserved & (1 << REG.AX)) return;
  const free = [0, 1, 2, 3, 6, 7].filter((r) => !((e.reserved >> r) & 1));
  const access = (): void => {
    asm.bytes(0x65);
    e.regAt([random.pick([0x8b, 0x03, 0x33])], random.pick(free), 0x400 + random.below(64) * 8);
  };
  // Both bases are those of data, so that the wrong one is not found out by a fault.
  e.movImm(REG.AX, BigInt(random.pick(e.o.places.data)));
  asm.bytes(0xf3, 0x48, 0x0f, 0xae, 0xd8); // wrgsbase rax
  access();
  for (let i = 0; i < 2; i++) {
    asm.bytes(0x0f, 0x01, 0xf8); // swapgs
    access();
    e.resume();
  }
}

export const SYSTEM_PIECES: Readonly<Record<string, Piece>> = {
  service,
  flags,
  trapFlag,
  interrupts,
  masked,
  kernelGs,
  systemCall,
  ports,
  processor,
  segments,
};
