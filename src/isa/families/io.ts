/** Port I/O: IN OUT INS OUTS. The helpers check the permission (IOPL, TSS bitmap) and reach the devices. */
import type { Ops, Width } from '../ops.ts';
import { type Row, row } from '../row.ts';
import { num } from './common.ts';
import { advanceDestination, advanceSource, destination, source } from './string.ts';

/** Ports are at most 32 bits wide, also with REX.W. */
const portWidth = <V>(s: Ops<V>, size: 'b' | 'v'): Width => (size === 'b' ? 8 : s.w === 16 ? 16 : 32);
const DX = 2;

/** The port: the immediate operand `n`, or DX. */
const port = <V>(s: Ops<V>, immediate: number | undefined): V =>
  s.let(immediate === undefined ? s.reg(16, DX) : s.get(immediate));

const input =
  (size: 'b' | 'v', immediate?: number): Row['exec'] =>
  (s) => {
    const w = portWidth(s, size);
    s.check('io_in', port(s, immediate), num(s, w));
    s.setReg(w, 0, s.zext(w, s.field('scratch', 0)));
  };
const output =
  (size: 'b' | 'v', immediate?: number): Row['exec'] =>
  (s) => {
    const w = portWidth(s, size);
    s.check('io_out', port(s, immediate), num(s, w), s.reg(w, 0));
  };

/** The store is probed before the device is read, because reading may change the device. */
const ins =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = portWidth(s, size);
    const to = destination(s);
    s.probeStore(w, 'es', to);
    s.check('io_ins', port(s, undefined), num(s, w), s.k(0n));
    s.store(w, 'es', to, s.zext(w, s.field('scratch', 0)));
    advanceDestination(s, w);
  };
const outs =
  (size: 'b' | 'v'): Row['exec'] =>
  (s) => {
    const w = portWidth(s, size);
    const v = s.let(s.load(w, 'insn', source(s)));
    s.check('io_out', port(s, undefined), num(s, w), v);
    advanceSource(s, w);
  };

const IO = { ends: true, user: false } as const;
const STRING_IO = { ...IO, rep: 'plain', asize: true } as const;

export const IO_ROWS: readonly Row[] = [
  row('in', '=AL, Ib', 'E4', input('b', 1), IO),
  row('in', '=eAX, Ib', 'E5', input('v', 1), IO),
  row('out', 'Ib, AL', 'E6', output('b', 0), IO),
  row('out', 'Ib, eAX', 'E7', output('v', 0), IO),
  row('in', '=AL, DX', 'EC', input('b'), IO),
  row('in', '=eAX, DX', 'ED', input('v'), IO),
  row('out', 'DX, AL', 'EE', output('b'), IO),
  row('out', 'DX, eAX', 'EF', output('v'), IO),
  row('insb', '=Yb, DX', '6C', ins('b'), STRING_IO),
  row('insw/insd/insd', '=Yz, DX', '6D', ins('v'), STRING_IO),
  row('outsb', 'DX, Xb', '6E', outs('b'), STRING_IO),
  row('outsw/outsd/outsd', 'DX, Xz', '6F', outs('v'), STRING_IO),
];
