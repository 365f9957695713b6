// The rules of which layer of src/ may import what, and the check of one file against them.
// Kept apart from check-layers.ts so that the rules themselves can be tested.

/** Layers from the bottom up. A file may import its own layer and those before it. */
export const layerOrder = [
  'isa',
  'wasm',
  'runtime',
  'engine',
  'hv',
  'devices',
  'machine',
  'image',
  'host',
  'cluster',
  'server',
  'cli',
] as const;

/** Folders that run in Node.js only; all others must also run in a browser. */
const nodeFolders = ['src/hv/kvm/', 'src/image/', 'src/server/', 'src/cli/'];

/** Imports that the order alone would allow. */
const forbidden: readonly (readonly [from: string, to: string, why: string])[] = [
  ['wasm', 'isa', 'the assembler knows no x86'],
  ['devices', 'engine', 'a device knows nothing of how instructions are run'],
];

/** Globals that exist in Node.js and not in a browser. */
const nodeGlobals = /(?<![\w.$'"-])(?:process|Buffer|__dirname|__filename)(?=\s*[.([])/g;

const importPattern =
  /(?:^|[;\s}])(?:import|export)\s[^'"`;()]*?from\s*['"](?<from>[^'"\n]+)|(?:^|[;\s}])import\s*['"](?<bare>[^'"\n]+)|\b(?:import|require)\s*\(\s*['"`](?<call>[^'"`\n]+)/g;

/** Blanks comments and keeps line breaks, so that a position still tells its line. Strings are kept whole. */
export function withoutComments(source: string): string {
  const tokens = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
  return source.replace(tokens, (token) => (token.startsWith('/') ? token.replace(/[^\n]/g, ' ') : token));
}

/** The layer of a path relative to the repository (`src/devices/pic.ts` -> `devices`), if it is in one. */
function layerOf(path: string): string | undefined {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

/** Resolves a relative import against the importing file, both relative to the repository. */
function resolveImport(file: string, specifier: string): string {
  const parts = file.split('/').slice(0, -1);
  for (const part of specifier.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function checkImport(file: string, specifier: string): string | undefined {
  const layer = layerOf(file) ?? '';
  if (specifier.startsWith('node:')) {
    return nodeFolders.some((folder) => file.startsWith(folder))
      ? undefined
      : `imports ${specifier}, but src/${layer} must also run in a browser`;
  }
  if (!specifier.startsWith('.')) return undefined;
  const path = resolveImport(file, specifier);
  // The version has one place, and only the command line tells it.
  if (path === 'package.json' && layer === 'cli') return undefined;
  const target = layerOf(`${path}/`);
  if (target === undefined) return `imports ${specifier}, which is outside src`;
  if (target === layer) return undefined;
  const names: readonly string[] = layerOrder;
  if (!names.includes(target)) return `imports ${specifier}, but ${target} is not a layer`;
  if (names.indexOf(target) > names.indexOf(layer)) return `imports ${specifier}, but ${layer} is below ${target}`;
  const rule = forbidden.find(([from, to]) => from === layer && to === target);
  return rule && `imports ${specifier}, but ${rule[2]}`;
}

/**
 * Checks one source file.
 * @param file path relative to the repository, with `/`
 * @param source the file's text
 * @returns one line for each violation, `path:line: what`
 */
export function checkFile(file: string, source: string): string[] {
  const layer = layerOf(file);
  if (layer === undefined || !(layerOrder as readonly string[]).includes(layer)) {
    return [`${file}:1: is in no known layer (${layerOrder.join(', ')})`];
  }
  const text = withoutComments(source);
  const found: { at: number; what: string }[] = [];
  for (const match of text.matchAll(importPattern)) {
    const groups = match.groups ?? {};
    const what = checkImport(file, groups.from ?? groups.bare ?? groups.call ?? '');
    if (what !== undefined) found.push({ at: match.index + match[0].search(/\S/), what });
  }
  if (!nodeFolders.some((folder) => file.startsWith(folder))) {
    for (const match of text.matchAll(nodeGlobals)) {
      found.push({ at: match.index, what: `uses the global ${match[0]}, but src/${layer} must also run in a browser` });
    }
  }
  found.sort((a, b) => a.at - b.at);
  return found.map(({ at, what }) => `${file}:${text.slice(0, at).split('\n').length}: ${what}`);
}
