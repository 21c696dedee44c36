import type { Command } from 'commander';
import { addDataPaths } from '../models/run-files';
import { RunFiles } from '../runs/run-files';
import { tuningTable } from '../reports/tuning-table';
import type { TuneOptions } from '../tuning/types';
import { type Context, lookOf, showResult } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { overwriteHelp, requireNoFile } from './overwrite';
import { progressDisplay, progressFlag } from './progress';
import { strictHelp } from './strict';

const examples = `
What it does:
  Changes the scales of a quantized language model, all of them together, for what it says of the next token to come near to what the float
  model says: gradients of the Kullback–Leibler divergence go back through the whole network. Codes and zero points stay, so the output is
  as large and loads as before. What lowers the divergence on held-out text is kept; else the output has the scales that it was given.

  <quantized> may be of vertexq or of other tools: compressed-tensors (pack-quantized), gptq, gptq_v2. Time: about eight runs of the network on
  the text for each round. Of use at 2 and 3 bits most.

Examples:
  $ vertexq quantize SmolLM2-135M -o out --calibration texts.txt --bits 3 --group-size 64
  $ vertexq tune SmolLM2-135M out -o out-tuned --calibration texts.txt
  $ vertexq eval SmolLM2-135M out out-tuned --data other-texts.txt
`;

interface TuneFlags extends OutputFlags {
  output: string;
  overwrite?: boolean;
}

/** Adds `vertexq tune`. */
export function addTune(program: Command, context: Context): void {
  const command = program
    .command('tune')
    .summary("tune a quantized language model's scales to the float one's outputs")
    .description(
      "Tunes the scales of a quantized language model for its outputs to be near to the float one's.",
    )
    .argument('<float>', 'the float model: a .safetensors file or a folder')
    .argument('<quantized>', 'the quantized one, in the format compressed-tensors, gptq or gptq_v2');
  addFlags(command, ['tuneCheckpoint'], {
    Output: (own) =>
      own
        .requiredOption('-o, --output <path>', 'the tuned model: a folder where the quantized one is one')
        .option('--json', 'write all results to stdout')
        .option('-q, --quiet', 'no progress and no table: warnings and errors alone')
        .addOption(progressFlag())
        .option('--overwrite', overwriteHelp)
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((float: string, quantized: string, flags: Given) => tune(float, quantized, flags, context));
}

async function tune(float: string, quantized: string, flags: Given, context: Context): Promise<void> {
  const {
    output,
    overwrite = false,
    json = false,
    quiet = false,
    strict = false,
  } = flags as unknown as TuneFlags;
  const options = optionsOf(['tuneCheckpoint'], flags) as unknown as TuneOptions;
  // That something is an input is said before that it is there.
  const paths = new RunFiles();
  paths.reads('float model', float, { only: true });
  paths.reads('quantized model', quantized, { only: true });
  await addDataPaths(paths, options);
  paths.writes('output', output, { only: true });
  await paths.check();
  if (!overwrite) await requireNoFile(output);
  const display = progressDisplay(context, lookOf(context), flags);
  const report = await context
    .tuneCheckpoint(
      float,
      quantized,
      output,
      { ...options, signal: context.signal, onProgress: (progress) => display.show(progress) },
      new RunFiles(),
    )
    .finally(() => display.stop());
  showResult(context, report, (own) => tuningTable(report, own), { json, quiet, strict });
}
