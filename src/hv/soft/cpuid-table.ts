/** Answers CPUID from a list of leaves, the way KVM does (SDM vol.2 CPUID). */
import { CR4 } from '../../isa/layout.ts';
import type { CpuidEntry } from '../contract.ts';
import { xsaveSize } from '../cpu-model.ts';

const APIC_ENABLED = 1n << 11n;
const ECX_OSXSAVE = 1 << 27;
const EDX_APIC = 1 << 9;
const ECX_XSAVE = 1 << 26;
const XSAVE_LEAF = 0xd;
const GROUP = 0x8000_0000;

export class CpuidTable {
  private readonly entries = new Map<string, CpuidEntry>();
  private maxBasic = 0;

  set(entries: readonly CpuidEntry[]): void {
    this.entries.clear();
    for (const e of entries) this.entries.set(key(e.leaf, e.subleaf), e);
    this.maxBasic = this.find(0, 0)?.eax ?? 0;
  }
  private find(leaf: number, subleaf: number): CpuidEntry | undefined {
    return this.entries.get(key(leaf, undefined)) ?? this.entries.get(key(leaf, subleaf));
  }

  /** Components of XCR0 that the leaves say exist: EDX:EAX of leaf 0DH; 0 without XSAVE. */
  get xcr0Mask(): bigint {
    const e = this.find(XSAVE_LEAF, 0);
    const xsave = ((this.find(1, 0)?.ecx ?? 0) & ECX_XSAVE) !== 0;
    return e && xsave ? BigInt(e.eax >>> 0) | (BigInt(e.edx >>> 0) << 32n) : 0n;
  }

  /** EAX, EBX, ECX, EDX. A leaf above the highest basic one gives that one's; an unknown one zeros. */
  query(leaf: number, subleaf: number, cr4: bigint, apicBase: bigint, xcr0: bigint): [number, number, number, number] {
    let e = this.find(leaf, subleaf);
    if (!e && leaf > this.maxBasic && leaf < GROUP) e = this.find(this.maxBasic, subleaf);
    if (!e) return [0, 0, 0, 0];
    // Subleaves 0 and 1: the size of the area with the components in use.
    if (e.leaf === XSAVE_LEAF && e.eax !== 0 && subleaf < 2) return [e.eax, xsaveSize(xcr0), e.ecx, e.edx];
    if (e.leaf !== 1) return [e.eax, e.ebx, e.ecx, e.edx];
    const osxsave = cr4 & BigInt(CR4.OSXSAVE) ? ECX_OSXSAVE : 0;
    const apic = apicBase & APIC_ENABLED ? e.edx : e.edx & ~EDX_APIC;
    return [e.eax, e.ebx, (e.ecx & ~ECX_OSXSAVE) | osxsave, apic];
  }
}

const key = (leaf: number, subleaf: number | undefined): string => `${leaf}:${subleaf ?? ''}`;
