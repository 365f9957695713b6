// The command line: commands, options, help, and what counts as a usage error.

import { Command, CommanderError, Option } from 'commander';
import packageJson from '../../../package.json' with { type: 'json' };
import { exitCode, UsageError } from './errors.ts';
import {
  bootMethods,
  collectCopy,
  collectTyped,
  engines,
  formatSize,
  irqchips,
  logHelp,
  maxMemory,
  minMemory,
  parseLog,
  parseLogRange,
  parseMemory,
  parseSeed,
  parseTimeout,
  statForms,
} from './options.ts';
import type { RunOptions } from './run.ts';

const mainHelp = `
With no command, Plinth does what "plinth run" does.

Examples:
  plinth run                              a Debian kernel and a shell; fetched the first time
  plinth run debian-686-pae               the same with a 32-bit kernel
  plinth run --kernel vmlinuz --initrd rootfs.cpio --append "console=ttyS0 quiet"
  plinth image ls                         what can be run without a kernel of your own
  plinth doctor                           what this host offers, and what to do about what is missing
`;

const runHelp = `
The serial console is on stdin and stdout. On a terminal, Ctrl-A X quits and Ctrl-A H lists the keys.
Linux gets "console=ttyS0 panic=-1 mitigations=off cryptomgr.notests" in front of --append, but for words that
--append has itself: mitigations=auto, for one, brings the kernel's protections back.

Exit codes:
  0    the guest powered off               124  the time limit was reached
  1    something on the host is wrong      2    the command line is wrong
  3    triple fault, or a reset such as a kernel panic ends in
  (value << 1) | 1 when the guest writes value to the debug-exit port 0xf4

Examples:
  plinth run --memory 1G                  the default image with more memory
  plinth run --exec "uname -a; dmesg"     run something and end
  plinth run --copy ./test:/root/test --exec ./test
  plinth run --timeout 60 </dev/null      give up after a minute
  plinth run --kernel test.elf            a multiboot test kernel
  plinth run --log int,mmu 2>trace.txt    trace interrupts and page walks
  plinth run --deterministic --stat --exec "cat /proc/interrupts"      run it twice and compare the digests
  plinth run --stat=json --exec "md5sum /bin/busybox" 2>stat.json      what the machine did, for scripts
`;

const imageHelp = `
Images are made of the distribution's own packages, fetched by apt without root and without installing them.

Examples:
  plinth image ls
  plinth image pull debian-generic
  ls "$(plinth image path debian)"
`;

/** Commander's own messages in Plinth's form, `<what>; <what to do>`. */
function toUsageError(error: CommanderError, command: string): UsageError {
  const text = error.message
    .replace(/^error: /, '')
    .replace(/\.?\s*\n\s*/g, ', ')
    .replace(/[.]$/, '');
  const value = /^option '(--\S+).*?' argument '(.*)' is invalid\. (.*)$/.exec(text);
  if (value === null) return new UsageError(text.replace(/\. Expected /, ', expected '), `see "${command} --help"`);
  const advice = (value[3] ?? '').replace(/^Allowed choices are/, 'choose from');
  return new UsageError(`${value[1]} cannot be ${JSON.stringify(value[2])}`, advice);
}

/** Commander ends the process by default; here it throws, and prints nothing for an error. */
function tame(command: Command): Command {
  return command
    .exitOverride((error) => {
      throw error.exitCode === 0 ? error : toUsageError(error, commandPath(command));
    })
    .configureOutput({ writeErr: () => {} });
}

function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`;
}

function addRun(program: Command, done: (code: number) => void): void {
  const size = `between ${formatSize(minMemory)} and ${formatSize(maxMemory)}`;
  const run = tame(program.command('run', { isDefault: true }))
    .description('run a machine; without --kernel, an image')
    .argument('[image]', 'image to run when no kernel is given (default: debian)')
    .option('--kernel <file>', 'bzImage, ELF kernel (PVH) or multiboot kernel')
    .option('--initrd <file>', 'initial RAM disk')
    .option('--append <words>', 'kernel command line')
    .addOption(
      new Option('--copy <host:guest>', 'put a file into the RAM disk, executable; may be repeated').argParser(
        collectCopy,
      ),
    )
    .option('--exec <script>', "run a shell script instead of an image's shell, then power off")
    .addOption(
      new Option('--memory <size>', `guest memory, ${size}`).argParser(parseMemory).default(512 * 2 ** 20, '512M'),
    )
    .addOption(
      new Option('--boot <method>', 'boot protocol; elf and pvh unpack a bzImage on the host')
        .choices(bootMethods)
        .default('auto'),
    )
    .addOption(new Option('--engine <name>', 'what runs the instructions').choices(engines).default('auto'))
    .option('--switchable', 'a guest that both engines can run: Ctrl-A E changes engine (--engine kvm always can)')
    .addOption(
      new Option('--irqchip <where>', "/dev/kvm's interrupt controllers and timer: the kernel's or Plinth's own")
        .choices(irqchips)
        .default('auto'),
    )
    .addOption(new Option('--timeout <seconds>', 'stop the guest after this time, exit 124').argParser(parseTimeout))
    .addOption(
      new Option('--log <items>', 'trace to stderr; "help" lists the items').argParser(parseLog).default([], 'nothing'),
    )
    .addOption(new Option('--log-range <addresses>', 'trace only instructions there').argParser(parseLogRange))
    .option('--cpu <model>', 'CPU model the guest sees', 'default')
    .option('--no-kvmclock', "a plain PC: the guest is not told of KVM's clock")
    .option('--deterministic', 'guest time counts instructions: the same inputs give the same run')
    .addOption(new Option('--seed <number>', "the guest's random bits with --deterministic").argParser(parseSeed))
    .addOption(
      new Option('--type <seconds:text>', 'type on the console at this guest time; may be repeated').argParser(
        collectTyped,
      ),
    )
    .addOption(
      new Option('--stat [form]', 'at the end, print to stderr what the machine did')
        .choices(statForms)
        .preset('table'),
    )
    .addHelpText('after', runHelp);
  run.action(async (image: string | undefined, options: Omit<RunOptions, 'image'>) => {
    if (options.log[0] === 'help') {
      process.stdout.write(logHelp);
      done(exitCode.poweroff);
      return;
    }
    const { runCommand } = await import('./run.ts');
    done(await runCommand({ ...options, ...(image === undefined ? {} : { image }) }));
  });
}

function addImage(program: Command, done: (code: number) => void): void {
  const image = tame(program.command('image')).description('list and fetch images').addHelpText('after', imageHelp);
  // A group without a subcommand shows its help on stdout; a wrong subcommand is a usage error.
  image.argument('[command]').action((word: string | undefined) => {
    if (word === undefined)
      throw new UsageError('image needs a command: ls, pull or path', 'see "plinth image --help"');
    throw new UsageError(`unknown command '${word}'`, 'see "plinth image --help"');
  });
  tame(image.command('ls'))
    .description('list the images and which of them are in the cache')
    .action(async () => done(await (await import('./image.ts')).listImages()));
  tame(image.command('pull'))
    .description('fetch an image into the cache, or bring it up to date')
    .argument('[name]', 'image (default: debian)')
    .action(async (name: string | undefined) => done(await (await import('./image.ts')).pull(name)));
  tame(image.command('path'))
    .description("print the folder that holds an image's vmlinuz and initramfs.cpio")
    .argument('[name]', 'image (default: debian)')
    .action(async (name: string | undefined) => done(await (await import('./image.ts')).printPath(name)));
}

/**
 * Carries out a command line.
 * @param args the arguments after the program's name
 * @returns the exit code
 * @throws UsageError and the errors of the command
 */
export async function runProgram(args: readonly string[]): Promise<number> {
  let code: number = exitCode.poweroff;
  const done = (value: number) => {
    code = value;
  };
  const program = tame(new Command('plinth'))
    .description('Runs unmodified x86 and x86-64 operating systems on a machine of its own.')
    .version(packageJson.version, '-V, --version', 'print the version')
    .addHelpText('after', mainHelp);
  addRun(program, done);
  addImage(program, done);
  tame(program.command('doctor'))
    .description('say what this host offers and what to do about what is missing')
    .action(async () => done(await (await import('./doctor.ts')).doctor()));
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    // Help and version were printed.
    if (error instanceof CommanderError && error.exitCode === 0) return exitCode.poweroff;
    throw error;
  }
  return code;
}
