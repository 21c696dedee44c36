import type { Command } from 'commander';
import { addDataPaths } from '../models/run-files';
import type { WriteCalibrationSetOptions } from '../models/write-calibration-set';
import { calibrationSetTable } from '../reports/calibration-set-table';
import { RunFiles } from '../runs/run-files';
import { type Context, showResult } from './context';
import { dataHelp } from './data-help';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { overwriteHelp, requireNoFile } from './overwrite';
import { strictHelp } from './strict';

const examples = `
What it does:
  Makes samples of an ONNX network's inputs of images, texts or arrays, as "vertexq quantize" does, and writes them to a file that --calibration,
  --holdout and --data take: made once, for many runs, and for machines that have neither the images nor sharp.
  .safetensors has one tensor an input, for samples of one shape; .jsonl a sample a line, whatever the shapes.
${dataHelp}
Examples:
  $ vertexq calibrate model.onnx -o set.safetensors --calibration photos/
  $ vertexq quantize model.onnx -o model.int4.onnx --calibration set.safetensors
`;

interface CalibrateFlags extends OutputFlags {
  output: string;
  overwrite?: boolean;
}

/** Adds `vertexq calibrate`. */
export function addCalibrate(program: Command, context: Context): void {
  const command = program
    .command('calibrate')
    .summary("write samples of a network's inputs to a file, for later runs")
    .description("Writes a calibration set: samples of a network's inputs, made of images, texts or arrays.")
    .argument('<model>', 'an ONNX file');
  addFlags(command, ['writeCalibrationSet'], {
    Output: (own) =>
      own
        .requiredOption('-o, --output <file>', 'the set: .safetensors or .jsonl')
        .option('--json', 'write what was made to stdout, as an object')
        .option('-q, --quiet', 'no table: warnings and errors alone')
        .option('--overwrite', overwriteHelp)
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((model: string, flags: Given) => calibrate(model, flags, context));
}

async function calibrate(input: string, flags: Given, context: Context): Promise<void> {
  const { output, overwrite = false, ...shown } = flags as unknown as CalibrateFlags;
  const options = optionsOf(['writeCalibrationSet'], flags) as unknown as WriteCalibrationSetOptions;
  // That something is an input is said before that it is there.
  const paths = new RunFiles();
  paths.reads('input', input, { only: true });
  await addDataPaths(paths, options);
  paths.writes('output', output, { only: true });
  await paths.check();
  if (!overwrite) await requireNoFile(output);
  const made = await context.writeCalibrationSet(input, output, { ...options, signal: context.signal });
  showResult(context, made, (look) => calibrationSetTable(made, look), shown);
}
