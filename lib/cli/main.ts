#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { inspect } from 'node:util';
import { errorCodes } from '../error-codes';
import { VertexqError } from '../errors';
import type { Failure } from '../reports/json-report';
import { visible } from '../reports/text';
import { version } from '../version';
import { addCancel } from './cancel';
import { addCalibrate } from './calibrate';
import { addCompare } from './compare';
import { type Context, processContext } from './context';
import { addDoctor } from './doctor';
import { addEval } from './eval';
import { addExplain } from './explain';
import { addFinish } from './finish';
import { helpText, helpWidth } from './help-text';
import { addInspect } from './inspect';
import { asTyped } from './override-flag';
import { addPlan } from './plan';
import { addQuantize } from './quantize';
import { exitCodeOf, exitCodes } from './exit-codes';
import { addSensitivity } from './sensitivity';
import { addServe } from './serve';
import { addStatus } from './status';
import { addSubmit } from './submit';
import { addTune } from './tune';
import { addVerify } from './verify';
import { addWork } from './work';
import { addWorker } from './worker';

const about = `
Tables, --json and help go to stdout; progress, warnings, errors and the tables of quantize, plan and finish to stderr. With --json the others do too,
and an error is an object on stdout besides. Colours and bars appear only on a terminal; NO_COLOR turns colours off, VERTEXQ_DEBUG=1
adds stack traces to errors. VERTEXQ_MODULES names a folder whose node_modules is looked in for onnxruntime-node, sharp, bullmq and
ioredis before those beside vertexq; the working folder is not.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 input damaged or not understood, 4 output in the way or another run's, 5 nothing to
quantize, 6 out of memory, disk or time, 130 interrupted (SIGTERM 143, SIGHUP 129).
`;

/** Runs the command line `args`, without the program's name, and resolves to its exit code. Never rejects. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  const { isTTY, columns } = context.stdout;
  let told = false;
  const write = (text: string) => {
    told = true;
    return context.stdout.write(text);
  };
  try {
    const stdout = {
      write,
      ...(isTTY !== undefined && { isTTY }),
      ...(columns !== undefined && { columns }),
    };
    await programFor({ ...context, stdout }, args).parseAsync(args[0] === '-v' ? ['--version'] : args, {
      from: 'user',
    });
    return exitCodes.done;
  } catch (error) {
    // A result that says what is wrong is told already.
    return fail(error, context, args.includes('--json') && !told, args);
  }
}

function programFor(context: Context, args: readonly string[]): Command {
  const { stdout, stderr } = context;
  const program = new Command('vertexq')
    .description('Quantizes the weights of trained networks to 1–8 bits with calibration data.')
    .version(version)
    .addHelpText('after', helpText(about))
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => Math.min(stdout.columns ?? helpWidth, helpWidth),
      getErrHelpWidth: () => Math.min(stderr.columns ?? helpWidth, helpWidth),
      outputError: (text) =>
        stderr.write(
          `vertexq: ${oneLine(text.replace(/^error: /, '').trim() + swallowed(text, program, args))}\n`,
        ),
    });
  addQuantize(program, context, args);
  addCompare(program, context);
  addEval(program, context);
  addInspect(program, context);
  addSensitivity(program, context);
  addTune(program, context);
  addCalibrate(program, context);
  addVerify(program, context);
  addPlan(program, context);
  addWork(program, context);
  addFinish(program, context);
  addSubmit(program, context);
  addWorker(program, context);
  addStatus(program, context);
  addServe(program, context);
  addCancel(program, context);
  addExplain(program, context);
  addDoctor(program, context);
  return program;
}

/** Where an argument is missing: what an option that takes several values may have taken in its place. */
function swallowed(text: string, program: Command, args: readonly string[]): string {
  if (!/missing required argument/.test(text)) return '';
  const command = program.commands.find((one) => one.name() === args[0]);
  let greedy = '';
  let count = 0;
  let found = '';
  for (const word of args.slice(1)) {
    if (word.startsWith('-')) {
      greedy = command?.options.find((one) => one.variadic && [one.long, one.short].includes(word))
        ? word
        : '';
      count = 0;
    } else if (greedy !== '' && ++count > 1) found = `${JSON.stringify(word)} for a value of ${greedy}`;
  }
  return found && `: the command line takes ${found}, which ends at the next option. Give the model first`;
}

/** Says what went wrong, in one line, and which exit code that is. `json`: as an object on stdout too. */
function fail(
  error: unknown,
  { stdout, stderr, signal, env }: Context,
  json: boolean,
  args: readonly string[],
): number {
  // Commander has written its message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  if (env['VERTEXQ_DEBUG']) stderr.write(`${inspect(error)}\n`);
  if (signal.aborted) {
    stderr.write('vertexq: interrupted\n');
    return exitCodes.interrupted;
  }
  const told = error instanceof Error ? error.message || error.name : String(error);
  // Those of a file come first, and are called what they are there.
  const message = args.some((word) => /^--config(=|$)/.test(word)) ? told : asTyped(told);
  const code = error instanceof VertexqError ? error.code : null;
  stderr.write(`vertexq: ${oneLine(message)}${code === null ? '' : ` [${code}]`}\n`);
  if (code !== null) stderr.write(`"vertexq explain ${code}" says what to do\n`);
  const exitCode = exitCodeOf(error);
  const remedy = code && errorCodes[code].remedy;
  const failure: Failure = { error: { code, message, remedy, exitCode } };
  if (json) stdout.write(`${JSON.stringify(failure, null, 2)}\n`);
  return exitCode;
}

function oneLine(text: string): string {
  return visible(text.trim().replace(/\s*\n\s*/g, ' '));
}

/** The signals that end a run as Ctrl-C does, which leaves nothing behind: 128 and their numbers. */
const signals = { SIGINT: exitCodes.interrupted, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof signals;

/** The program itself: sets the process's exit code. Pending writes still go out. */
async function main(): Promise<void> {
  const controller = new AbortController();
  let ended: Signal = 'SIGINT';
  for (const name of Object.keys(signals) as Signal[])
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(signals[name]);
      ended = name;
      controller.abort();
    });
  // Whoever reads the output may stop early, as `head` does.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') return;
      process.exitCode = exitCodes.failed;
      if (stream === process.stdout)
        process.stderr.write(`vertexq: stdout cannot be written: ${oneLine(error.message)}\n`);
    });
  const code = await run(process.argv.slice(2), processContext(controller.signal));
  process.exitCode ||= code === exitCodes.interrupted ? signals[ended] : code;
  if (controller.signal.aborted) endSoon(ended);
}

/** How long what is still on its way may take after Ctrl-C. */
const patience = 500;

/** Ends the process as the signal does by itself, where something goes on that cannot be stopped, as the decoding of an image. */
function endSoon(name: Signal): void {
  setTimeout(() => {
    process.removeAllListeners(name);
    process.kill(process.pid, name);
    // The first process of a container is not ended by signals.
    setTimeout(() => process.exit(signals[name]), patience);
  }, patience).unref();
}

if (require.main === module) void main();
