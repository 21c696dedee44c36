import type { Command } from 'commander';
import { fleetTable } from '../reports/fleet-table';
import { type Context, showResult } from './context';
import { addFlags, type Given, optionsOf } from './flags';
import { helpText } from './help-text';
import { requireNoPassword } from './redis-flag';

const examples = `
What it tells:
  Of each queue how many workers there are, and what waits; of each run how far it is, who is at it, and why it failed or is not
  taken. Runs that are done are kept for 30 days.

Examples:
  $ vertexq status
  $ vertexq status --queue urgent nightly
  $ vertexq status --run 0f3c8a4d5b6e7f8091a2b3c4d5e6f708 --json | jq -r '.queues[0].runs[0].state'
`;

/** Adds `vertexq status`. */
export function addStatus(program: Command, context: Context): void {
  const command = program
    .command('status')
    .summary('how far the runs of queues are')
    .description('Tells how far the runs of queues in Redis are.');
  addFlags(command, ['runStatus'], {
    Output: (own) => own.option('--json', 'write all of it to stdout, and the table to stderr'),
  })
    .addHelpText('after', helpText(examples))
    .action((flags: Given) => status(flags, context));
}

async function status(given: Given, context: Context): Promise<void> {
  requireNoPassword(given);
  const found = await context.runStatus({ ...optionsOf(['runStatus'], given), signal: context.signal });
  showResult(context, found, (look) => fleetTable(found, look), given);
}
