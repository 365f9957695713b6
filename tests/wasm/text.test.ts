// The printer of WebAssembly: on a small module by hand, and on everything that the build made.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as x from '../../src/wasm/expr.ts';
import { ModuleBuilder } from '../../src/wasm/module.ts';
import { OPCODES, OPCODES_FC, OPCODES_FD } from '../../src/wasm/opcodes.ts';
import { printFunctions } from '../../src/wasm/text.ts';

const root = join(import.meta.dirname, '../..');
execFileSync(process.execPath, [join(root, 'scripts/build.ts')], { cwd: root, stdio: 'pipe' });

function small(): Uint8Array {
  const m = new ModuleBuilder();
  m.importFunction('env', 'seen', { params: ['i64'], results: [] });
  const f = m.define('count', { params: ['i32', 'i64'], results: [] });
  const n = f.variable('i64');
  f.setVariable(n, x.add(f.param(1), x.i64Const(-5n)));
  f.loop((again) => {
    f.store('i64_32', f.param(0), 0x40, f.get(n));
    f.if(
      x.eqz(f.get(n)),
      () => f.return(),
      () => f.run(f.call('seen', f.get(n))),
    );
    f.br(again);
  });
  m.define('other', { params: [], results: [] });
  return m.build({ maximumPages: 1, shared: false, table: { type: { params: [], results: [] }, size: 4 } });
}

describe('the printer', () => {
  it('prints a function', () => {
    expect(printFunctions(small(), (name) => name === 'count')).toEqual([
      'func count (i32 i64) -> ()',
      '  locals 1 i64',
      '  local.get 1',
      '  i64.const -5',
      '  i64.add',
      '  local.set 2',
      '  loop',
      '    local.get 0',
      '    local.get 2',
      '    i64.store32 +0x40',
      '    local.get 2',
      '    i64.eqz',
      '    if',
      '      return',
      '    else',
      '      local.get 2',
      '      call env.seen',
      '    end',
      '    br 0',
      '  end',
      'end',
    ]);
  });
  it('refuses what is no module', () => {
    expect(() => printFunctions(small().subarray(0, 60))).toThrow(RangeError);
  });
  it.each(['runtime.wasm', 'interpreter.wasm'])('knows every instruction of %s', (file) => {
    const bytes = readFileSync(join(root, 'build', file));
    // An immediate read wrongly would soon end in an opcode that does not exist, or behind the function's end.
    const lines = printFunctions(bytes);
    expect(lines.filter((l) => l.startsWith('func ')).length).toBe(lines.filter((l) => l === 'end').length);
  });
  it('has as many instructions as the specification', () => {
    // 3.0 without exceptions, references and garbage collection.
    expect([OPCODES.size, OPCODES_FC.size, OPCODES_FD.size]).toEqual([180, 10, 236]);
    expect(OPCODES_FD.get(0xba)?.name).toBe('i32x4.dot_i16x8_s');
    expect(OPCODES_FD.get(0xdf)?.name).toBe('i64x2.extmul_high_i32x4_u');
    expect(OPCODES_FD.get(0xff)?.name).toBe('f64x2.convert_low_i32x4_u');
    expect(OPCODES.get(0xc4)?.name).toBe('i64.extend32_s');
  });
});
