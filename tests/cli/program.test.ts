// The program from outside: the launcher under both Node.js versions, help, usage errors and exit codes.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { plinth, systemNode } from './process.ts';

const cache = mkdtempSync(join(tmpdir(), 'plinth-cli-'));
const env = { XDG_CACHE_HOME: cache, PLINTH_DEBUG: '' };
afterAll(() => rmSync(cache, { recursive: true, force: true }));

describe('launcher', () => {
  it('runs with the pinned Node.js', async () => {
    expect(await plinth(['--version'])).toMatchObject({ code: 0, stdout: `${packageJson.version}\n`, stderr: '' });
  });

  it.skipIf(systemNode === undefined)("starts the pinned Node.js from the system's", async () => {
    const result = await plinth(['doctor'], { node: systemNode as string, env });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toMatch(/^ok +Node\.js +v24\./);
  });

  it.skipIf(systemNode === undefined)('passes exit codes on', async () => {
    expect((await plinth(['run', '--bogus'], { node: systemNode as string })).code).toBe(2);
  });
});

describe('help', () => {
  it('teaches with examples', async () => {
    const main = await plinth(['--help']);
    expect(main).toMatchObject({ code: 0, stderr: '' });
    expect(main.stdout).toContain('Examples:');
    const run = await plinth(['run', '--help']);
    for (const part of [
      '--kernel',
      '--initrd',
      '--append',
      '--memory',
      '--engine',
      '--timeout',
      '--log',
      '--cpu',
      '124',
    ]) {
      expect(run.stdout).toContain(part);
    }
  });
});

describe('usage errors end with 2 and one line', () => {
  it.each([
    [['run', '--bogus'], 'plinth: unknown option \'--bogus\'; see "plinth run --help"\n'],
    [['runn'], 'plinth: there is no command or image named "runn"; the images are debian,'],
    [['image'], 'plinth: image needs a command: ls, pull or path; see'],
    [['image', 'push'], "plinth: unknown command 'push'; see"],
    [['image', 'pull', 'nope'], 'plinth: there is no image named "nope"; the images are debian,'],
    [['run', '--memory', '8M'], 'plinth: --memory cannot be "8M"; give guest memory between 16M and 4G\n'],
    [['run', '--memory', '4097M'], 'plinth: --memory cannot be "4097M"; give guest memory between 16M and 4G\n'],
    [['run', '--engine', 'warp'], 'plinth: --engine cannot be "warp"; choose from kvm, bt, interp, auto\n'],
    [['run', '--timeout', '-3'], 'plinth: --timeout cannot be "-3"; give seconds above 0'],
    [['run', '--kernel'], "plinth: option '--kernel <file>' argument missing; see"],
    [['run', 'debian', '--kernel', 'x'], 'plinth: an image and --kernel were both given; give one of them\n'],
    [['run', 'a', 'b'], "plinth: too many arguments for 'run', expected 1 argument but got 2; see"],
  ])('%j', async (args, line) => {
    const result = await plinth(args, { env });
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain(line);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});

describe('other commands', () => {
  it('lists images that were not pulled', async () => {
    const { code, stdout } = await plinth(['image', 'ls'], { env });
    expect(code).toBe(0);
    expect(stdout.split('\n').filter((line) => line.includes('not pulled'))).toHaveLength(4);
  });

  it('says how to get an image that is not there', async () => {
    expect(await plinth(['image', 'path'], { env })).toMatchObject({
      code: 1,
      stderr: 'plinth: the image debian is not in the cache; run "plinth image pull debian"\n',
    });
  });

  it('doctor looks at everything and ends with 0', async () => {
    const { code, stdout } = await plinth(['doctor'], { env: { ...env, PATH: '/nonexistent' } });
    expect(code).toBe(0);
    for (const what of ['Node.js', 'tail calls', 'SIMD', 'threads', 'memory64', '/dev/kvm', 'cache folder']) {
      expect(stdout).toContain(what);
    }
    expect(stdout).toMatch(/^missing +apt-get +not found; .*--kernel/m);
    expect(stdout).toMatch(/^missing +gcc /m);
    expect(stdout).toMatch(/^warn +images +none pulled yet; /m);
  });
});
