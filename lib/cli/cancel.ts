import type { Command } from 'commander';
import type { Context } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { requireNoPassword } from './redis-flag';

const examples = `
What it does:
  Takes a run out of its queue: parts that wait are not begun, and workers end what they are at within seconds. Results stay beside
  the output: "vertexq submit" with the same plan goes on with them.

Examples:
  $ vertexq status
  $ vertexq cancel 0f3c8a4d5b6e7f8091a2b3c4d5e6f708
`;

/** Adds `vertexq cancel`. */
export function addCancel(program: Command, context: Context): void {
  const command = program
    .command('cancel')
    .summary('take a run out of a queue')
    .description('Takes a run out of a queue in Redis.')
    .argument('<run>', 'as "vertexq status" and "vertexq submit" tell it');
  addFlags(command, ['cancelRun'], {
    Output: (own) =>
      own.option('--json', 'write what was cancelled to stdout').option('-q, --quiet', 'errors alone'),
  })
    .addHelpText('after', helpText(examples))
    .action((run: string, flags: Given) => cancel(run, flags, context));
}

async function cancel(run: string, given: Given, context: Context): Promise<void> {
  const { json = false, quiet = false } = given as OutputFlags;
  requireNoPassword(given);
  await context.cancelRun(run, { ...optionsOf(['cancelRun'], given), signal: context.signal });
  if (!quiet) context.stderr.write(`cancelled: run ${run}\n`);
  if (json) context.stdout.write(`${JSON.stringify({ cancelled: run }, null, 2)}\n`);
}
