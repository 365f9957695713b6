// Programs built by gcc, run by the host and in the guest, 64- and 32-bit: what they print must be the same.

import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { BOOT_SECONDS, build, hasImage, runGuest } from './guest.ts';

const image = await hasImage('debian');
/** Share of the work that the benchmark does. */
const SCALE = '0.05';

/** What a program measured and how often, and its checks: its lines without the times, which are the last two words. */
function checks(text: string): string[] {
  const lines = text.split(/\r?\n/).filter((line) => line.startsWith('@done '));
  return lines.map((line) => line.split(' ').slice(1, 4).join(' '));
}

describe.each([64, 32] as const)('%i-bit programs', (bits) => {
  const kernels = image ? build('bench/guest/kernels.c', bits) : undefined;
  const system = image ? build('bench/guest/system.c', bits) : undefined;

  it.skipIf(!kernels || !system)(
    'print in the guest what they print on the host',
    async () => {
      const native = [kernels!, system!].map((file) => spawnSync(file, [SCALE], { encoding: 'utf8' }).stdout).join('');
      expect(checks(native)).toHaveLength(11);
      const { code, stdout } = await runGuest({
        append: 'quiet',
        copy: { '/root/kernels': kernels!, '/root/system': system! },
        exec: `./kernels ${SCALE}; ./system ${SCALE}`,
      });
      expect(checks(stdout)).toEqual(checks(native));
      expect(code).toBe(0);
    },
    (BOOT_SECONDS + 30) * 1000,
  );
});
