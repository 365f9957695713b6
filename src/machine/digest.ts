/** A digest of a machine's state, by which two runs are compared. */
import type { SoftMemory } from '../hv/soft/vm.ts';

/** Memory is hashed in pieces of this many bytes, because the platform's hash wants all of its input at once. */
const PIECE = 16 << 20;

/**
 * SHA-256 over the digests of the RAM's pieces and over `rest`, which JSON can hold but for bigints.
 * @returns hexadecimal digits
 */
export async function stateDigest(memory: SoftMemory, rest: unknown): Promise<string> {
  const digests: string[] = [];
  for (const { gpa, size } of memory.memorySlots) {
    for (let at = 0; at < size; at += PIECE) {
      digests.push(await sha256(memory.read(gpa + at, Math.min(PIECE, size - at))));
    }
  }
  const text = JSON.stringify([digests, rest], (_key, v: unknown) => (typeof v === 'bigint' ? `${v}n` : v));
  return sha256(new TextEncoder().encode(text));
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new Uint8Array(bytes));
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, '0')).join('');
}
