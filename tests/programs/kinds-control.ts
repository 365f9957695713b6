// Pieces of random programs that are about control flow: loops, branches, calls and returns in all their forms.

import { Label } from './assembler.ts';
import { type Emit, type Node, REG } from './emit.ts';
import { ALIAS, LARGE_CODE } from './places.ts';
import { drawClass, randomInsn, randomRegisters, randomVector } from './straight.ts';

export type Piece = (e: Emit, node: Node) => void;

export function straight(e: Emit): void {
  const cls = drawClass(e.random);
  if (e.random.once(3)) randomRegisters(e);
  if (cls === 'sse' && e.random.once(2)) randomVector(e);
  if (cls === 'x87' && e.random.once(2)) e.asm.bytes(0xdb, 0xe3); // fninit
  for (let n = e.random.below(6); n >= 0; n--) randomInsn(e, cls);
}

/** Something that sets flags from registers: cmp, test, sub, add. */
function setFlags(e: Emit): void {
  const op = e.random.pick([0x39, 0x85, 0x29, 0x01, 0x3b, 0x31]);
  const written = op === 0x39 || op === 0x85 || op === 0x3b;
  const rm = written ? e.random.below(8) : e.freeRegister();
  e.regReg(op, e.random.below(e.long ? 16 : 8), rm, e.random.once(2));
}

/** A loop by a register, a cell or LOOP, with the other pieces inside. */
function loop(e: Emit, node: Node): void {
  const { random, asm } = e;
  const count = 1 + random.below(random.once(6) ? 40 : 6);
  const kind = random.below(3);
  if (kind === 0) {
    const cell = e.cell();
    e.storeImm(cell, count);
    const top = asm.here();
    e.children(node);
    e.regAt([0xff], 1, cell, false); // dec
    e.jcc(5, top);
    return;
  }
  const reg = kind === 2 ? REG.CX : e.freeRegister();
  if ((e.reserved >> reg) & 1) {
    e.children(node);
    return;
  }
  e.movImm(reg, BigInt(count));
  e.reserving(reg, () => {
    const top = asm.here();
    e.children(node);
    if (kind === 1) {
      e.regReg(0xff, 1, reg, random.once(2)); // dec
      e.jcc(random.once(4) ? 15 : 5, top); // jg, jnz
      return;
    }
    const [again, out] = [new Label(), new Label()];
    asm.bytes(random.once(5) ? 0xe0 : 0xe2); // loopne, loop
    asm.rel(again, 1);
    e.jmp(out);
    asm.here(again);
    e.jmp(top);
    asm.here(out);
  });
}

function branch(e: Emit, node: Node): void {
  const { random, asm } = e;
  setFlags(e);
  const cc = random.below(16);
  const [otherwise, join] = [new Label(), new Label()];
  const shape = random.below(3);
  if (shape === 0) {
    // Backward: the body lies in front of the branch to it.
    const [test, body] = [new Label(), new Label()];
    e.jmp(test);
    asm.here(body);
    e.children(node);
    e.jmp(join);
    asm.here(test);
    e.jcc(cc, body);
    asm.here(join);
    return;
  }
  e.jcc(cc, otherwise);
  e.children(node);
  if (shape === 1) {
    e.jmp(join);
    asm.here(otherwise);
    straight(e);
    asm.here(join);
  } else asm.here(otherwise);
}

/** A short branch over one instruction, as compilers make them. */
function shortBranch(e: Emit): void {
  const over = new Label();
  setFlags(e);
  if (e.random.once(8))
    e.asm.bytes(0xe3); // jrcxz
  else e.asm.bytes(0x70 | e.random.below(16));
  e.asm.rel(over, 1);
  if (e.random.once(2)) e.regReg(0x01, e.random.below(8), e.freeRegister());
  else e.movImm(e.freeRegister(), BigInt(e.random.u32()), true);
  e.asm.here(over);
}

function call(e: Emit): void {
  const { random, asm } = e;
  if (e.functions.length === 0) return;
  const target = random.pick(e.functions);
  const kind = random.below(5);
  if (kind <= 1) e.call(target);
  else if (kind === 2) {
    const reg = e.freeRegister();
    e.movLabel(reg, target);
    if (reg > 7) asm.bytes(0x41);
    asm.bytes(0xff, 0xd0 | (reg & 7));
  } else if (kind === 3) {
    const cell = e.cell();
    e.storeLabel(cell, target);
    e.regAt([0xff], 2, cell, false);
  } else {
    // Tail jump: the return address is pushed by hand.
    const back = new Label();
    pushLabel(e, back);
    e.jmp(target);
    asm.here(back);
  }
}
function pushLabel(e: Emit, label: Label): void {
  e.asm.bytes(0x68);
  e.asm.pointer(label, 4, e.o.codeBase);
}

/** pop of a register that nobody counts with. */
export function popTo(e: Emit): void {
  const reg = e.freeRegister();
  if (reg > 7) e.asm.bytes(0x41);
  e.asm.bytes(0x58 | (reg & 7));
}

/** Returns to where no call came from. */
function oddReturn(e: Emit, node: Node): void {
  const { random, asm } = e;
  const over = new Label();
  const kind = random.below(4);
  if (kind === 0) {
    // push; ret
    pushLabel(e, over);
    asm.bytes(0xc3);
  } else if (kind === 1) {
    // call and pop
    e.call(over);
    asm.here(over);
    popTo(e);
    return;
  } else if (kind === 2) {
    // The function moves its return address over a few bytes.
    const f = new Label();
    const skipped = 1 + random.below(6);
    e.call(f);
    for (let i = 0; i < skipped; i++) asm.bytes(0x90);
    e.jmp(over);
    asm.here(f);
    e.children(node);
    asm.bytes(...(e.long ? [0x48] : []), 0x83, 0x04, 0x24, random.below(skipped + 1));
    asm.bytes(0xc3);
  } else {
    // ret n takes what was pushed before.
    const f = new Label();
    asm.bytes(0x6a, random.below(128));
    e.call(f);
    e.jmp(over);
    asm.here(f);
    e.children(node);
    asm.bytes(0xc2, e.word, 0);
  }
  asm.here(over);
}

/** A function between its callers. */
function localCalls(e: Emit, node: Node): void {
  const { random, asm } = e;
  const [f, over] = [new Label(), new Label()];
  const first = random.once(2);
  if (first) {
    e.call(f);
    straight(e);
  }
  e.jmp(over);
  asm.here(f);
  e.children(node);
  asm.bytes(0xc3);
  asm.here(over);
  for (let n = random.below(3); n >= 0; n--) {
    e.call(f);
    if (random.once(2)) shortBranch(e);
  }
}

function recursion(e: Emit, node: Node): void {
  const { random, asm } = e;
  const [f, out, over] = [new Label(), new Label(), new Label()];
  const cell = e.cell();
  e.storeImm(cell, 1 + random.below(8));
  e.call(f);
  e.jmp(over);
  asm.here(f);
  e.regAt([0xff], 1, cell, false);
  e.jcc(random.pick([4, 8, 14]), out); // jz, js, jle
  e.children(node);
  e.call(f);
  if (random.once(2)) e.regReg(0x01, random.below(8), e.freeRegister());
  asm.here(out);
  asm.bytes(0xc3);
  asm.here(over);
}

/** A jump by a table of four places, in cells or in the code. */
function table(e: Emit, node: Node): void {
  const { random, asm } = e;
  const join = new Label();
  const cases = [0, 1, 2, 3].map(() => new Label());
  const reg = e.freeRegister() & 7;
  if (reg === REG.SP || (e.reserved >> reg) & 1) {
    e.children(node);
    return;
  }
  const inCode = random.once(2);
  const first = new Label();
  const cells = cases.map(() => e.cell());
  if (!inCode) for (const [i, l] of cases.entries()) e.storeLabel(cells[0]! + i * 8, l);
  e.regAt([0x8b], reg, e.o.places.cells + 0x400 + random.below(16) * 8, false); // something to choose by
  e.regReg(0x01, random.below(8), reg, false);
  asm.bytes(0x83, 0xe0 | reg, 3); // and reg, 3
  // jmp [table + reg*8]
  asm.bytes(0xff, 0x24, 0xc5 | (reg << 3));
  if (inCode) asm.pointer(first, 4, e.o.dataBase);
  else asm.u32(cells[0]! - e.o.dataBase);
  if (inCode) {
    asm.here(first);
    for (const l of cases) {
      asm.pointer(l, 4, e.o.codeBase);
      asm.u32(0);
    }
  }
  cases.forEach((l, i) => {
    asm.here(l);
    if (i === 0) e.children(node);
    else straight(e);
    e.jmp(join);
  });
  asm.here(join);
}

/** Goes on in the other place where the same code is mapped. */
function alias(e: Emit): void {
  if (!e.o.flat) return;
  const next = new Label();
  e.call(next);
  e.asm.here(next);
  const other = e.o.environment.large && e.random.once(2) ? LARGE_CODE : ALIAS;
  e.asm.bytes(0x81, 0x34, 0x24); // xor dword [rsp], imm32
  e.asm.u32(other);
  e.asm.bytes(0x83, 0x04, 0x24, 12, 0xc3); // add dword [rsp], 12; ret
}

export const CONTROL_PIECES: Readonly<Record<string, Piece>> = {
  straight,
  loop,
  branch,
  shortBranch,
  call,
  oddReturn,
  localCalls,
  recursion,
  table,
  alias,
  move: (e) => e.relocate(),
};
