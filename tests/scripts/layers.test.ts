// The layer check itself: what it must find and what it must leave alone.

import { describe, expect, it } from 'vitest';
import { checkFile, withoutComments } from '../../scripts/layers.ts';

describe('layer check', () => {
  it('allows imports down the order and inside a layer', () => {
    const source = "import { a } from '../isa/rows.ts';\nimport type { B } from './b.ts';\nexport * from './c.ts';\n";
    expect(checkFile('src/engine/x.ts', source)).toEqual([]);
  });

  it.each([
    ["import { a } from '../engine/x.ts';", 'isa is below engine'],
    ["import type { A } from '../cli/x.ts';", 'isa is below cli'],
    ["export { a } from '../hv/contract.ts';", 'isa is below hv'],
    ["import '../devices/pic.ts';", 'isa is below devices'],
    ["const m = await import('../machine/machine.ts');", 'isa is below machine'],
    ["import {\n  a,\n  b,\n} from '../engine/x.ts';", 'isa is below engine'],
    ["import { a } from '../nowhere/x.ts';", 'nowhere is not a layer'],
    ["import { a } from '../../tests/x.ts';", 'outside src'],
  ])('finds %j', (source, message) => {
    const found = checkFile('src/isa/rows.ts', source);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  it('lets the command line alone read package.json', () => {
    const source = "import packageJson from '../../../package.json' with { type: 'json' };";
    expect(checkFile('src/cli/app/program.ts', source)).toEqual([]);
    expect(checkFile('src/image/app/x.ts', source)[0]).toContain('outside src');
  });

  it('tells the line', () => {
    expect(checkFile('src/isa/rows.ts', "// one\n\nimport { a } from '../hv/x.ts';\n")[0]).toMatch(
      /^src\/isa\/rows.ts:3: /,
    );
  });

  it('keeps the assembler free of x86 and devices free of the engine', () => {
    expect(checkFile('src/wasm/x.ts', "import { a } from '../isa/x.ts';")[0]).toContain('knows no x86');
    expect(checkFile('src/devices/x.ts', "import { a } from '../engine/x.ts';")[0]).toContain(
      'how instructions are run',
    );
  });

  it('allows Node.js in its folders only', () => {
    const source = "import { open } from 'node:fs/promises';\nconst a = process.argv;\n";
    expect(checkFile('src/cli/app/x.ts', source)).toEqual([]);
    expect(checkFile('src/hv/kvm/x.ts', source)).toEqual([]);
    expect(checkFile('src/hv/soft/x.ts', source)).toHaveLength(2);
    expect(checkFile('src/machine/x.ts', 'const b = Buffer.from([1]);')[0]).toContain('global Buffer');
  });

  it('does not read comments, strings or longer names as uses', () => {
    const source = [
      "// import { a } from '../cli/x.ts';",
      "/* process.exit(); import b from 'node:fs' */",
      'const state = machine.process(); const SharedBuffer = 1; postprocess(2);',
    ].join('\n');
    expect(checkFile('src/isa/rows.ts', source)).toEqual([]);
  });

  it('blanks comments without moving lines', () => {
    expect(withoutComments('a /* b\nc */ d // e\nf')).toBe('a     \n     d     \nf');
    expect(withoutComments("'http://x' // y")).toBe("'http://x'     ");
  });

  it('refuses a file in a folder that is no layer', () => {
    expect(checkFile('src/misc/x.ts', '')[0]).toContain('no known layer');
  });
});
