/**
 * The commonest handlers as one function: it takes record after record and branches to the case of each, where
 * handlers that are functions make a tail call. That saves a frame and two loads an instruction, and what is hot lies
 * together in the host's caches. The function stands in the table at the places of all its handlers, so whoever hands
 * over to one of them gets here; what has no case here is called as ever.
 */
import { REC } from '../../isa/layout.ts';
import * as x from '../../wasm/expr.ts';
import type { FunctionBuilder, Label, ModuleBuilder } from '../../wasm/module.ts';
import { account, type Chain, HANDLER, handlerOf, ownHandlerOf } from './chain.ts';
import { enterKnown } from './goto.ts';
import { FIRST_REGION } from './special.ts';

/** Writes the code of a handler. */
export type Writer = (f: FunctionBuilder, chain: Chain) => void;

/** The local that has the record: the function's second parameter, set anew for each instruction. */
const RECORD = 1;

/** Defines the function; `cases` by their places in the table of handlers. */
export function defineCore(m: ModuleBuilder, name: string, cases: ReadonlyMap<number, Writer>): void {
  const f = m.define(name, HANDLER);
  const [cpu, rec] = [f.param(0), f.param(RECORD)];
  const [rip, handler, next] = [f.variable('i64'), f.variable('i32'), f.variable('i32')];
  const again = (): void => f.setVariable(next, x.load('i32_16u', rec, REC.SIZE + REC.HANDLER));
  // A region that leaves before its own entry calls the interpreter's handler: the record names the region.
  f.setVariable(handler, handlerOf(rec));
  const isRegion = x.compare('ge_u', f.get(handler), x.i32Const(FIRST_REGION));
  f.unlikely(isRegion, () => f.setVariable(handler, ownHandlerOf(rec)));
  f.loop((top) => {
    const to = (next: x.Expr, itsHandler = handlerOf(next)): void => {
      f.setVariable(handler, itsHandler);
      f.setVariable(RECORD, next);
      f.br(top);
    };
    f.block((leave) => {
      const jump = (from: x.Expr, target: x.Expr): void => {
        f.setVariable(rip, target);
        f.setVariable(RECORD, from);
        f.br(leave);
      };
      again();
      writeCases(f, f.get(handler), cases, { to, jump, ahead: { handler: f.get(next), again } });
    });
    f.freeTemporaries();
    f.if(x.compare('ge_s', account(f, cpu, rec, 1), x.i32Const(0)), () =>
      enterKnown(f, { to, jump: () => {} }, cpu, f.get(rip)),
    );
    f.returnCall('goto', cpu, f.get(rip));
  });
  f.unreachable();
}

/** Blocks around each other, one for each case, the first innermost; in the middle the branch to the handler's. */
function writeCases(f: FunctionBuilder, handler: x.Expr, cases: ReadonlyMap<number, Writer>, chain: Chain): void {
  const places = [...cases.keys()];
  const labels = new Map<number, Label>();
  const nest = (n: number): void => {
    if (n < 0) {
      f.block((other) => {
        const table = Array.from({ length: Math.max(...places) + 1 }, (_, place) => labels.get(place) ?? other);
        f.brTable(table, other, handler);
      });
      f.returnCallIndirect(HANDLER, handler, f.param(0), f.param(RECORD));
      return;
    }
    f.block((label) => {
      labels.set(places[n]!, label);
      nest(n - 1);
    });
    f.freeTemporaries();
    cases.get(places[n]!)!(f, chain);
    f.unreachable();
  };
  nest(places.length - 1);
}
