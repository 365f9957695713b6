/** The items of a trace by name, with what each tells. Apart from what makes them, so that help need not load that. */
export const LOG_ITEMS = {
  decode: 'instructions as they are decoded, a trace at a time',
  int: 'exceptions and interrupts that are delivered, software interrupts',
  mmu: 'accesses and fetches that the TLB did not know',
  io: 'accesses to ports and to memory of devices',
  exec: 'every instruction that is executed, one at a time and slowly',
  region: 'regions that are translated: their instructions by blocks',
  wasm: 'the WebAssembly that regions become',
} as const;
export type LogItem = keyof typeof LOG_ITEMS;
/** The names in order. */
export const LOG_ITEM_NAMES = Object.keys(LOG_ITEMS) as readonly LogItem[];
