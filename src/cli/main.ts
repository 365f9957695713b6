#!/usr/bin/env node
// The launcher. Plain CommonJS JavaScript that is TypeScript too, so that any Node.js can load it: an old one
// starts the pinned one (the `node` package) with the same arguments, descriptors and signals, and ends as it
// ended; the pinned one, or a newer, goes on to the program itself.

{
  const neededMajor = 24;
  const currentMajor = Number(process.versions.node.split('.')[0]);

  // Parameters have defaults so that TypeScript can infer their types: JavaScript has no annotations.
  const fail = (message = '') => {
    process.stderr.write(`plinth: ${message}\n`);
    process.exit(1);
  };

  // JavaScript without its types, and what V8 has made of it, is kept from one start to the next, for this process and
  // those threads and processes that it starts. Where it cannot be written, each start makes it anew.
  const keepCompiled = () => {
    const { enableCompileCache } = require('node:module');
    process.env.NODE_COMPILE_CACHE ??= require('node:path').join(__dirname, '../../build/compile-cache');
    enableCompileCache?.();
  };

  const pinnedNode = () => {
    try {
      return require.resolve('node/bin/node');
    } catch {
      return undefined;
    }
  };

  const relaunch = async (program = '') => {
    const { spawn } = await import('node:child_process');
    const child = spawn(program, [...process.execArgv, __filename, ...process.argv.slice(2)], {
      stdio: 'inherit',
      // The program watches for the end of this process, because a SIGKILL cannot be passed on.
      env: { ...process.env, PLINTH_LAUNCHER: String(process.pid) },
    });
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGCONT'];
    for (const signal of signals) process.on(signal, (received) => child.kill(received));
    child.on('error', (error) => fail(`cannot start ${program} (${error.message}); run "npm ci" in Plinth's folder`));
    child.on('exit', (code, signal) => {
      if (signal === null) process.exit(code ?? 1);
      for (const name of signals) process.removeAllListeners(name);
      process.kill(process.pid, signal);
    });
  };

  keepCompiled();
  if (currentMajor >= neededMajor) {
    import('./app/main.ts');
  } else {
    const program = pinnedNode();
    if (program === undefined) {
      fail(`needs Node.js ${neededMajor} and this is ${process.version}; run "npm ci" in Plinth's folder to get it`);
    } else {
      relaunch(program);
    }
  }
}
