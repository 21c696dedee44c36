#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { inspect } from 'node:util';
import { VertexqError } from '../errors';
import { visible } from '../reports/text';
import { version } from '../version';
import { addCompare } from './compare';
import { type Context, processContext } from './context';
import { addEval } from './eval';
import { addInspect } from './inspect';
import { addQuantize } from './quantize';
import { addVerify } from './verify';

export const exitCodes = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

const about = `
Results go to stdout (--json, help), progress, tables and errors to stderr. Colours and bars appear only on a terminal;
NO_COLOR turns colours off, VERTEXQ_DEBUG=1 adds stack traces to errors. VERTEXQ_MODULES names a folder whose node_modules is looked
in for onnxruntime-node and sharp before those beside vertexq; the working folder is not.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
`;

/** Runs the command line `args`, without the program's name, and resolves to its exit code. Never rejects. */
export async function run(args: readonly string[], context: Context): Promise<number> {
  try {
    await programFor(context).parseAsync(args, { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    return fail(error, context);
  }
}

function programFor(context: Context): Command {
  const { stdout, stderr } = context;
  const program = new Command('vertexq')
    .description('Quantizes the weights of trained networks to 1–8 bits with calibration data.')
    .version(version)
    .addHelpText('after', about)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => stdout.columns ?? 110,
      getErrHelpWidth: () => stderr.columns ?? 110,
      outputError: (text) => stderr.write(`vertexq: ${oneLine(text.replace(/^error: /, ''))}\n`),
    });
  addQuantize(program, context);
  addCompare(program, context);
  addEval(program, context);
  addInspect(program, context);
  addVerify(program, context);
  return program;
}

/** Says what went wrong, in one line, and which exit code that is. */
function fail(error: unknown, { stderr, signal, env }: Context): number {
  // Commander has written its message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  if (env['VERTEXQ_DEBUG']) stderr.write(`${inspect(error)}\n`);
  if (signal.aborted) {
    stderr.write('vertexq: interrupted\n');
    return exitCodes.interrupted;
  }
  const message = error instanceof Error ? error.message || error.name : String(error);
  const code = error instanceof VertexqError ? ` [${error.code}]` : '';
  stderr.write(`vertexq: ${oneLine(message)}${code}\n`);
  return error instanceof TypeError || error instanceof RangeError ? exitCodes.usage : exitCodes.failed;
}

function oneLine(text: string): string {
  return visible(text.trim().replace(/\s*\n\s*/g, ' '));
}

/** The program itself: sets the process's exit code. Pending writes still go out. */
async function main(): Promise<void> {
  const controller = new AbortController();
  process.on('SIGINT', () => {
    if (controller.signal.aborted) process.exit(exitCodes.interrupted);
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
  process.exitCode ||= code;
  if (controller.signal.aborted) endSoon();
}

/** How long what is still on its way may take after Ctrl-C. */
const patience = 500;

/** Ends the process as Ctrl-C does by itself, where something goes on that cannot be stopped, as the decoding of an image. */
function endSoon(): void {
  setTimeout(() => {
    process.removeAllListeners('SIGINT');
    process.kill(process.pid, 'SIGINT');
  }, patience).unref();
}

if (require.main === module) void main();
