import type { Command } from 'commander';
import type { CompareOptions, Comparison } from '../compare/types';
import { writeWhole } from '../files';
import { addModelPaths } from '../models/run-files';
import { methodNames, methodsThat } from '../methods';
import type { Method } from '../types';
import { comparisonTable } from '../reports/comparison-table';
import { errorPlot } from '../reports/error-plot';
import { RunFiles } from '../runs/run-files';
import * as parse from './arguments';
import { type Context, lookOf } from './context';
import { readingFlagNames, without } from './data-flags';
import {
  addAlphabetFlags,
  addDataFlags,
  addLayerFlags,
  addMethodFlags,
  addThreadsFlag,
  dataHelp,
  dataOptions,
  formatFlag,
  type ModelFlags,
} from './model-flags';
import { progressDisplay } from './progress';

interface Flags extends ModelFlags {
  methods?: string[];
  bits?: number[];
  plot?: string;
  json?: boolean;
  quiet?: boolean;
}

const examples = `
What it does:
  Quantizes the network once for each method and width, in memory, and runs each result on the held-out samples beside
  the float network. No network is written: see "vertexq quantize".

  output    how far the network's outputs are from those of the float network: ‖Y′ − Y‖ / ‖Y‖ over the held-out samples
  cosine    mean cosine between the rows of the outputs and those of the float network
  error     the same ratio for each layer's own outputs, on the samples of the fit; the root mean square over layers
            (over those that have one: a layer whose outputs are all 0 has none)
  held out  likewise on the held-out samples. With error correction both are against the float network's outputs: compare
            methods that correct with those that do not (maly-saab, msq) by the network's output

  An option that only some methods take, such as --effort, goes to these.

${dataHelp}
Examples:
  $ vertexq compare model.onnx --calibration samples.npz
  $ vertexq compare model.onnx --calibration samples.npz --methods vertex,gptq --bits 2,3 --group-size 64
  $ vertexq compare model.onnx --calibration samples.npz --holdout test.npz --plot errors.svg
  $ vertexq compare model.onnx --calibration samples.npz --json | jq '.runs[] | [.method, .bits, .output.error]'

  Options that take several values end at the next option: give the model first.
`;

/** Adds `vertexq compare`. */
export function addCompare(program: Command, context: Context): void {
  const command = program
    .command('compare')
    .summary('compare methods and widths on an ONNX model')
    .description('Compares quantization methods at several widths on an ONNX model, side by side.')
    .argument('<model.onnx>', 'the float network')
    .option(
      '--methods <list>',
      `of ${methodNames.slice(0, -1).join(', ')} and ${methodNames.at(-1)}, with commas (default: ${methodsThat(({ compared }) => compared).join(',')})`,
      parse.words,
    )
    .option('--bits <list>', 'bits per weight, 1 to 8, with commas (default: 2,3,4)', parse.wholeNumbers);
  addDataFlags(command).optionsGroup('Alphabet:');
  addAlphabetFlags(command).optionsGroup('Methods:');
  addMethodFlags(command);
  addLayerFlags(command)
    .optionsGroup('Output:')
    .option('--plot <file.svg>', 'draw the errors over bits, a line for each method')
    .option('--json', 'write all results to stdout')
    .option('-q, --quiet', 'no progress, table and warnings')
    .addOption(formatFlag());
  addThreadsFlag(command)
    .addHelpText('after', examples)
    .action((model: string, flags: Flags) => compare(model, flags, context));
}

async function compare(input: string, flags: Flags, context: Context): Promise<void> {
  const { plot, json = false, quiet = false } = flags;
  await parse.refuseCheckpoint(input);
  // Before the work, not after it.
  if (plot !== undefined && !/\.svg$/i.test(plot))
    throw new RangeError(`The plot ${plot}: plots are SVG in this version, name it .svg`);
  const files = new RunFiles();
  if (plot !== undefined) files.writes('plot', plot, { only: true });
  const options = compareOptions(flags);
  await addModelPaths(files, input, null, options);
  await files.check();
  await files.requireWritable();
  const look = lookOf(context);
  const display = progressDisplay(context, look, quiet);
  let comparison: Comparison;
  try {
    comparison = await context.compareMethods(
      input,
      { ...options, signal: context.signal, onProgress: (progress) => display.show(progress) },
      files,
    );
  } finally {
    display.stop();
  }
  if (plot !== undefined) await writeWhole(plot, Buffer.from(errorPlot(comparison)), context.signal);
  if (!quiet) context.stderr.write(`${comparisonTable(comparison, look)}\n`);
  if (json) context.stdout.write(`${JSON.stringify(comparison, null, 2)}\n`);
}

/** What was given, by the library's names. */
function compareOptions(flags: Flags): CompareOptions {
  const { methods, ...options } = without(flags, [
    ...readingFlagNames,
    'plot',
    'json',
    'quiet',
    'calibration',
  ]);
  return {
    ...options,
    // Whether these are methods is for the library to say.
    ...(methods ? { methods: methods as Method[] } : {}),
    ...dataOptions(flags),
  };
}
