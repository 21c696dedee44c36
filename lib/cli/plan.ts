import { type Command, Option as Flag } from 'commander';
import { addCheckpointPaths } from '../checkpoints/run-files';
import type { CheckpointOptions } from '../checkpoints/types';
import { VertexqError } from '../errors';
import type { LayerOverride } from '../models/types';
import { calls } from '../options/table';
import { planTable } from '../reports/plan-table';
import { warningLines } from '../reports/table';
import { plural } from '../reports/units';
import { RunFiles } from '../runs/run-files';
import { type Context, lookOf } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { isCheckpoint } from './inputs';
import { methodsHelp } from './method-help';
import { addOverride } from './override-flag';
import { requireNoWarnings, strictHelp } from './strict';

interface Flags extends OutputFlags {
  output: string;
  config?: string;
  override?: LayerOverride[];
}

const both = ['quantizeModel', 'quantizeCheckpoint'] as const;

/** What is for networks, for runs that one process does, or for how work is done: of no use in a plan. */
const others: readonly string[] = [
  ...Object.keys(calls.quantizeModel).filter((name) => !Object.hasOwn(calls.quantizeCheckpoint, name)),
  ...['ownSamples', 'tuning', 'time', 'batchAxis', 'image'],
  ...['resume', 'otherKernels', 'threads', 'memory'],
];

const examples = `
What it does:
  Cuts what "vertexq quantize" would do with a checkpoint into units. Any number of processes on machines that share a folder
  do them ("vertexq work"), without a server, and one puts the output together ("vertexq finish"): to the bytes that one
  process would have written. Nothing is run and nothing is written but the plan.

  Options are those of "vertexq quantize". The plan is for this version of vertexq, for the input as it is now, and for processors
  like this one. Fits to calibration text (--calibration) are for as many workers as --parts says: each runs the network on its part
  of the text, fits its part of each layer's neurons, and waits for the others, layer by layer. A target needs --sensitivity.

${methodsHelp()}
Examples:
  $ vertexq plan Llama-3.2-1B -o Llama-3.2-1B-4bit --group-size 128 > plan.json
  $ vertexq work plan.json --shard 0/2      on one machine
  $ vertexq work plan.json --shard 1/2      on another, which has the same folder
  $ vertexq finish plan.json                when both have ended
  $ vertexq plan Llama-3.2-1B -o model.gguf --format gguf:q4_k_m > plan.json
  $ vertexq plan Llama-3.2-1B -o out --calibration texts.txt --parts 4 > plan.json
  $ vertexq plan Llama-3.2-1B -o out --group-size 128 --quiet | jq '.units | length'

  docs/fleet.md has more: Kubernetes, Slurm, and what is checked.
`;

/** Adds `vertexq plan`. */
export function addPlan(program: Command, context: Context): void {
  const command = program
    .command('plan')
    .summary('cut the work on a checkpoint into units, for several processes')
    .description(
      'Writes a plan of the work on a checkpoint to stdout, for "vertexq work" and "vertexq finish".',
    )
    .argument('<checkpoint>', 'a safetensors file, or a folder of them with an index; a GGUF file')
    .requiredOption('-o, --output <path>', 'where the quantized checkpoint goes')
    .option('--config <file.json>', 'options of quantizeCheckpoint in a file; those given here win');
  addFlags(
    command,
    both,
    {
      Layers: addOverride,
      Output: (own) =>
        own
          .option('--json', 'an error is an object on stdout too; the plan is JSON always')
          .option('-q, --quiet', 'no table of what will be done: warnings and errors alone')
          .option('--strict', strictHelp),
    },
    others,
  );
  // For the library to say why it refuses them.
  command.addOption(new Flag('--own-samples <n>').hideHelp());
  command
    .addHelpText('after', helpText(examples))
    .action((input: string, flags: Given) => plan(input, flags, context));
}

async function plan(input: string, given: Given, context: Context): Promise<void> {
  const { output, config, override: overrides, quiet = false, strict = false } = given as unknown as Flags;
  if (!(await isCheckpoint(input)))
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${input} is no checkpoint: the work on a network is one piece in this version. Do it with "vertexq quantize"`,
    );
  const files = new RunFiles();
  if (config !== undefined) files.reads('configuration file', config);
  const { ownSamples } = given;
  const own: CheckpointOptions = {
    ...optionsOf(both, given),
    ...(overrides && { overrides }),
    ...(ownSamples !== undefined && { ownSamples: Number(ownSamples) }),
  };
  const options = config === undefined ? own : await context.withCheckpointConfig(config, own);
  await addCheckpointPaths(files, input, output, options);
  const found = await context.planRun(input, output, { ...options, signal: context.signal }, files);
  const { summary, units } = found;
  const look = lookOf(context);
  const told = quiet
    ? warningLines({ warnings: summary.warnings, layers: [] }, look.paint)
    : `${planTable(summary, look)}\nplanned: ${plural(units.length, 'unit')}, for "vertexq work" and "vertexq finish"`;
  if (told !== '') context.stderr.write(`${told}\n`);
  context.stdout.write(`${JSON.stringify(found)}\n`);
  if (strict) requireNoWarnings(summary);
}
