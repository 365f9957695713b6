// `plinth doctor`: what this host offers, one line each, and what to do about what is missing.

import { spawnSync } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { cacheDir, cachedNames, defaultImageName, readManifest } from '../../image/pull.ts';

/** The verdict on one thing. `advice` says what to do; it is left out when all is well. */
export interface Finding {
  readonly state: 'ok' | 'warn' | 'missing';
  readonly what: string;
  readonly detail: string;
  readonly advice?: string;
}

const wasmHeader = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

// Each is the smallest module that uses the feature, as sections after the header:
// section id, byte length, content (WebAssembly core specification 5.5).
const wasmFeatures: readonly { name: string; sections: number[]; need: 'needed' | 'used' | 'later'; why: string }[] = [
  {
    name: 'tail calls',
    // type () -> (); one function whose body is `return_call 0`
    sections: [0x01, 4, 1, 0x60, 0, 0, 0x03, 2, 1, 0, 0x0a, 6, 1, 4, 0, 0x12, 0, 0x0b],
    need: 'needed',
    why: 'the interpreter chains instructions by them',
  },
  {
    name: 'SIMD',
    // type () -> v128; body `i32.const 0, i8x16.splat`
    sections: [0x01, 5, 1, 0x60, 0, 1, 0x7b, 0x03, 2, 1, 0, 0x0a, 8, 1, 6, 0, 0x41, 0, 0xfd, 0x0f, 0x0b],
    need: 'needed',
    why: 'SSE registers live in them',
  },
  {
    name: 'threads (shared memory)',
    // memory with limits flags 3: shared, with a maximum
    sections: [0x05, 4, 1, 0x03, 1, 1],
    need: 'used',
    why: 'background work needs them',
  },
  {
    name: 'memory64',
    // memory with limits flags 4: 64-bit addresses
    sections: [0x05, 3, 1, 0x04, 1],
    need: 'later',
    why: 'machine memory beyond 4 GiB would need it',
  },
];

/** True when this engine accepts a module of these sections. */
function validates(sections: readonly number[]): boolean {
  return WebAssembly.validate(Uint8Array.from([...wasmHeader, ...sections]));
}

function checkNode(): Finding {
  const ok = Number(process.versions.node.split('.')[0]) >= 24;
  const detail = `${process.version} at ${process.execPath}`;
  return ok
    ? { state: 'ok', what: 'Node.js', detail }
    : { state: 'missing', what: 'Node.js', detail, advice: 'run "npm ci", which brings Node.js 24' };
}

function checkWasm(): Finding[] {
  return wasmFeatures.map(({ name, sections, need, why }): Finding => {
    const what = `Wasm ${name}`;
    if (validates(sections)) return { state: 'ok', what, detail: 'supported' };
    const advice = need === 'later' ? 'nothing to do, it is not used yet' : 'use Node.js 24 or newer';
    return { state: need === 'needed' ? 'missing' : 'warn', what, detail: `not supported: ${why}`, advice };
  });
}

/** /dev/kvm, what it was measured to be worth, and which engine follows from it. */
async function checkEngines(): Promise<Finding[]> {
  const what = '/dev/kvm';
  const { examineKvm, KERNEL_NS_LIMIT } = await import('../../hv/kvm/evidence.ts');
  const { chooseEngine } = await import('../../machine/engine-choice.ts');
  const found = examineKvm();
  const choice = chooseEngine('auto', () => found, KERNEL_NS_LIMIT);
  const engine: Finding = { state: 'ok', what: 'engine auto', detail: `${choice.engine}: ${choice.reason}` };
  if (!found.usable) {
    const { message, advice } = found.problem ?? { message: 'cannot be used', advice: 'nothing to do' };
    return [{ state: 'warn', what, detail: message, advice }, engine];
  }
  const ns = (v: number | undefined): string => (v === undefined ? '?' : v < 10 ? v.toFixed(2) : v.toFixed(0));
  const speeds = `guest kernel code ${ns(found.kernelNs)} ns an instruction, user code ${ns(found.userNs)} ns`;
  const detail = `API ${found.apiVersion}, ${speeds}, exit ${ns(found.exitNs)} ns`;
  const has = (there: boolean | undefined, name: string): string => `${there ? '' : 'no '}${name}`;
  const parts: Finding = {
    state: 'ok',
    what: '/dev/kvm offers',
    detail: [
      has(found.irqchip, 'interrupt controllers in the kernel'),
      has(found.paging32, '32-bit paging'),
      has(found.systemCalls, 'system calls from level 3'),
      has(found.tscScaling, 'TSC scaling'),
      has(found.hypercalls, 'exits for hypercalls'),
    ].join(', '),
  };
  const slow = (found.kernelNs ?? 0) > KERNEL_NS_LIMIT;
  const advice = 'the host emulates guest kernels: enable nested virtualization there to use it';
  return [slow ? { state: 'warn', what, detail, advice } : { state: 'ok', what, detail }, parts, engine];
}

/** The first line a tool prints about its version; undefined when there is no such tool. */
function versionOf(tool: string): string | undefined {
  const result = spawnSync(tool, ['--version'], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  return result.status === 0 ? result.stdout.split('\n')[0]?.trim() : undefined;
}

function checkTool(tool: string, advice: string): Finding {
  const version = versionOf(tool);
  if (version === undefined) return { state: 'missing', what: tool, detail: 'not found', advice };
  return { state: 'ok', what: tool, detail: version };
}

/** The nearest folder above `path`, or `path` itself, that exists. */
async function existingFolder(path: string): Promise<string> {
  let folder = path;
  while (folder !== dirname(folder) && !(await stat(folder).catch(() => undefined))) folder = dirname(folder);
  return folder;
}

async function checkCache(): Promise<Finding> {
  const what = 'cache folder';
  const folder = cacheDir();
  try {
    await access(await existingFolder(folder), constants.W_OK);
    return { state: 'ok', what, detail: folder };
  } catch {
    return {
      state: 'warn',
      what,
      detail: `${folder} cannot be written`,
      advice: 'set XDG_CACHE_HOME to a folder of yours',
    };
  }
}

async function checkImages(): Promise<Finding> {
  const what = 'images';
  const sound: string[] = [];
  const damaged: string[] = [];
  for (const name of await cachedNames()) {
    const manifest = await readManifest(name).catch(() => undefined);
    (manifest === undefined ? damaged : sound).push(manifest === undefined ? name : `${name} (${manifest.release})`);
  }
  if (damaged.length > 0) {
    const advice = `run "plinth image pull ${damaged[0]}"`;
    return { state: 'warn', what, detail: `damaged: ${damaged.join(', ')}`, advice };
  }
  if (sound.length > 0) return { state: 'ok', what, detail: sound.join(', ') };
  const advice = `"plinth run" pulls ${defaultImageName}, or run "plinth image pull"`;
  return { state: 'warn', what, detail: 'none pulled yet', advice };
}

/** Looks at everything. Never throws for what it finds. */
export async function examine(): Promise<Finding[]> {
  return [
    checkNode(),
    ...checkWasm(),
    ...(await checkEngines()),
    checkTool('apt-get', 'images are made with apt: use a Debian-based system, or give --kernel and --initrd'),
    checkTool('gcc', 'only the tests need it: apt-get install gcc'),
    await checkCache(),
    await checkImages(),
  ];
}

/** The command: prints the findings; finding fault is no failure, so the code is 0. */
export async function doctor(): Promise<number> {
  const findings = await examine();
  const width = Math.max(...findings.map((finding) => finding.what.length));
  for (const { state, what, detail, advice } of findings) {
    const line = `${state.padEnd('missing'.length)}  ${what.padEnd(width)}  ${detail}`;
    process.stdout.write(`${line}${advice === undefined ? '' : `; ${advice}`}\n`);
  }
  return 0;
}
