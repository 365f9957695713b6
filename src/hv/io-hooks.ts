/** The I/O hooks of a VM: who answers which port or gpa without an exit. */
import { type Exit, HvError, type IoHook } from './contract.ts';

export class IoHooks {
  private hooks: IoHook[] = [];

  /** @returns what takes it away again. @throws HvError when it overlaps another */
  add(hook: IoHook): () => void {
    const taken = this.hooks.some(
      (h) => h.space === hook.space && h.base < hook.base + hook.length && hook.base < h.base + h.length,
    );
    if (taken) throw new HvError(`a hook at ${hook.space} 0x${hook.base.toString(16)} exists`, 'take it away first');
    this.hooks = [...this.hooks, hook];
    return () => {
      this.hooks = this.hooks.filter((h) => h !== hook);
    };
  }
  /** The hook that covers all of an access. */
  find(space: 'port' | 'mmio', address: number, size: number): IoHook | undefined {
    return this.hooks.find((h) => h.space === space && address >= h.base && address + size <= h.base + h.length);
  }
  get any(): boolean {
    return this.hooks.length > 0;
  }

  /** Lets a hook answer an exit; false when none covers it. */
  answer(exit: Extract<Exit, { reason: 'io' | 'mmio' }>): boolean {
    if (!this.any) return false;
    const io = exit.reason === 'io';
    const address = io ? exit.port : Number(exit.gpa);
    const size = io ? exit.size : exit.data.length;
    const hook = this.find(io ? 'port' : 'mmio', address, size);
    if (!hook) return false;
    const isWrite = io ? exit.direction === 'out' : exit.isWrite;
    for (let at = 0; at < exit.data.length; at += size) {
      if (isWrite) hook.write(address, size, littleEndian(exit.data, at, size));
      else putLittleEndian(exit.data, at, size, hook.read(address, size));
    }
    return true;
  }
}

/** An unsigned number of `size` (1-8) bytes. */
export function littleEndian(bytes: Uint8Array, at: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i]!);
  return value;
}
export function putLittleEndian(bytes: Uint8Array, at: number, size: number, value: bigint): void {
  for (let i = 0; i < size; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}
