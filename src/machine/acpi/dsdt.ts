/**
 * The DSDT: what is on the board that cannot be found by probing. Soft off, processors, the PCI host bridge
 * with its windows and interrupt routing, and the ISA devices.
 */
import {
  GPE0_LENGTH,
  IRQ,
  PCI_MMIO_BASE,
  PCI_MMIO_SIZE,
  PORT,
  pciIntxGsi,
  pciIntxIsaIrq,
  SLEEP_TYPE_S5,
} from '../memory-map.ts';
import {
  type Aml,
  argument,
  device,
  eisaId,
  ifTrue,
  integer,
  method,
  name,
  namePath,
  pack,
  returnValue,
  scope,
  store,
  string,
  terms,
} from './aml.ts';
import { busNumbers, ioPorts, ioWindow, irqEdge, memoryWindow, resourceTemplate } from './resources.ts';
import { buildTable } from './table.ts';

const DSDT_REVISION = 2;
const PCI_DEVICES = 32;
const PCI_PINS = 4;
const VGA_WINDOW_BASE = 0xa0000;
const VGA_WINDOW_SIZE = 0x20000;

/** Set by the guest through `_PIC`: 1 when it uses the I/O APIC. */
const PIC_MODE = '\\PICF';

/** The DSDT of a machine with `cpus` processors. */
export function buildDsdt(cpus: number): Uint8Array {
  return buildTable(
    'DSDT',
    DSDT_REVISION,
    terms(
      name(PIC_MODE, integer(0)),
      method('\\_PIC', 1, store(argument(0), namePath(PIC_MODE))),
      name('\\_S5', pack(integer(SLEEP_TYPE_S5), integer(SLEEP_TYPE_S5), integer(0), integer(0))),
      scope('\\_SB', ...processors(cpus), pciHostBridge(), ...isaDevices()),
    ),
  );
}

/** Processor devices; `_UID` is the processor UID of the MADT. */
function processors(cpus: number): Aml[] {
  return Array.from({ length: cpus }, (_, id) =>
    device(`C${id.toString(16).toUpperCase().padStart(3, '0')}`, hid('ACPI0007'), uid(id)),
  );
}

function pciHostBridge(): Aml {
  return device(
    'PCI0',
    hid('PNP0A03'),
    uid(0),
    name('_BBN', integer(0)),
    name('_SEG', integer(0)),
    name(
      '_CRS',
      resourceTemplate(
        busNumbers(0, 0xff),
        ioPorts(PORT.pciConfigAddress, 8),
        ioWindow(0, PORT.pciConfigAddress - 1),
        ioWindow(PORT.pciConfigAddress + 8, 0xffff),
        memoryWindow(VGA_WINDOW_BASE, VGA_WINDOW_SIZE, true),
        memoryWindow(PCI_MMIO_BASE, PCI_MMIO_SIZE, false),
      ),
    ),
    name('APRT', routingTable(pciIntxGsi)),
    name('PPRT', routingTable(pciIntxIsaIrq)),
    method('_PRT', 0, ifTrue(namePath(PIC_MODE), returnValue(namePath('APRT'))), returnValue(namePath('PPRT'))),
  );
}

/** Entries of `_PRT` (ACPI 6.2.13): device in the high word of the address, pin, no link device, interrupt. */
function routingTable(route: (device: number, pin: number) => number): Aml {
  const ANY_FUNCTION = 0xffff;
  const entries: Aml[] = [];
  for (let slot = 0; slot < PCI_DEVICES; slot++) {
    for (let pin = 0; pin < PCI_PINS; pin++) {
      const address = slot * 0x10000 + ANY_FUNCTION;
      entries.push(pack(integer(address), integer(pin), integer(0), integer(route(slot, pin))));
    }
  }
  return pack(...entries);
}

/** Devices at fixed ISA ports. The power button is a fixed feature (FADT), so it has no device here. */
function isaDevices(): Aml[] {
  return [
    isaDevice('PIC', 'PNP0000', ioPorts(PORT.pic1, 2), ioPorts(PORT.pic2, 2), ioPorts(PORT.elcr, 2), irqEdge(2)),
    isaDevice('PIT', 'PNP0100', ioPorts(PORT.pit, 4), irqEdge(IRQ.pit)),
    isaDevice('SPKR', 'PNP0800', ioPorts(PORT.systemControlB, 1)),
    isaDevice('RTC', 'PNP0B00', ioPorts(PORT.rtc, 2), irqEdge(IRQ.rtc)),
    isaDevice('KBD', 'PNP0303', ioPorts(PORT.i8042Data, 1), ioPorts(PORT.i8042Command, 1), irqEdge(IRQ.keyboard)),
    isaDevice('MOU', 'PNP0F13', irqEdge(IRQ.mouse)),
    isaDevice('COM1', 'PNP0501', ioPorts(PORT.com1, 8), irqEdge(IRQ.com1)),
    // Motherboard resources: the ACPI registers, so that nothing is placed over them.
    isaDevice('MBRD', 'PNP0C02', ioPorts(PORT.pm1aEvent, PORT.gpe0 + GPE0_LENGTH - PORT.pm1aEvent)),
  ];
}

/** A device that is present, with `_UID` 1 and its resources. */
function isaDevice(segment: string, id: string, ...resources: readonly Uint8Array[]): Aml {
  const PRESENT_ENABLED_SHOWN_WORKING = 0xf;
  return device(
    segment,
    hid(id),
    uid(1),
    name('_STA', integer(PRESENT_ENABLED_SHOWN_WORKING)),
    name('_CRS', resourceTemplate(...resources)),
  );
}

function hid(id: string): Aml {
  return name('_HID', id.startsWith('ACPI') ? string(id) : eisaId(id));
}

function uid(value: number): Aml {
  return name('_UID', integer(value));
}
