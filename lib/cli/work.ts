import { type Command, Option as Flag } from 'commander';
import type { ShardOfPlan } from '../checkpoints/sharded/types';
import { warningLines } from '../reports/table';
import { formatBytes, formatSeconds, plural } from '../reports/units';
import { RunFiles } from '../runs/run-files';
import { type Context, lookOf } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags, reading } from './flags';
import { helpText } from './help-text';
import { progressDisplay, progressFlag } from './progress';
import { countIn, shardIn, shardOf } from './shard-flags';
import { requireNoWarnings, strictHelp } from './strict';

interface Flags extends OutputFlags {
  shard?: ShardOfPlan;
  shards?: number;
}

const examples = `
What it does:
  Does a part of the units of a plan, and keeps each result in a folder beside the output, for "vertexq finish". A result that is
  there already is not made again: a worker that was killed is started again as it was, and two that do the same part do no harm.
  Ctrl-C and SIGTERM end it when the units on their way are done and kept; a second one ends it at once.

Which part:
  --shard 0/3 is the first of three. Without it the environment tells: JOB_COMPLETION_INDEX (Kubernetes Indexed Jobs, with
  --shards) or SLURM_ARRAY_TASK_ID (Slurm arrays; with --shards it counts from 0, without it the array's own numbers count).
  Without any of these it is all.

Examples:
  $ vertexq work plan.json                                      all that is not done yet
  $ vertexq work plan.json --shard 0/3                          the first third
  $ vertexq work plan.json --shards 3                           in an Indexed Job of 3 completions
  $ vertexq work plan.json --input /mnt/models/Llama-3.2-1B --output /mnt/out/Llama-3.2-1B-4bit
`;

/** Adds `vertexq work`. */
export function addWork(program: Command, context: Context): void {
  const command = program
    .command('work')
    .summary('do a part of the units of a plan')
    .description('Does a part of the units of a plan, for "vertexq finish".')
    .argument('<plan.json>', 'what "vertexq plan" has written')
    .addOption(
      new Flag('--shard <i/n>', 'which part, counted from 0, of how many')
        .argParser((text) => reading(() => shardIn(text)))
        .conflicts('shards'),
    )
    .option('--shards <n>', 'how many parts there are, where the environment tells which', (text) =>
      reading(() => countIn(text)),
    );
  addFlags(command, ['runShard'], {
    Output: (own) =>
      own
        .option('--json', 'write what was done to stdout')
        .option('-q, --quiet', 'no progress: warnings and errors alone')
        .addOption(progressFlag())
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((plan: string, flags: Given) => work(plan, flags, context));
}

async function work(plan: string, given: Given, context: Context): Promise<void> {
  const { json = false, quiet = false, strict = false, shard, shards } = given as Flags;
  const own = shard ?? shardOf(context.env, shards);
  const files = new RunFiles();
  files.reads('plan', plan);
  const look = lookOf(context);
  const display = progressDisplay(context, look, given);
  const say = (text: string) => quiet || context.stderr.write(`${text}\n`);
  const onDrain = () => {
    display.stop();
    say('Ending: units on their way are finished and kept. Ctrl-C again ends at once.');
  };
  context.signal.addEventListener('abort', onDrain);
  const options = {
    ...optionsOf(['runShard'], given),
    ...(own && { shard: own }),
    drain: context.signal,
    onProgress: display.show.bind(display),
  };
  const report = await context.runShard(plan, options, files).finally(() => {
    context.signal.removeEventListener('abort', onDrain);
    display.stop();
  });
  const { units, bytes, warnings, seconds } = report;
  const told = warningLines({ warnings, layers: [] }, look.paint);
  if (told !== '') context.stderr.write(`${told}\n`);
  const { index, count } = report.shard;
  say(
    `shard ${index}/${count}: ${plural(units.done, 'unit')} done, of ${formatBytes(bytes)}, in ${formatSeconds(seconds)}; ${units.found} done before`,
  );
  if (json) context.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (strict) requireNoWarnings(report);
}
