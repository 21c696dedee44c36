import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { addCheckpointPaths } from '../checkpoints/run-files';
import { partsThere } from '../containers/gguf/parts';
import { writeWhole } from '../files/output-file';
import { plainPath } from '../files/plain-path';
import { addModelPaths } from '../models/run-files';
import type { CheckpointOptions, CheckpointReport } from '../checkpoints/types';
import type { LayerOverride, ModelOptions, Report } from '../models/types';
import { checkpointSummary, checkpointTable } from '../reports/checkpoint-table';
import { htmlReport } from '../reports/html/html-report';
import { planTable } from '../reports/plan-table';
import { layerSummary, layerTable, warningLines } from '../reports/table';
import { commandLine, fewOf, visible } from '../reports/text';
import type { RunPlan } from '../runs/plan';
import { RunFiles } from '../runs/run-files';
import { workFolderOf, workName } from '../runs/work-name';
import type { Progress, WarningOptions } from '../types';
import { type Context, type Look, lookOf, showResult } from './context';
import { dataHelp } from './data-help';
import { withWarnings } from './early-warnings';
import { addFlags, type Given, optionsOf, type OutputFlags, refuseFlags } from './flags';
import { helpText } from './help-text';
import { isCheckpoint } from './inputs';
import { methodsHelp } from './method-help';
import { addOverride } from './override-flag';
import { isThereAlready, overwriteHelp, requireNoFile } from './overwrite';
import { progressDisplay, progressFlag } from './progress';
import { requireNoWarnings, strictHelp } from './strict';

interface Flags extends OutputFlags {
  output: string;
  config?: string;
  override?: LayerOverride[];
  report?: string;
  dryRun?: boolean;
  strict?: boolean;
  skipExisting?: boolean;
  overwrite?: boolean;
}

const both = ['quantizeModel', 'quantizeCheckpoint'] as const;

const examples = `
What it does:
  The weights of products, convolutions and recurrent layers become codes of a few bits with a scale per group. The network
  is run on the calibration data, layer after layer, and each layer is fitted to what the layers before it, already
  quantized, produce: with error correction, so that its outputs are again those of the float network.

${methodsHelp()}
${dataHelp}
Configuration file:
  The options of quantizeModel, for checkpoints those of quantizeCheckpoint, by the names they have there, and others for
  single layers; later ones win. Paths are relative to the file. For example vertexq.config.json:
    { "calibration": "samples.npz", "bits": 4,
      "overrides": [{ "layers": "*/head/*", "bits": 8 },
                    { "layers": ["*up*", "*down*"], "groupSize": 16 }] }
  Each --override comes after those of the file.

Checkpoints:
  A safetensors file gives a file, a folder with an index a folder that vLLM and transformers load. Each neuron has one
  scale unless --group-size says otherwise. A language model is run on text (--calibration, through the folder's own
  tokenizer.json) and fitted layer after layer, as networks are; what others see can be recorded elsewhere (--activations);
  without either every weight is rounded by itself. Where there is no text, the model can draw some itself (--own-samples).

Interrupted runs:
  What is done is kept beside the output, also when the process is killed: --resume goes on with it.

Examples:
  $ vertexq quantize model.onnx -o model.int4.onnx --calibration samples.npz
  $ vertexq quantize model.onnx -o out.onnx --calibration a.npz b.npz --holdout test.npz --report report.html
  $ vertexq quantize model.onnx -o out.onnx --calibration texts.txt --tokenizer tokenizer.json --max-length 128
  $ vertexq quantize model.onnx -o out.onnx --calibration photos/ --image-mean .485,.456,.406 --image-std .229,.224,.225
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npy --bits 2 --group-size 16
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --bits 3 --effort 0       the walk alone: faster
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --method gptq --no-error-correction
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --levels 3 --group-size channel --format float
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --layers '*attention*' --skip '*/head/*'
  $ vertexq quantize model.onnx -o out.onnx --config vertexq.config.json --bits 3
  $ vertexq quantize model.onnx -o out.onnx --bits 4 --override '*/head/*=bits:8,error-correction:false'
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --dry-run      what would be done, nothing is run
  $ vertexq quantize model.onnx -o out.onnx --bits 8                         no data: plain rounding
  $ vertexq quantize Llama-3.2-1B -o Llama-3.2-1B-4bit --group-size 128      a checkpoint, no data
  $ vertexq quantize Llama-3.2-1B -o out --group-size 128 --calibration texts.txt           fitted to text
  $ vertexq quantize Llama-3.2-1B -o out --group-size 128 --own-samples 256                 fitted to its own texts
  $ vertexq quantize Llama-3.2-1B -o model.gguf --format gguf:q4_0 --calibration texts.txt  for llama.cpp
  $ vertexq quantize model-f16.gguf -o model.gguf --format gguf:q4_0
  $ vertexq quantize Llama-3.2-1B -o out --group-size 128 --activations inputs.safetensors --resume
  $ vertexq quantize Llama-3.2-1B -o out --config vertexq.config.json --activations inputs.safetensors
  $ vertexq quantize Llama-3.2-1B -o out --format gptq --override '*down_proj*=bits:8' --dry-run

  Options that take several values end at the next option: give the model first.
`;

/** Adds `vertexq quantize`. */
export function addQuantize(program: Command, context: Context, args: readonly string[]): void {
  const command = program
    .command('quantize')
    .summary('quantize the weights of an ONNX model or a checkpoint')
    .description('Quantizes the weights of an ONNX model, or of a safetensors checkpoint, to 1–8 bits.')
    .argument('<model>', 'an ONNX file; a safetensors file, or a folder of them with an index; a GGUF file')
    .requiredOption('-o, --output <path>', 'where the quantized network goes')
    .option(
      '--config <file.json>',
      'options in a file, also for single layers (see below); those given here win',
    );
  addFlags(command, both, {
    Layers: addOverride,
    Output: (own) =>
      own
        .option(
          '--report <file>',
          'write all that is known about each layer: as a page to read (.html), or as JSON (any other name)',
        )
        .option('--json', 'write the report to stdout')
        .option('-q, --quiet', 'no progress and no table: warnings and errors alone')
        .addOption(progressFlag())
        .option('--dry-run', 'say what would be done; run and write nothing')
        .option('--skip-existing', 'do nothing, with success, where the output is there already')
        .option('--overwrite', overwriteHelp)
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((model: string, flags: Given) => quantize(model, flags, context, args));
}

async function quantize(
  input: string,
  given: Given,
  context: Context,
  args: readonly string[],
): Promise<void> {
  const flags = given as unknown as Flags;
  const { output, report: reportFile, dryRun, json = false, quiet = false, override: overrides } = flags;
  const say = (text: string) => quiet || context.stderr.write(`${text}\n`);
  const isForCheckpoint = await isCheckpoint(input);
  refuseOthers(given, isForCheckpoint);
  if (dryRun && isPage(reportFile))
    throw new RangeError(`The report ${reportFile}: of a dry run there is JSON alone, name it .json`);
  const files = new RunFiles();
  if (flags.config !== undefined) files.reads('configuration file', flags.config);
  if (reportFile !== undefined) files.writes('report', reportFile, { only: true });
  // Before the work, not after it.
  await files.requireWritable();
  const own = { ...optionsOf(both, given), ...(overrides && { overrides }) };
  const kind = isForCheckpoint ? checkpointRun : modelRun;
  const run = await kind(input, output, own, flags.config, context, files);
  await files.check();
  if (flags.skipExisting && (isThere(output) || (await isThereInParts(output, given))))
    return void say(`${output} is there already: skipped`);
  // A run that was killed may have left its output whole.
  if (!flags.overwrite && given['resume'] !== true) {
    if (reportFile !== undefined) await requireNoFile(reportFile);
    if (!dryRun) await requireNoOutput(output, given);
  }
  const look = lookOf(context);
  let result: RunPlan | Report | CheckpointReport;
  if (dryRun) {
    const plan = await run.plan();
    showResult(context, plan, (own) => planTable(plan, own), { json, quiet });
    result = plan;
  } else {
    const display = withWarnings(progressDisplay(context, look, flags), context, look, flags);
    try {
      const watching = {
        onProgress: (progress: Progress) => display.show(progress),
        onWarning: (...told: Parameters<typeof display.onWarning>) => display.onWarning(...told),
      };
      const { report, table } = await run.quantize(watching, look).finally(() => display.stop());
      result = { ...report, command: commandLine(['vertexq', ...args]) };
      say(`${table}\nwritten: ${visible(fewOf(report.files ?? [output], mostFiles))}`);
      const warnings = quiet ? warningLines(report, look.paint) : '';
      if (warnings !== '') context.stderr.write(`${warnings}\n`);
    } catch (error) {
      const works = [workFolderOf(output), join(plainPath(output), workName)];
      if (context.signal.aborted && works.some((path) => existsSync(path)))
        say('What is done is kept: --resume goes on with it.');
      throw error;
    }
  }
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (reportFile !== undefined) {
    const written = isPage(reportFile) && 'layers' in result ? await htmlReport(result) : text;
    await writeWhole(reportFile, Buffer.from(written), context.signal);
  }
  if (json && !dryRun) context.stdout.write(text);
  if (flags.strict) requireNoWarnings(result);
}

/** Whether a report is for people. */
const isPage = (file: string | undefined) => file !== undefined && /\.html?$/i.test(file);

/** Outputs get their names when they are whole; a folder that an unfinished run of ours is in is none yet. */
const isThere = (output: string) => existsSync(output) && !existsSync(join(plainPath(output), workName));

/** Parts of GGUF outputs likewise, where there may be some. */
const isThereInParts = async (output: string, given: Given) =>
  given['maxFileSize'] !== undefined &&
  (await partsThere(plainPath(output))).length > 0 &&
  !existsSync(workFolderOf(output));

/** Files that are named at the end. */
const mostFiles = 6;

/** Throws ERR_VERTEXQ_EXISTS where a file would be replaced. What folders may hold the library says. */
async function requireNoOutput(output: string, given: Given): Promise<void> {
  const path = plainPath(output);
  const [part] = given['maxFileSize'] === undefined ? [] : await partsThere(path);
  const others = ', or --skip-existing to take it as done';
  if (part !== undefined) throw isThereAlready(part, others);
  await requireNoFile(path, output, others);
}

/** Layers of a table that is not looked at on a terminal: a log should not be made of it. */
const mostLogged = 300;

const showsLayers = ({ layers }: Pick<Report, 'layers'>, { terminal }: Look) =>
  terminal || layers.length <= mostLogged;

/** A run on one kind of input. */
interface Run {
  plan(): Promise<RunPlan>;
  /** The report, and as it is shown. */
  quantize(
    watching: { onProgress: (progress: Progress) => void } & Required<WarningOptions>,
    look: Look,
  ): Promise<{ report: Report | CheckpointReport; table: string }>;
}

type MakeRun = (
  input: string,
  output: string,
  own: ModelOptions & CheckpointOptions,
  config: string | undefined,
  context: Context,
  files: RunFiles,
) => Promise<Run>;

const modelRun: MakeRun = async (input, output, own, config, context, files) => {
  const given = config === undefined ? own : await context.withConfig(config, own);
  await addModelPaths(files, input, output, given);
  const options = { ...given, signal: context.signal };
  return {
    plan: () => context.planModel(input, output, options, files),
    quantize: async (watching, look) => {
      const report = await context.quantizeModel(input, output, { ...options, ...watching }, files);
      return { report, table: (showsLayers(report, look) ? layerTable : layerSummary)(report, look) };
    },
  };
};

const checkpointRun: MakeRun = async (input, output, own, config, context, files) => {
  const given = config === undefined ? own : await context.withCheckpointConfig(config, own);
  await addCheckpointPaths(files, input, output, given);
  const options = { ...given, signal: context.signal };
  return {
    plan: () => context.planCheckpoint(input, output, options, files),
    quantize: async (watching, look) => {
      const report = await context.quantizeCheckpoint(input, output, { ...options, ...watching }, files);
      return {
        report,
        table: (showsLayers(report, look) ? checkpointTable : checkpointSummary)(report, look),
      };
    },
  };
};

/** Throws a RangeError at a flag that is for the other kind of input. The library refuses a format of that. */
function refuseOthers(given: Given, isForCheckpoint: boolean): void {
  const [own, other] = isForCheckpoint ? (['quantizeCheckpoint', 'quantizeModel'] as const) : both;
  refuseFlags(own, other, given, isForCheckpoint);
}
