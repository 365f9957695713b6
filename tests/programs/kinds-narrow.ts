// Pieces of random programs with 16-bit code: 32-bit code calls into it and comes back, its memory operands have
// 16-bit addresses through FS. Each group of code pages has a 16-bit segment of its own.
import { Label } from './assembler.ts';
import { type Emit, type Node, REG } from './emit.ts';
import type { Piece } from './kinds-control.ts';
import { narrowBase, narrowDataBase } from './places.ts';
import { drawClass, randomInsn } from './straight.ts';

/** Bytes that a piece may take; no other piece is inside, so that all of it lies in one group. */
const MOST_BYTES = 700;

/** FS for the data that 16-bit addresses reach. */
function loadFs(e: Emit): void {
  if (e.reserved & 1) return;
  e.movImm(REG.AX, BigInt(e.o.narrow.data));
  e.asm.bytes(0x8e, 0xe0);
}

/** An instruction on FS:[16-bit address], in any form of ModRM; the sum may wrap at 64 KiB. */
function shortAddress(e: Emit): void {
  const { asm, random } = e;
  const rm = random.pick([0, 1, 4, 5, 7]); // [bx+si], [bx+di], [si], [di], [bx]
  const mod = random.below(3);
  const base = rm === 0 || rm === 1 || rm === 7 ? REG.BX : rm === 4 ? REG.SI : REG.DI;
  const index = rm === 0 ? REG.SI : rm === 1 ? REG.DI : undefined;
  for (const r of [base, index]) if (r !== undefined && (e.reserved >> r) & 1) return;
  const disp = mod === 0 ? 0 : mod === 1 ? random.below(256) : random.below(0x1_0000);
  const signed = mod === 1 ? (disp << 24) >> 24 : disp;
  const offset = index === undefined ? 0 : random.below(0x1_0000);
  const at = random.pick(e.o.places.data.slice(0, 2)) + random.below(4096) - narrowDataBase(e.o.places);
  if (index !== undefined) shortImm(e, index, offset);
  shortImm(e, base, at - signed - offset);
  const op = random.pick([0x8b, 0x89, 0x03, 0x01, 0x31, 0x3b, 0xff, 0x8d]);
  const wide = random.once(3) ? [0x66] : [];
  const reg = op === 0xff ? random.below(2) : e.freeRegister();
  asm.bytes(0x64, ...wide, op, (mod << 6) | (reg << 3) | rm);
  if (mod === 1) asm.bytes(disp);
  if (mod === 2) asm.bytes(disp, disp >> 8);
  e.resume();
}
/** mov r16, imm16 in 16-bit code. */
function shortImm(e: Emit, reg: number, value: number): void {
  e.asm.bytes(0xb8 | reg, value, value >> 8);
}

function narrowStep(e: Emit): void {
  const { asm, random } = e;
  const kind = random.below(8);
  if (kind <= 2) randomInsn(e, drawClass(random));
  else if (kind <= 4) shortAddress(e);
  else if (kind === 5) {
    // call next; pop: a 16-bit return address.
    asm.bytes(0xe8, 0, 0, 0x58 | (e.freeRegister() & 7));
  } else if (kind === 6) {
    const over = new Label();
    e.regReg(random.pick([0x39, 0x85, 0x29, 0x01]), random.below(8), e.freeRegister());
    asm.bytes(0x70 | random.below(16));
    asm.rel(over, 1);
    e.movImm(e.freeRegister(), BigInt(random.u32()), true);
    asm.here(over);
  } else asm.bytes(0x50 | random.below(8), 0x58 | e.freeRegister()); // push, pop
}

/** What is done in 16-bit code: a few steps, or a loop over them. */
function body(e: Emit): void {
  const { asm, random } = e;
  const steps = (): void => {
    for (let n = random.below(4); n >= 0; n--) narrowStep(e);
  };
  const counter = e.freeRegister();
  if (random.once(2)) {
    steps();
    return;
  }
  shortImm(e, counter, 1 + random.below(6));
  e.reserving(counter, () => {
    const top = asm.here();
    steps();
    asm.bytes(0x48 | counter, 0x0f, 0x85); // dec r16; jnz rel16
    const d = top.at! - (asm.at + 2);
    asm.bytes(d, d >> 8);
  });
}

/** A function of 16-bit code between its callers, or 16-bit code that is jumped through. */
function narrow(e: Emit, node: Node): void {
  const { asm, random } = e;
  const { places, narrow: segments, codeSelector, codeBase } = e.o;
  if (e.long || asm.room < MOST_BYTES) {
    e.children(node);
    return;
  }
  const group = places.code.findIndex((g) => asm.at >= g.at && asm.at < g.at + g.bytes);
  const far = (op: number, label: Label, selector: number, base: number): void => {
    asm.bytes(op);
    asm.pointer(label, 4, base);
    asm.bytes(selector, selector >> 8);
  };
  const enter = (op: number, label: Label): void => far(op, label, segments.code[group]!, narrowBase(places, group));
  loadFs(e);
  const [f, over] = [new Label(), new Label()];
  const jumped = random.once(3);
  if (jumped) enter(0xea, f);
  else e.jmp(over);
  asm.here(f);
  e.inNarrow(() => {
    e.resume();
    body(e);
    if (random.once(4)) body(e);
    if (jumped) asm.bytes(0x66);
    if (jumped) far(0xea, over, codeSelector, codeBase);
    else asm.bytes(0x66, 0xcb); // retf, as 32-bit code called
  });
  asm.here(over);
  e.resume();
  if (jumped) return;
  const cell = e.cell();
  const again = random.once(2);
  if (again) e.storeImm(cell, 1 + random.below(5));
  const top = asm.here();
  enter(0x9a, f);
  if (!again) return;
  e.regAt([0xff], 1, cell, false); // dec
  e.jcc(5, top);
}

export const NARROW_PIECES: Readonly<Record<string, Piece>> = { narrow };
