// Pieces of random programs that are about memory: code that changes itself, strings, stacks, faults.
import { Label } from './assembler.ts';
import { type Emit, type Node, REG } from './emit.ts';
import { type Piece, popTo } from './kinds-control.ts';
import { ALIAS, LARGE_CODE, PAGE } from './places.ts';
import { dataAddress, randomInsn } from './straight.ts';

const NOP5 = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/** An address of a byte of code as data: sometimes by the other place where it is mapped. */
function asData(e: Emit): number {
  if (!e.random.once(5)) return 0;
  return e.o.environment.large && e.random.once(2) ? LARGE_CODE : ALIAS;
}

/** `op` with an 8-bit immediate and the byte at `label` + offset. */
function byteAt(e: Emit, op: number, digit: number, label: Label, offset: number, imm?: number): void {
  e.asm.bytes(op, (digit << 3) | (e.long ? 4 : 5));
  if (e.long) e.asm.bytes(0x25);
  e.asm.pointer(label, 4, e.o.dataBase - offset - asData(e));
  if (imm !== undefined) e.asm.bytes(imm);
}

/** A constant of an instruction that comes soon is written; in a loop, so that it was executed before. */
function patchAhead(e: Emit, node: Node): void {
  const { random, asm } = e;
  const patched = new Label();
  const cell = e.cell();
  e.storeImm(cell, 1 + random.below(5));
  const top = asm.here();
  const kind = random.below(3);
  if (kind === 0)
    byteAt(e, 0xc6, 0, patched, 1, random.below(256)); // mov byte
  else if (kind === 1)
    byteAt(e, 0xfe, 0, patched, 1); // inc byte
  else byteAt(e, 0x80, 6, patched, 1, random.below(256)); // xor byte
  if (random.once(2)) e.children(node);
  const reg = e.freeRegister() & 7;
  asm.here(patched);
  if ((e.reserved >> reg) & 1)
    asm.bytes(0xa9); // test eax, imm
  else asm.bytes(0xb8 | reg); // mov reg, imm
  asm.u32(random.u32());
  e.regAt([0xff], 1, cell, false);
  e.jcc(5, top);
}

/** inc becomes dec and back. */
function patchOpcode(e: Emit): void {
  const { asm, random } = e;
  const patched = new Label();
  const cell = e.cell();
  e.storeImm(cell, 2 + random.below(4));
  const top = asm.here();
  const reg = e.freeRegister() & 7;
  if (random.once(2)) byteAt(e, 0x80, 6, patched, 1, 8);
  asm.here(patched);
  asm.bytes(0xff, 0xc0 | reg);
  if (random.once(2)) byteAt(e, 0x80, 6, patched, 1, 8);
  e.regAt([0xff], 1, cell, false);
  e.jcc(5, top);
}

/** Five bytes that do nothing become a jump and back: as kernels do it. */
function patchJump(e: Emit, node: Node): void {
  const { asm, random } = e;
  const [slot, over] = [new Label(), new Label()];
  const cell = e.cell();
  e.storeImm(cell, 2 + random.below(4));
  const top = asm.here();
  asm.here(slot);
  asm.bytes(...NOP5);
  if (random.once(2)) e.children(node);
  else for (let i = 0; i < 3; i++) randomInsn(e, 'plain');
  asm.here(over);
  const jump = random.once(2);
  byteAt(e, 0xc6, 0, slot, 0, jump ? 0xe9 : NOP5[0]);
  e.asm.bytes(0xc7, e.long ? 4 : 5, ...(e.long ? [0x25] : []));
  e.asm.pointer(slot, 4, e.o.dataBase - 1);
  if (jump) {
    const from = new Label();
    from.at = slot.at! + 5;
    asm.pointer(over, 4, from.at);
  } else asm.bytes(...NOP5.slice(1));
  e.regAt([0xff], 1, cell, false);
  e.jcc(5, top);
}

/** A function is changed, then called. */
function patchFunction(e: Emit): void {
  if (e.functions.length === 0) return;
  const f = e.random.pick(e.functions);
  // Every function begins with mov reg, imm32.
  const offset = 1 + e.random.below(4);
  if (e.random.once(2))
    byteAt(e, 0xfe, 0, f, offset); // inc
  else byteAt(e, 0xc6, 0, f, offset, e.random.below(256)); // mov
  e.call(f);
}

/** Data between instructions, in the same page. */
function dataInCode(e: Emit): void {
  const { asm, random } = e;
  const [data, over] = [new Label(), new Label()];
  e.jmp(over);
  if (random.once(2)) asm.bytes(...new Array<number>(random.below(70)).fill(0xcc));
  asm.here(data);
  asm.u32(random.u32());
  asm.u32(0);
  asm.here(over);
  byteAt(e, 0xfe, 0, data, 0);
  e.asm.bytes(0x8b, ((e.freeRegister() & 7) << 3) | (e.long ? 4 : 5), ...(e.long ? [0x25] : []));
  e.asm.pointer(data, 4, e.o.dataBase);
}

/** A string of code is written: one-byte instructions that are all the same. */
function stringOverCode(e: Emit): void {
  const { asm, random } = e;
  if (e.reserved & ((1 << REG.CX) | (1 << REG.DI) | (1 << REG.AX))) return;
  const slot = new Label();
  const n = 4 + random.below(12);
  asm.bytes(0xfc); // cld
  e.movImm(REG.CX, BigInt(n));
  e.movImm(REG.AX, BigInt(random.pick([0x90, 0xf8, 0xf9, 0xf5, 0x9f])));
  asm.bytes(...(e.long ? [0x48] : []), 0xbf); // mov rdi, slot
  asm.pointer(slot, e.word, e.o.dataBase - asData(e));
  asm.bytes(0xf3, 0xaa); // rep stosb
  asm.here(slot);
  for (let i = 0; i < n; i++) asm.bytes(random.pick([0x90, 0xf8, 0xf9]));
}

/** Repeated strings, forwards and backwards. */
function string(e: Emit): void {
  const { asm, random } = e;
  if (e.reserved & ((1 << REG.CX) | (1 << REG.DI) | (1 << REG.SI))) return;
  const base = e.o.dataBase;
  e.movImm(REG.CX, BigInt(random.below(random.once(4) ? 200 : 24)));
  e.movImm(REG.SI, BigInt(dataAddress(e, 16) - base));
  if (random.once(3)) e.regReg(0x8d, REG.DI, REG.SI);
  e.movImm(REG.DI, BigInt(dataAddress(e, 16) - base));
  if (random.once(4)) {
    // Overlapping.
    e.regReg(0x89, REG.SI, REG.DI);
    asm.bytes(...(e.long ? [0x48] : []), 0x83, 0xc7, random.below(16));
  }
  const back = random.once(4);
  if (back) asm.bytes(0xfd);
  const op = random.pick([0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xae, 0xa7, 0xac]);
  asm.bytes(random.once(5) ? 0xf2 : 0xf3, ...(e.long && random.once(2) ? [0x48] : []), op);
  if (back) asm.bytes(0xfc);
}

/** Pushes and pops of all kinds; rSP may drift a little. */
function stack(e: Emit): void {
  const { asm, random } = e;
  if (random.once(3)) e.resetStack();
  for (let n = random.below(5); n >= 0; n--) {
    const kind = random.below(7);
    if (kind <= 1) asm.bytes(0x50 | random.below(8));
    else if (kind === 2) popTo(e);
    else if (kind === 3) asm.bytes(0x6a, random.below(256));
    else if (kind === 4)
      asm.bytes(0x9c); // pushf
    else if (kind === 5)
      e.regAt([0xff], 6, dataAddress(e, 8), false); // push [mem]
    else frame(e);
  }
}
function frame(e: Emit): void {
  if ((e.reserved >> REG.BP) & 1) return;
  e.reserving(REG.BP, () => {
    e.asm.bytes(0xc8, e.random.below(64), 0, e.random.once(4) ? e.random.below(3) : 0); // enter
    randomInsn(e, 'plain');
    e.asm.bytes(0xc9); // leave
  });
}

/** Something that faults for sure, or nearly. */
function fault(e: Emit): void {
  const { asm, random } = e;
  const kind = random.below(e.long ? 8 : 7);
  if (kind === 0)
    asm.bytes(0x0f, 0x0b); // ud2
  else if (kind === 1) asm.bytes(0xcc);
  else if (kind === 2) {
    e.regReg(0x31, REG.DX, REG.DX, false);
    e.regAt([0xf7], random.pick([6, 7]), random.pick(e.o.places.data), random.once(2)); // div, idiv
  } else if (kind === 3) e.regAt([0x8b], e.freeRegister(), random.pick(e.o.places.absent) + random.below(PAGE), false);
  else if (kind === 4) e.regAt([0x01], random.below(8), random.pick(e.o.places.readonly) + random.below(PAGE - 8));
  else if (kind === 5)
    asm.bytes(0xcd, random.below(32)); // int n
  else if (kind === 6)
    asm.bytes(0xfb); // sti: #GP above IOPL
  else {
    const reg = e.freeRegister();
    e.movImm(reg, 0x8000_0000_0000n + (random.u64() % 0x1000n));
    e.regMem([0x8b], e.freeRegister(), reg);
  }
}

/** Accesses off one register that nobody changes in between, around the end of a page: the next may have other rights. */
function nearby(e: Emit): void {
  const { asm, random } = e;
  const { places } = e.o;
  const base = random.pick([REG.BX, REG.SI, REG.DI, REG.BP]);
  if ((e.reserved >> base) & 1) return;
  const page = random.pick([...places.data, ...places.readonly, ...places.absent]);
  e.movImm(base, BigInt(page + (random.once(3) ? random.below(PAGE) : PAGE - random.below(24)) - e.o.dataBase));
  e.reserving(base, () => {
    for (let n = 2 + random.below(5); n >= 0; n--) {
      const op = random.pick([0x8b, 0x8b, 0x89, 0x01, 0x03, 0x8a, 0x88]);
      // Byte registers: AL to BL.
      const reg = op === 0x8b || op === 0x03 ? e.freeRegister() & 7 : random.below(4);
      if ((e.reserved >> reg) & 1) continue;
      if (e.long && random.once(2)) asm.bytes(0x48);
      asm.bytes(op, 0x40 | (reg << 3) | base, random.below(48) - 24);
      e.resume();
    }
  });
}

export const MEMORY_PIECES: Readonly<Record<string, Piece>> = {
  patchAhead,
  patchOpcode,
  patchJump,
  patchFunction,
  dataInCode,
  stringOverCode,
  string,
  nearby,
  stack,
  fault,
};
