// Descriptor tables, a 32-bit TSS and handlers for streams outside of long mode, and a real-mode vector table, so that
// exceptions there are delivered and not only shut the processor down. All lie in identity-mapped low memory.
import { ATTR, SEG } from '../../src/isa/layout.ts';
import { PAGE } from '../differential/case.ts';
import { type Guest, SELECTOR } from '../differential/guest.ts';

const TSS = 0x400;
const IDT = 0x800;
const HANDLER_SIZE = 16;
const REAL_HANDLER = 0x500;
/** Vectors that push an error code (SDM vol.3 table 6-1). */
const WITH_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const HLT = 0xf4;

/** Code that drops the error code, steps over one byte of what faulted, and returns. */
const RETURN64 = [0x48, 0xff, 0x04, 0x24, 0x48, 0xcf]; // inc qword [rsp]; iretq
const DROP64 = [0x48, 0x83, 0xc4, 0x08]; // add rsp, 8
const RETURN32 = [0xff, 0x04, 0x24, 0xcf]; // inc dword [esp]; iretd
const DROP32 = [0x83, 0xc4, 0x04]; // add esp, 4
const RETURN16 = [0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d, 0xcf]; // push bp; mov bp, sp; inc word [bp+2]; pop bp; iret

/** A handler of long mode: HLT, or one that goes on behind the instruction's first byte. */
export function handler64(vector: number, returns: boolean): Uint8Array {
  if (!returns) return Uint8Array.of(HLT);
  return Uint8Array.of(...(WITH_ERROR_CODE.has(vector) ? DROP64 : []), ...RETURN64);
}

function handler32(vector: number, returns: boolean): Uint8Array {
  if (!returns) return Uint8Array.of(HLT);
  return Uint8Array.of(...(WITH_ERROR_CODE.has(vector) ? DROP32 : []), ...RETURN32);
}

export class LegacyTables {
  private readonly guest: Guest;
  private readonly at: number;

  constructor(guest: Guest, returns: boolean) {
    this.guest = guest;
    this.at = guest.frames(2);
    const { view, bytes, ram } = guest;
    const base = ram + this.at;
    const gdt = [
      0n,
      0x00cf9b000000ffffn,
      0x00cf93000000ffffn,
      0x00cffb000000ffffn,
      0x00cff3000000ffffn,
      0x00cffb000000ffffn,
      0x000ffb000000ffffn,
    ];
    gdt.forEach((d, i) => {
      view.setBigUint64(base + i * 8, d, true);
    });
    view.setUint32(base + TSS + 4, guest.kernelStack, true);
    view.setUint32(base + TSS + 8, SELECTOR.KERNEL_DATA, true);
    view.setUint16(base + TSS + 0x66, 0x68, true);
    for (let vector = 0; vector < 256; vector++) {
      const target = this.at + PAGE + vector * HANDLER_SIZE;
      const gate = BigInt(target & 0xffff) | (BigInt(SELECTOR.KERNEL_CODE) << 16n) | (0xee00n << 32n);
      view.setBigUint64(base + IDT + vector * 8, gate | (BigInt(target >>> 16) << 48n), true);
      bytes.set(handler32(vector, returns), ram + target);
      view.setUint32(ram + vector * 4, REAL_HANDLER, true);
    }
    bytes.set(returns ? RETURN16 : [HLT], ram + REAL_HANDLER);
  }

  /** Makes the tables the processor's: the vector table at 0 in real mode, else the 32-bit ones. */
  use(real: boolean): void {
    const { guest } = this;
    guest.set64('gdtr_base', BigInt(this.at));
    guest.set32('gdtr_limit', 0x7f);
    guest.set64('idtr_base', real ? 0n : BigInt(this.at + IDT));
    guest.set32('idtr_limit', real ? 0x3ff : 0x7ff);
    guest.segment(SEG.tr, SELECTOR.TSS, ATTR.P | 11, BigInt(this.at + TSS), 0x67);
  }
}
