import type { Command } from 'commander';
import type { FleetEvent, WorkerOptions } from '../fleet/types';
import { eventLine } from '../reports/fleet-table';
import { formatSeconds, plural } from '../reports/units';
import type { Context } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { addObserving, observed } from './observing';
import { requireNoPassword } from './redis-flag';

const examples = `
What it does:
  Takes parts of runs from queues in Redis ("vertexq submit") and does them as "vertexq work" and "vertexq finish" do. It goes on
  until it is told to end: Ctrl-C and SIGTERM end it when the units on their way are done and kept, and give the rest of the
  part back; a second one ends it at once, and others take the part over when it has been silent for a while (--stalled-after).

  What a queue holds is anyone's: nothing is read or written but in the folders of --root. What is for another version of vertexq,
  another kind of processor or more memory is left to other workers, and "vertexq status" says why.

Examples:
  $ vertexq worker --root /shared/models
  $ vertexq worker --root /shared/models /shared/out --queue urgent nightly --memory 4G
  $ vertexq worker --root . --until-empty          ends when nothing is left
  $ vertexq worker --root /shared --events events.jsonl --metrics 9464
  $ VERTEXQ_REDIS_URL=rediss://user:password@redis.example.org:6380 vertexq worker --root /shared
`;

/** Adds `vertexq worker`. */
export function addWorker(program: Command, context: Context): void {
  const command = program
    .command('worker')
    .summary('do the parts of runs that a queue has')
    .description('Does the parts of runs that queues in Redis have.');
  addFlags(command, ['runWorker'], {
    Output: (own) =>
      addObserving(own)
        .option('--json', 'write what was done to stdout, when it ends')
        .option('-q, --quiet', 'trouble and errors alone'),
  })
    .addHelpText('after', helpText(examples))
    .action((flags: Given) => work(flags, context));
}

/** What is told of with --quiet too. */
const troubles: ReadonlySet<FleetEvent['event']> = new Set([
  'queue-error',
  'job-failed',
  'job-refused',
  'job-stalled',
]);

async function work(given: Given, context: Context): Promise<void> {
  const { json = false, quiet = false } = given as OutputFlags;
  requireNoPassword(given);
  const show = (event: FleetEvent) => {
    if (event.event === 'job-progress' || (quiet && !troubles.has(event.event))) return;
    context.stderr.write(`${eventLine(event)}\n`);
  };
  const options = { ...optionsOf(['runWorker'], given), drain: context.signal };
  const report = await observed(context, given, (take) => {
    const onEvent = (event: FleetEvent) => {
      show(event);
      take(event);
    };
    return context.runWorker({ ...options, onEvent } as unknown as WorkerOptions);
  });
  const { done, failed, refused, returned } = report.jobs;
  if (!quiet)
    context.stderr.write(
      `${plural(done, 'piece')} of work done, ${failed} failed, ${refused} left to others, ${returned} given back, in ${formatSeconds(report.seconds)}\n`,
    );
  if (json) context.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
}
