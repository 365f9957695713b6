/**
 * Resource descriptors, the contents of `_CRS` (ACPI 6.4).
 */
import { ByteWriter } from '../bytes.ts';
import { type Aml, buffer, terms } from './aml.ts';

const TAG = { irq: 0x23, io: 0x47, end: 0x79, dwordSpace: 0x87, wordSpace: 0x88 } as const;
const IO_DECODE_16 = 1;
const SPACE = { memory: 0, io: 1, bus: 2 } as const;

/** General flags of an address space: [3] maximum fixed, [2] minimum fixed, [1] subtractive, [0] consumer. */
const GENERAL_FIXED_PRODUCER = 0b1100;
/** Memory flags: [2:1] 1 cacheable, [0] 1 read-write. */
const MEMORY_READ_WRITE = 0b001;
const MEMORY_CACHEABLE = 0b010;
/** I/O flags: [1:0] 3 both ISA and non-ISA ranges. */
const IO_ENTIRE_RANGE = 0b11;
const WORD_SPACE_BODY = 13;
const DWORD_SPACE_BODY = 23;

/** `ResourceTemplate () { descriptors }`: the end tag is added, with checksum 0, which means "do not check". */
export function resourceTemplate(...descriptors: readonly Uint8Array[]): Aml {
  return buffer(terms(...descriptors, Uint8Array.of(TAG.end, 0)));
}

/** `IO (Decode16, port, port, 1, count)`. */
export function ioPorts(port: number, count: number): Uint8Array {
  return new ByteWriter().u8(TAG.io).u8(IO_DECODE_16).u16(port).u16(port).u8(1).u8(count).finish();
}

/** `IRQ (Edge, ActiveHigh, Exclusive) { line }`, line 0-15. */
export function irqEdge(line: number): Uint8Array {
  const EDGE_ACTIVE_HIGH = 1;
  return new ByteWriter()
    .u8(TAG.irq)
    .u16(1 << line)
    .u8(EDGE_ACTIVE_HIGH)
    .finish();
}

/** `WordBusNumber (ResourceProducer, …)`: buses `first` to `last`. */
export function busNumbers(first: number, last: number): Uint8Array {
  return wordSpace(SPACE.bus, 0, first, last);
}

/** `WordIO (ResourceProducer, …)`: ports `first` to `last`. */
export function ioWindow(first: number, last: number): Uint8Array {
  return wordSpace(SPACE.io, IO_ENTIRE_RANGE, first, last);
}

/** `DWordMemory (ResourceProducer, …)`: `[base, base + size)`, below 4 GiB. */
export function memoryWindow(base: number, size: number, cacheable: boolean): Uint8Array {
  const flags = MEMORY_READ_WRITE | (cacheable ? MEMORY_CACHEABLE : 0);
  return new ByteWriter()
    .u8(TAG.dwordSpace)
    .u16(DWORD_SPACE_BODY)
    .u8(SPACE.memory)
    .u8(GENERAL_FIXED_PRODUCER)
    .u8(flags)
    .u32(0)
    .u32(base)
    .u32(base + size - 1)
    .u32(0)
    .u32(size)
    .finish();
}

function wordSpace(type: number, typeFlags: number, first: number, last: number): Uint8Array {
  return new ByteWriter()
    .u8(TAG.wordSpace)
    .u16(WORD_SPACE_BODY)
    .u8(type)
    .u8(GENERAL_FIXED_PRODUCER)
    .u8(typeFlags)
    .u16(0)
    .u16(first)
    .u16(last)
    .u16(0)
    .u16(last - first + 1)
    .finish();
}
