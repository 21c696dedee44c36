import type { Command } from 'commander';
import { writeWhole } from '../files/output-file';
import { sensitivityTable } from '../reports/sensitivity-table';
import { addDataPaths } from '../models/run-files';
import { RunFiles } from '../runs/run-files';
import type { SensitivityOptions } from '../sensitivity/measure-sensitivity';
import { type Context, lookOf, showResult } from './context';
import { dataHelp } from './data-help';
import { addFlags, type Given, optionsOf, type OutputFlags, refuseFlags } from './flags';
import { helpText } from './help-text';
import { isCheckpoint } from './inputs';
import { overwriteHelp, requireNoFile } from './overwrite';
import { progressDisplay, progressFlag } from './progress';
import { strictHelp } from './strict';

const both = ['sensitivityOfModel', 'sensitivityOfCheckpoint'] as const;

const examples = `
What it does:
  Tells what each layer alone, in each width that the output's format has for it, does to the network's outputs: the KL divergence of
  logits (language models, classifiers), else the squared error. The network is run forward and back once; no layer is quantized in it.
  "vertexq quantize --sensitivity" takes the file and chooses widths for a size by it.
${dataHelp}
Examples:
  $ vertexq sensitivity model.onnx --calibration samples.npz -o sensitivity.json
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --target-size 2.5MB --sensitivity sensitivity.json
  $ vertexq sensitivity Llama-3.2-1B --calibration texts.txt --format gguf -o sensitivity.json
  $ vertexq quantize Llama-3.2-1B -o model.gguf --format gguf --target-size 700MB --sensitivity sensitivity.json
`;

interface Flags extends OutputFlags {
  output?: string;
  overwrite?: boolean;
}

/** Adds `vertexq sensitivity`. */
export function addSensitivity(program: Command, context: Context): void {
  const command = program
    .command('sensitivity')
    .summary('tell what each layer in each width does to the outputs')
    .description('Tells what each layer of a network, in each width, does to its outputs, for --target-size.')
    .argument('<model>', 'an ONNX file; a safetensors file, or a folder of them with an index; a GGUF file')
    .option('-o, --output <file.json>', 'where the result goes, for --sensitivity of "vertexq quantize"');
  addFlags(command, both, {
    Output: (own) =>
      own
        .option('--json', 'write the result to stdout')
        .option('-q, --quiet', 'no progress and no table: warnings and errors alone')
        .addOption(progressFlag())
        .option('--overwrite', overwriteHelp)
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((model: string, flags: Given) => sensitivity(model, flags, context));
}

async function sensitivity(input: string, flags: Given, context: Context): Promise<void> {
  const { output, overwrite = false, json = false, quiet = false, strict = false } = flags as Flags;
  const isForCheckpoint = await isCheckpoint(input);
  const [own, other] = isForCheckpoint ? ([both[1], both[0]] as const) : both;
  refuseFlags(own, other, flags, isForCheckpoint);
  const files = new RunFiles();
  files.reads('input', input, { only: true });
  const given = optionsOf([own], flags) as SensitivityOptions;
  await addDataPaths(files, given);
  if (output !== undefined) files.writes('output', output, { only: true });
  await files.check();
  // Before the work, not after it.
  await files.requireWritable();
  if (output !== undefined && !overwrite) await requireNoFile(output);
  const display = progressDisplay(context, lookOf(context), flags);
  const options = {
    ...given,
    signal: context.signal,
    onProgress: (progress) => display.show(progress),
  } as SensitivityOptions;
  const found = await context.measureSensitivity(input, options, files).finally(() => display.stop());
  if (output !== undefined)
    await writeWhole(output, Buffer.from(`${JSON.stringify(found, null, 2)}\n`), context.signal);
  showResult(context, found, (look) => sensitivityTable(found, look), { json, quiet, strict });
}
