import type { Command } from 'commander';
import type { CompareOptions, Comparison } from '../compare/types';
import { writeWhole } from '../files/output-file';
import { addModelPaths } from '../models/run-files';
import { comparisonTable } from '../reports/comparison-table';
import { errorPlot } from '../reports/error-plot';
import { RunFiles } from '../runs/run-files';
import { type Context, lookOf, showResult } from './context';
import { dataHelp } from './data-help';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { refuseCheckpoint } from './inputs';
import { overwriteHelp, requireNoFile } from './overwrite';
import { progressDisplay, progressFlag } from './progress';
import { strictHelp } from './strict';

interface Flags extends OutputFlags {
  plot?: string;
  overwrite?: boolean;
}

const examples = `
What it does:
  Quantizes the network once for each method and width, in a temporary folder, and runs each result on the held-out samples beside
  the float network. No network is kept: see "vertexq quantize".

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
    .argument('<model.onnx>', 'the float network');
  addFlags(command, ['compareModel'], {
    Output: (own) =>
      own
        .option('--plot <file.svg>', 'draw the errors over the size of the weights, a line for each method')
        .option('--json', 'write all results to stdout')
        .option('-q, --quiet', 'no progress and no table: warnings and errors alone')
        .addOption(progressFlag())
        .option('--overwrite', overwriteHelp)
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((model: string, flags: Given) => compare(model, flags, context));
}

async function compare(input: string, flags: Given, context: Context): Promise<void> {
  const { plot, overwrite = false, json = false, quiet = false, strict = false } = flags as Flags;
  await refuseCheckpoint(input);
  // Before the work, not after it.
  if (plot !== undefined && !/\.svg$/i.test(plot))
    throw new RangeError(`The plot ${plot}: plots are SVG in this version, name it .svg`);
  const files = new RunFiles();
  if (plot !== undefined) files.writes('plot', plot, { only: true });
  const options: CompareOptions = optionsOf(['compareModel'], flags);
  await addModelPaths(files, input, null, options);
  await files.check();
  await files.requireWritable();
  if (plot !== undefined && !overwrite) await requireNoFile(plot);
  const look = lookOf(context);
  const display = progressDisplay(context, look, flags);
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
  showResult(context, comparison, (own) => comparisonTable(comparison, own), { json, quiet, strict });
}
