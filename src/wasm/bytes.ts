/** Bytes that are appended to, and the numbers of WebAssembly's binary format (core specification 5.2.2). */

export class ByteSink {
  private bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  constructor(room = 1024) {
    this.bytes = new Uint8Array(room);
  }

  push(byte: number): void {
    if (this.length === this.bytes.length) this.grow(this.length + 1);
    this.bytes[this.length++] = byte;
  }
  append(bytes: readonly number[]): void {
    const end = this.length + bytes.length;
    if (end > this.bytes.length) this.grow(end);
    for (let i = 0, at = this.length; at < end; i++, at++) this.bytes[at] = bytes[i]!;
    this.length = end;
  }
  appendBytes(bytes: Uint8Array): void {
    const end = this.length + bytes.length;
    if (end > this.bytes.length) this.grow(end);
    this.bytes.set(bytes, this.length);
    this.length = end;
  }
  /** Unsigned LEB128 of 32 bits. */
  uleb(n: number): void {
    let rest = n >>> 0;
    while (rest > 0x7f) {
      this.push((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.push(rest);
  }
  /** Signed LEB128 of a safe integer. */
  sleb(n: number): void {
    let rest = n;
    while (rest < -64 || rest > 63) {
      this.push((rest & 0x7f) | 0x80);
      rest = Math.floor(rest / 128);
    }
    this.push(rest & 0x7f);
  }
  /** Overwrites two bytes with the signed LEB128 of -8192 to 8191, in as many. */
  putSleb2(at: number, n: number): void {
    this.bytes[at] = (n & 0x7f) | 0x80;
    this.bytes[at + 1] = (n >> 7) & 0x7f;
  }
  /** Signed LEB128 of up to 64 bits. */
  slebBig(n: bigint): void {
    let rest = n;
    while (rest < -64n || rest > 63n) {
      this.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.push(Number(rest & 0x7fn));
  }
  /** What there is, until more is appended. */
  view(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }
  /** A copy of what there is. */
  copy(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }
  private grow(least: number): void {
    const bytes = new Uint8Array(Math.max(least, this.bytes.length * 2));
    bytes.set(this.view());
    this.bytes = bytes;
  }
}
