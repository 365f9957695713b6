/** The kernel's structures of interrupt controllers, timer and routes <-> the contract's states. */
import type { GsiRoute, IoApicState, PicState, PitChannelState, PitState } from '../contract.ts';
import { IO_APIC, IRQCHIP, PIC_FIELDS, PIT, PIT_CHANNEL, PIT_CHANNEL_BYTES, ROUTE, SIZE } from './abi.ts';
import { viewOf } from './codec.ts';

/** `struct kvm_irqchip` for a chip, to be filled by the kernel. */
export function irqchipOf(chip: number): Uint8Array {
  const bytes = new Uint8Array(SIZE.irqchip);
  viewOf(bytes).setUint32(IRQCHIP.CHIP, chip, true);
  return bytes;
}

export function readPic(irqchip: Uint8Array): PicState {
  return Object.fromEntries(PIC_FIELDS.map((n, i) => [n, irqchip[IRQCHIP.STATE + i]!])) as unknown as PicState;
}
export function writePic(irqchip: Uint8Array, state: PicState): void {
  PIC_FIELDS.forEach((n, i) => {
    irqchip[IRQCHIP.STATE + i] = state[n];
  });
}

export function readIoApic(irqchip: Uint8Array): IoApicState {
  const v = viewOf(irqchip.subarray(IRQCHIP.STATE));
  return {
    base: v.getBigUint64(IO_APIC.BASE, true),
    select: v.getUint32(IO_APIC.SELECT, true),
    id: v.getUint32(IO_APIC.ID, true),
    irr: v.getUint32(IO_APIC.IRR, true),
    redirection: Array.from({ length: IO_APIC.PINS }, (_, i) => v.getBigUint64(IO_APIC.REDIRECTION + i * 8, true)),
  };
}
export function writeIoApic(irqchip: Uint8Array, state: IoApicState): void {
  const v = viewOf(irqchip.subarray(IRQCHIP.STATE));
  v.setBigUint64(IO_APIC.BASE, state.base, true);
  v.setUint32(IO_APIC.SELECT, state.select, true);
  v.setUint32(IO_APIC.ID, state.id, true);
  v.setUint32(IO_APIC.IRR, state.irr, true);
  for (let i = 0; i < IO_APIC.PINS; i++) {
    v.setBigUint64(IO_APIC.REDIRECTION + i * 8, BigInt.asUintN(64, state.redirection[i] ?? 0n), true);
  }
}

/** @param now CLOCK_MONOTONIC in nanoseconds */
export function readPit(bytes: Uint8Array, now: bigint): PitState {
  const v = viewOf(bytes);
  const channel = (at: number): PitChannelState => ({
    ...(Object.fromEntries(
      PIT_CHANNEL_BYTES.map((n, i) => [n, v.getUint8(at + PIT_CHANNEL.BYTES + i)]),
    ) as unknown as PitChannelState),
    count: v.getUint32(at + PIT_CHANNEL.COUNT, true),
    latchedCount: v.getUint16(at + PIT_CHANNEL.LATCHED_COUNT, true),
    age: Math.max(0, Number(now - v.getBigInt64(at + PIT_CHANNEL.LOAD_TIME, true))),
  });
  return {
    channels: [channel(0), channel(PIT.CHANNEL), channel(2 * PIT.CHANNEL)],
    speaker: (v.getUint32(PIT.FLAGS, true) & PIT.SPEAKER_ON) !== 0,
  };
}
export function writePit(bytes: Uint8Array, state: PitState, now: bigint): void {
  const v = viewOf(bytes);
  state.channels.forEach((c, n) => {
    const at = n * PIT.CHANNEL;
    v.setUint32(at + PIT_CHANNEL.COUNT, c.count, true);
    v.setUint16(at + PIT_CHANNEL.LATCHED_COUNT, c.latchedCount, true);
    PIT_CHANNEL_BYTES.forEach((name, i) => {
      v.setUint8(at + PIT_CHANNEL.BYTES + i, c[name]);
    });
    v.setBigInt64(at + PIT_CHANNEL.LOAD_TIME, now - BigInt(Math.round(c.age)), true);
  });
  v.setUint32(PIT.FLAGS, state.speaker ? PIT.SPEAKER_ON : 0, true);
}

const CHIP = { master: IRQCHIP.MASTER, slave: IRQCHIP.SLAVE, 'io-apic': IRQCHIP.IO_APIC } as const;

/** `struct kvm_irq_routing` with its entries. */
export function routeList(routes: readonly GsiRoute[]): Uint8Array {
  const bytes = new Uint8Array(SIZE.routesHead + routes.length * SIZE.route);
  const v = viewOf(bytes);
  v.setUint32(0, routes.length, true);
  routes.forEach((r, i) => {
    const at = SIZE.routesHead + i * SIZE.route;
    v.setUint32(at + ROUTE.GSI, r.gsi, true);
    v.setUint32(at + ROUTE.TYPE, r.to === 'message' ? ROUTE.MSI : ROUTE.IRQCHIP, true);
    v.setUint32(
      at + (r.to === 'message' ? ROUTE.ADDRESS : ROUTE.CHIP),
      r.to === 'message' ? r.address : CHIP[r.to],
      true,
    );
    v.setUint32(at + (r.to === 'message' ? ROUTE.DATA : ROUTE.PIN), r.to === 'message' ? r.data : r.pin, true);
  });
  return bytes;
}
