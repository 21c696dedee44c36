import type { Command } from 'commander';
import type { Submitted } from '../fleet/types';
import { visible } from '../reports/text';
import { plural } from '../reports/units';
import type { Context } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { requireNoPassword } from './redis-flag';

const examples = `
What it does:
  Puts the work on checkpoints into a queue in Redis, for any number of "vertexq worker": of each plan its parts, and what puts the
  output together when they are done. A plan that is in the queue already is left there; one that failed or was cancelled is begun
  again, and finds what was done.

  Needs the packages bullmq and ioredis beside vertexq: the message says what to install.

Examples:
  $ vertexq plan Llama-3.2-1B -o Llama-3.2-1B-4bit --group-size 128 > plan.json
  $ vertexq submit plan.json
  $ vertexq submit urgent.json --priority 10 --parts 16
  $ vertexq submit plans/*.json --queue nightly --redis rediss://redis.example.org:6380

  docs/fleet.md has more: what workers check, what happens when one dies, and whom they trust.
`;

/** Adds `vertexq submit`. */
export function addSubmit(program: Command, context: Context): void {
  const command = program
    .command('submit')
    .summary('put plans into a queue in Redis')
    .description('Puts the work on plans into a queue in Redis, for "vertexq worker".')
    .argument('<plan.json...>', 'what "vertexq plan" has written');
  addFlags(command, ['submitRun'], {
    Output: (own) =>
      own.option('--json', 'write what was submitted to stdout').option('-q, --quiet', 'errors alone'),
  })
    .addHelpText('after', helpText(examples))
    .action((plans: string[], flags: Given) => submit(plans, flags, context));
}

async function submit(plans: readonly string[], given: Given, context: Context): Promise<void> {
  const { json = false, quiet = false } = given as OutputFlags;
  requireNoPassword(given);
  const options = { ...optionsOf(['submitRun'], given), signal: context.signal };
  const done: Submitted[] = [];
  for (const plan of plans) {
    const found = await context.submitRun(plan, options);
    done.push(found);
    const { run, queue, parts } = found;
    const told = found.found ? 'is in the queue already' : `submitted in ${plural(parts, 'part')}`;
    if (!quiet) context.stderr.write(`${visible(plan)}: ${told}, queue ${queue}, run ${run}\n`);
  }
  if (json) context.stdout.write(`${JSON.stringify({ submitted: done }, null, 2)}\n`);
}
