import type { Command } from 'commander';
import { once } from 'node:events';
import type { Context } from './context';
import { addFlags, type Given, optionsOf } from './flags';
import { helpText } from './help-text';
import { requireNoPassword } from './redis-flag';

const examples = `
What it shows:
  Queues, their workers and runs, how far each is and who is at it; of a run the layers that are done, and their errors; as they become,
  every two seconds. It only looks. It asks for no password: by default this machine alone can reach it. /status.json has the same
  for programs. Ctrl-C ends it.

Examples:
  $ vertexq serve
  $ vertexq serve --queue urgent nightly --port 8080
  $ ssh -L 9465:127.0.0.1:9465 gateway vertexq serve      and look at http://127.0.0.1:9465/ from here
`;

/** Adds `vertexq serve`. */
export function addServe(program: Command, context: Context): void {
  const command = program
    .command('serve')
    .summary('a page that shows queues, runs and layers as they become')
    .description('Serves a page that shows the queues in Redis, their runs and layers, as they become.');
  addFlags(command, ['serveFleet'], {})
    .addHelpText('after', helpText(examples))
    .action((flags: Given) => serve(flags, context));
}

async function serve(given: Given, context: Context): Promise<void> {
  requireNoPassword(given);
  const { signal } = context;
  const { url } = await context.serveFleet({ ...optionsOf(['serveFleet'], given), signal });
  context.stdout.write(`${url}\n`);
  if (!signal.aborted) await once(signal, 'abort');
}
