// The console's own keys: Ctrl-A and one more key, taken out of what the user types.

/** What a key asks for. */
export type ConsoleAction = 'quit' | 'help' | 'stats' | 'engine' | 'unknown';

const prefix = 0x01;

const actions: { readonly [key: string]: ConsoleAction } = {
  x: 'quit',
  h: 'help',
  '?': 'help',
  s: 'stats',
  c: 'stats',
  e: 'engine',
};

/** What the help key prints. */
export const keyHelp = [
  'Ctrl-A X       quit Plinth at once (the guest gets no warning)',
  'Ctrl-A S       show what the machine has done so far',
  'Ctrl-A E       go on with the other engine, /dev/kvm or the translator',
  'Ctrl-A H       show these keys',
  'Ctrl-A Ctrl-A  send Ctrl-A to the guest',
];

/** Splits typed bytes into those for the guest and actions; remembers a Ctrl-A that ends a piece. */
export class EscapeFilter {
  #pending = false;

  /** Returns bytes and actions in the order they were typed. */
  feed(bytes: Uint8Array): (Uint8Array | ConsoleAction)[] {
    const result: (Uint8Array | ConsoleAction)[] = [];
    let start = 0;
    const pass = (end: number) => {
      if (end > start) result.push(bytes.subarray(start, end));
    };
    for (const [i, byte] of bytes.entries()) {
      if (this.#pending) {
        this.#pending = false;
        // A second Ctrl-A stays in the stream: it begins the next run of bytes to pass.
        start = byte === prefix ? i : i + 1;
        if (byte !== prefix) result.push(actions[String.fromCharCode(byte).toLowerCase()] ?? 'unknown');
      } else if (byte === prefix) {
        pass(i);
        start = bytes.length;
        this.#pending = true;
      }
    }
    pass(bytes.length);
    return result;
  }
}
