// Real kernels on packages' own images: every image by every way to boot it, to user space and power-off.

import { describe, expect, it } from 'vitest';
import { plinth } from '../cli/process.ts';
import { BOOT_SECONDS, hasImage, runGuest } from './guest.ts';

const timeout = (BOOT_SECONDS + 30) * 1000;
const script = 'uname -a; grep -E "model name|flags|bogomips" /proc/cpuinfo; date +%Y; cat /proc/interrupts; dmesg';

const BOOTS = [
  ['debian', 'elf', 'x86_64'],
  ['debian', 'bzimage', 'x86_64'],
  ['debian', 'pvh', 'x86_64'],
  ['debian-generic', 'elf', 'x86_64'],
  ['debian-686', 'elf', 'i686'],
  ['debian-686-pae', 'elf', 'i686'],
  ['debian-686-pae', 'bzimage', 'i686'],
] as const;
const images = new Map<string, boolean>();
for (const name of new Set(BOOTS.map(([image]) => image))) images.set(name, await hasImage(name));

describe('Debian kernels', { timeout }, () => {
  for (const [image, boot, machine] of BOOTS) {
    it.skipIf(!images.get(image))(`${image} boots as ${boot} and powers off`, async () => {
      const { code, stdout, stderr } = await runGuest({ image, boot, exec: script });
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(new RegExp(`Linux plinth 6\\.\\S+ .* ${machine} GNU/Linux`));
      expect(stdout).toMatch(/model name\s*: Plinth virtual CPU/);
      expect(stdout).toMatch(/flags\s*: .*\bsse2\b/);
      expect(stdout).toContain(`${new Date().getUTCFullYear()}`);
      expect(stdout).toMatch(/IO-APIC +4-edge +ttyS0/);
      // Time comes of KVM's clock, and nothing is timed by loops.
      expect(stdout).toContain('kvm-clock: Using msrs 4b564d01 and 4b564d00');
      expect(stdout).toContain('Calibrating delay loop (skipped) preset value');
      expect(stdout).not.toMatch(/Refined TSC|calibrating APIC timer|PIT calibration/i);
      expect(stdout).toContain('reboot: Power down');
    });
  }
});

describe.skipIf(!images.get('debian'))('how a guest ends', { timeout }, () => {
  it('ends a reboot with 3', async () => {
    const { code, stdout, stderr } = await runGuest({ exec: 'reboot -f' });
    expect(stdout).toContain('reboot: Restarting system');
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: '[plinth] the guest asked for a reset, and Plinth does not start it again\n',
    });
  });

  it('ends a panic with 3', async () => {
    const args = ['--memory', '256M', '--append', 'quiet cryptomgr.notests', '--timeout', String(BOOT_SECONDS)];
    const { code, stdout } = await plinth(['run', ...args, '--exec', 'echo c >/proc/sysrq-trigger'], { input: '' });
    expect(stdout).toContain('Kernel panic - not syncing: sysrq triggered crash');
    expect(code).toBe(3);
  });

  it('gives a shell that answers, and ends it by poweroff', async () => {
    const typed = ['echo $((6 * 7))\r', 'poweroff\r'];
    const args = ['--memory', '256M', '--append', 'quiet cryptomgr.notests', '--timeout', String(BOOT_SECONDS)];
    let prompts = 0;
    const { code, stdout } = await plinth(['run', ...args], {
      onOutput: (text, child) => {
        const seen = text.split('plinth:~# ').length - 1;
        while (prompts < seen) child.stdin?.write(typed[prompts++] ?? '');
      },
    });
    expect(stdout).toMatch(/echo \$\(\(6 \* 7\)\)\s+42\s/);
    expect(code).toBe(0);
  });
});
