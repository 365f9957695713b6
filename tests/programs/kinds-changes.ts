// Pieces of random programs that use something again right after it was changed: code that goes on in another page,
// loops that are so short that a region remembers the page of an address, functions with other segments.
import { Label } from './assembler.ts';
import { type Emit, REG } from './emit.ts';
import { CHANGE } from './events.ts';
import { SELECTOR } from './kernel.ts';
import type { Piece } from './kinds-control.ts';
import { PAGE } from './places.ts';
import { randomInsn } from './straight.ts';

/** The page at a linear address gets other rights or, if it is code, other constants: the host looks at rBX. */
function change(e: Emit, linear: Label | number): void {
  if (typeof linear === 'number') e.movImm(REG.BX, BigInt(linear));
  else {
    e.asm.bytes(...(e.long ? [0x48] : []), 0xbb);
    e.asm.pointer(linear, e.word, 0);
  }
  e.asm.bytes(0xcd, CHANGE);
}

/** A loop over two pages, one of which becomes another now and then. */
function otherPage(e: Emit): void {
  const { asm, random } = e;
  if ((e.reserved >> REG.BX) & 1) return;
  const cell = e.cell();
  e.storeImm(cell, 2 + random.below(6));
  const first = asm.here();
  e.movImm(e.freeRegister(), BigInt(random.u32()), true);
  const back = new Label();
  e.relocate();
  asm.here(back);
  e.movImm(e.freeRegister(), BigInt(random.u32()), true);
  const over = new Label();
  if (random.once(2)) {
    // Only every other time.
    e.regAt([0xf6], 0, cell, false); // test byte [cell], 1
    asm.bytes(1);
    e.jcc(4, over);
  }
  change(e, random.pick([first, back]));
  asm.here(over);
  e.regAt([0xff], 1, cell, false); // dec
  e.jcc(5, first);
}

/** Loads and stores at [rSI], rCX times. */
function shortLoop(e: Emit): void {
  const { asm, random } = e;
  const top = asm.here();
  const store = random.once(2);
  if (!store || random.once(2)) e.regMem([random.pick([0x8b, 0x03])], e.freeRegister(), REG.SI, random.once(2));
  if (store) e.regMem([random.pick([0x89, 0x01])], random.below(8), REG.SI, random.once(2));
  if (random.once(3)) randomInsn(e, 'plain');
  e.regReg(0xff, 1, REG.CX, false); // dec
  e.jcc(5, top);
}
/** A short loop over one page, run a few times with that page changed in between. */
function samePage(e: Emit): void {
  const { asm, random } = e;
  if (e.reserved & ((1 << REG.BX) | (1 << REG.SI) | (1 << REG.CX))) return;
  const page = random.pick(e.o.places.data);
  const cell = e.cell();
  e.storeImm(cell, 2 + random.below(4));
  const again = asm.here();
  e.movImm(REG.SI, BigInt(page + random.below(PAGE / 64) * 64 - e.o.dataBase));
  e.movImm(REG.CX, BigInt(2 + random.below(6)));
  e.reserving(REG.SI, () => {
    e.reserving(REG.CX, () => shortLoop(e));
  });
  if (!random.once(4)) change(e, page);
  e.regAt([0xff], 1, cell, false);
  e.jcc(5, again);
}

/** A short branch with a 16-bit operand: if taken, outside 64-bit mode, it cuts rIP (SDM vol.2 "Jcc"). */
function cutBranch(e: Emit): void {
  const over = new Label();
  e.regReg(e.random.pick([0x39, 0x85]), e.random.below(8), e.random.below(8), false);
  e.asm.bytes(0x66, 0x70 | e.random.below(16));
  e.asm.rel(over, 1);
  e.movImm(e.freeRegister(), BigInt(e.random.u32()));
  e.asm.here(over);
}

/** A function that is called with flat data segments first, then with DS or ES a page higher: both are there. */
function otherBase(e: Emit): void {
  const { asm, random } = e;
  const { shiftedData, places, flat, cpl } = e.o;
  if (e.long || !flat || e.reserved & ((1 << REG.AX) | (1 << REG.SI))) return;
  const seg = random.pick([0, 3, 3]); // ES, DS
  const load = (selector: number): void => {
    e.movImm(REG.AX, BigInt(selector));
    asm.bytes(0x8e, 0xc0 | (seg << 3));
  };
  const at = places.data[0]! + random.below(PAGE - 8);
  const [f, over] = [new Label(), new Label()];
  e.jmp(over);
  asm.here(f);
  for (const op of [0x8b, random.pick([0x01, 0x89, 0x31])]) {
    if (seg === 0) asm.bytes(0x26);
    e.regMem([op], REG.AX, REG.SI, false);
  }
  asm.bytes(0xc3);
  asm.here(over);
  for (let n = random.below(3); n >= 0; n--) {
    e.movImm(REG.SI, BigInt(at));
    e.call(f);
  }
  load(shiftedData);
  e.movImm(REG.SI, BigInt(at));
  e.call(f);
  e.resume();
  load(cpl === 3 ? SELECTOR.USER_DATA : SELECTOR.KERNEL_DATA);
}

export const CHANGE_PIECES: Readonly<Record<string, Piece>> = { otherPage, samePage, cutBranch, otherBase };
