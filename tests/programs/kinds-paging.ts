// Pieces of random programs that are about paging: tables changed by the program itself, all ways to invalidate what
// was cached of them, address spaces, protection of user pages.
import { CR0, CR4 } from '../../src/isa/layout.ts';
import { type Emit, type Node, REG } from './emit.ts';
import type { Piece } from './kinds-control.ts';
import { service } from './kinds-system.ts';
import { ALIAS, CR3_CELLS, LARGE, PAGE } from './places.ts';

const RAX = 1 << REG.AX;
const PCID = 0xfff;

/** The program changes a table entry of its own and invalidates it. */
function pageTable(e: Emit): void {
  const { asm, random } = e;
  if (e.o.cpl !== 0) {
    service(e);
    return;
  }
  const { large, shared } = e.o.environment;
  const page = random.pick(e.o.places.pages.filter((p) => p.use !== 'stack'));
  const at = page.at + (random.once(4) ? ALIAS : 0);
  const inLarge = large && random.once(3);
  const bit = random.pick([1, 2, 2]);
  e.regAt([0x83], 6, inLarge ? e.o.largeEntry : e.o.entryOf(at), false); // xor dword, imm8
  asm.bytes(bit);
  invalidatePage(e, inLarge ? LARGE + random.below(1 << 20) : at + random.below(PAGE), {
    global: shared && !inLarge && page.use !== 'code',
  });
}

/** One of the instructions that make the processor forget how a linear address is mapped, a global page's too. */
function invalidatePage(e: Emit, linear: number, { global }: { global: boolean }): void {
  const { random } = e;
  const kind = e.reserved & RAX ? 0 : random.below(8);
  if (kind === 3 && !global) reloadCr3(e);
  else if (kind === 4 && e.o.environment.global) toggleGlobal(e);
  else if (kind > 4) invpcid(e, random.pick(global ? [0, 2] : [0, 1, 2, 3]), linear);
  else e.regAt([0x0f, 0x01], 7, linear, false); // invlpg
}
function reloadCr3(e: Emit): void {
  e.asm.bytes(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8); // mov eax, cr3; mov cr3, eax
}
/** CR4.PGE off and on: as kernels drop global pages. */
function toggleGlobal(e: Emit): void {
  for (let i = 0; i < 2; i++) flipControl(e, 4, CR4.PGE);
}
/** mov eax, crN; xor eax, bits; mov crN, eax. */
function flipControl(e: Emit, register: 0 | 4, bits: number): void {
  const modrm = 0xc0 | (register << 3);
  e.asm.bytes(0x0f, 0x20, modrm, 0x35);
  e.asm.u32(bits);
  e.asm.bytes(0x0f, 0x22, modrm);
}
/** INVPCID with a descriptor in two cells, for the current identifier (SDM vol.2 "INVPCID"). */
function invpcid(e: Emit, type: number, linear: number): void {
  const { asm } = e;
  const [low, high] = e.cellPair();
  e.storeImm(high, linear);
  if (!e.long) e.storeImm(high + 4, 0);
  e.storeImm(low, 0);
  if (!e.long) e.storeImm(low + 4, 0);
  if (e.o.environment.pcid) {
    asm.bytes(0x0f, 0x20, 0xd8, 0x25); // mov eax, cr3; and eax, imm32
    asm.u32(PCID);
    e.regAt([0x89], REG.AX, low, false);
  }
  e.movImm(REG.AX, BigInt(type));
  asm.bytes(0x66);
  e.regAt([0x0f, 0x38, 0x82], REG.AX, low, false);
}

/** An invalidation for nothing. */
function invalidate(e: Emit): void {
  const { places } = e.o;
  const page = e.random.pick([...places.data, ...places.code.map((g) => g.at), LARGE]);
  invalidatePage(e, page + e.random.below(PAGE), { global: true });
}

/** The program goes into an address space, the one that it is in or the other; with PCIDs often without a flush. */
function space(e: Emit): void {
  const { asm, random } = e;
  if (e.o.cpl !== 0 || e.reserved & RAX) {
    service(e);
    return;
  }
  e.regAt([0x8b], REG.AX, e.o.places.cells + CR3_CELLS + random.below(2) * 8);
  if (e.long && e.o.environment.pcid && random.once(2)) asm.bytes(0x48, 0x0f, 0xba, 0xe8, 63); // bts rax, 63
  asm.bytes(0x0f, 0x22, 0xd8); // mov cr3, rax
}

/** Turns on or off what keeps the supervisor from user pages or from read-only ones: CR4.SMEP, CR4.SMAP, CR0.WP. */
function protection(e: Emit): void {
  const { random } = e;
  if (e.reserved & RAX) return;
  const kind = random.below(3);
  if (kind === 0) flipControl(e, 0, CR0.WP);
  else flipControl(e, 4, kind === 1 ? CR4.SMEP : CR4.SMAP);
}

/**
 * STAC, CLAC around what is inside, with accesses to one page before and behind CLAC: what was found in the TLB before
 * must not be behind. With an instruction that no region contains in between, a region begins with EFLAGS.AC set.
 */
function userAccess(e: Emit, node: Node): void {
  const { asm, random } = e;
  // Every second page is the user's: see Machine.bitsOf.
  const at = random.pick(e.o.places.data.filter((page) => page & PAGE)) + random.below(PAGE - 8);
  const access = (): void => e.regAt([random.pick([0x8b, 0x89, 0x01])], e.freeRegister(), at + random.below(8));
  const clear = random.once(4) ? [0x9c, 0x81, 0x24, 0x24, 0xff, 0xff, 0xfb, 0xff, 0x9d] : [0x0f, 0x01, 0xca]; // by POPF
  if (random.once(6)) access();
  asm.bytes(0x0f, 0x01, 0xcb);
  if (random.once(2)) e.children(node);
  access();
  if (random.once(2) && !(e.reserved & RAX)) asm.bytes(0x0f, 0x20, 0xc0); // mov eax, cr0
  if (random.once(2)) e.children(node);
  access();
  asm.bytes(...clear);
  access();
  e.resume();
}

export const PAGING_PIECES: Readonly<Record<string, Piece>> = {
  pageTable,
  invalidate,
  space,
  protection,
  userAccess,
};
