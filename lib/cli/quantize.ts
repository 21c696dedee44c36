import { Option, type Command } from 'commander';
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { checkOutput, writeWhole } from '../files';
import type { ModelOptions, Report } from '../models/types';
import { layerSummary, layerTable } from '../reports/table';
import * as parse from './arguments';
import { type Context, lookOf } from './context';
import { progressDisplay } from './progress';

interface Flags {
  output: string;
  calibration?: string[];
  holdout?: number | string;
  method?: NonNullable<ModelOptions['method']>;
  bits?: number;
  levels?: number;
  grid?: NonNullable<ModelOptions['grid']>;
  groupSize?: number | 'channel';
  box?: NonNullable<ModelOptions['box']>;
  rank?: number | 'auto';
  scale?: NonNullable<ModelOptions['scale']>;
  format?: NonNullable<ModelOptions['format']>;
  layers?: string[];
  skip?: string[];
  batchSize?: number;
  threads?: number;
  report?: string;
  json?: boolean;
  quiet?: boolean;
}

const examples = `
What it does:
  Each MatMul and Gemm weight becomes codes of a few bits with a scale per group. The network is run on the calibration
  data, layer after layer, and each layer is fitted to what the layers before it, already quantized, produce. With
  "maly-saab" the weights walk along directions that the data does not see to a point where nearly all of them are on
  the grid, and only the rest is rounded; "msq" rounds every weight, and needs no data.

Calibration data:
  .npz files hold arrays by input name, as numpy.savez(file, ids=…, mask=…) writes them; a .npy file serves a network
  with a single input. The first dimension counts samples. Use data like that which the network will see: as many rows
  reach a layer as there are samples (times tokens), and about twice as many as it has inputs are good.

Examples:
  $ vertexq quantize model.onnx -o model.int4.onnx --calibration samples.npz
  $ vertexq quantize model.onnx -o out.onnx --calibration a.npz b.npz --holdout test.npz --report report.json
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npy --bits 2 --group-size 16
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --levels 3 --group-size channel --format float
  $ vertexq quantize model.onnx -o out.onnx --calibration samples.npz --layers '*attention*' --skip '*/head/*'
  $ vertexq quantize model.onnx -o out.onnx --bits 8                         no data: plain rounding

  Options that take several values end at the next option: give the model first.
`;

/** Adds `vertexq quantize`. */
export function addQuantize(program: Command, context: Context): void {
  const choice = (flags: string, text: string, choices: readonly string[]) =>
    new Option(flags, text).choices(choices);
  program
    .command('quantize')
    .summary('quantize the weights of an ONNX model')
    .description('Quantizes the weights of an ONNX model to 1–8 bits.')
    .argument('<model.onnx>', 'the network, in float32')
    .requiredOption('-o, --output <file>', 'where the quantized network goes')
    .optionsGroup('Data:')
    .option(
      '--calibration <file...>',
      '.npz files of input tensors by name, or .npy files for a single input',
    )
    .option(
      '--holdout <fraction|file>',
      'share of the samples kept out of the fit for the reported error, or a file of others (default: 0.1)',
      parse.holdout,
    )
    .option(
      '--batch-size <n>',
      'samples per run of the network (default: 32, or what the network fixes)',
      parse.wholeNumber,
    )
    .optionsGroup('Alphabet:')
    .option('--bits <n>', 'bits per weight, 1 to 8 (default: 4)', parse.wholeNumber)
    .option(
      '--levels <n>',
      'number of values a weight may take, instead of --bits: 3 is ternary',
      parse.wholeNumber,
    )
    .addOption(
      choice(
        '--grid <kind>',
        'integer {−K…K}·s; asymmetric {0…L−1}·s with a zero point; zero-free {±½, ±3⁄2, …}·s (default: asymmetric; integer for an odd --levels; zero-free for two)',
        ['integer', 'asymmetric', 'zero-free'],
      ),
    ) // prettier-ignore
    .option(
      '--group-size <n|channel>',
      'inputs that share a scale, or "channel": all of a neuron\'s (default: 32)',
      parse.groupSize,
    )
    .addOption(
      choice(
        '--scale <rule>',
        'max: the largest weight sets it, as maly-saab needs; search: least error (default: search for msq)',
        ['max', 'search'],
      ),
    )
    .optionsGroup('Method:')
    .addOption(
      choice(
        '--method <name>',
        'maly-saab: the vertex walk; msq: rounding (default: maly-saab, without data msq)',
        ['maly-saab', 'msq'],
      ),
    )
    .addOption(
      choice(
        '--box <kind>',
        'where the walk stays: cell, the two levels around each weight; saturate, the whole alphabet (default: cell)',
        ['cell', 'saturate'],
      ),
    )
    .option(
      '--rank <n|fraction|auto>',
      'directions of the data to hold exactly: a number, a fraction of the inputs, or auto (default: auto)',
      parse.rank,
    )
    .optionsGroup('Layers:')
    .option('--layers <glob...>', 'only layers with such names (vertexq inspect lists them)')
    .option('--skip <glob...>', 'all but layers with such names')
    .optionsGroup('Output:')
    .addOption(
      choice(
        '--format <name>',
        'matmulnbits: com.microsoft.MatMulNBits nodes, small; float: values on the grid in the original layout (default: matmulnbits)',
        ['matmulnbits', 'float'],
      ),
    )
    .option('--report <file.json>', 'write all that is known about each layer to a file')
    .option('--json', 'write the report to stdout')
    .option('-q, --quiet', 'no progress, table and warnings')
    .optionsGroup('Other:')
    .option(
      '--threads <n>',
      'threads for the numerical work; results do not depend on it (default: all cores)',
      parse.wholeNumber,
    )
    .addHelpText('after', examples)
    .action((model: string, flags: Flags) => quantize(model, flags, context));
}

async function quantize(input: string, flags: Flags, context: Context): Promise<void> {
  const { output, report: reportFile, json = false, quiet = false } = flags;
  await parse.refuseCheckpoint(input);
  if (reportFile !== undefined) await checkReportFile(reportFile, input, flags);
  const look = lookOf(context);
  const display = progressDisplay(context, look, quiet);
  let report: Report;
  try {
    report = await context.quantizeModel(input, output, {
      ...modelOptions(flags),
      signal: context.signal,
      onProgress: (progress) => display.show(progress),
    });
  } finally {
    display.stop();
  }
  const text = `${JSON.stringify(report, null, 2)}\n`;
  if (reportFile !== undefined) await writeWhole(reportFile, Buffer.from(text), context.signal);
  if (!quiet)
    context.stderr.write(`${look.terminal ? layerTable(report, look) : layerSummary(report, look)}\n`);
  if (json) context.stdout.write(text);
}

/** What was given, by the library's names. */
function modelOptions({
  output: _output,
  report: _report,
  json: _json,
  quiet: _quiet,
  calibration,
  ...options
}: Flags): ModelOptions {
  if (calibration === undefined) return options;
  return { ...options, calibration: calibration.length === 1 ? calibration[0]! : calibration };
}

/** Before the work, not after it. */
async function checkReportFile(file: string, input: string, { output, ...flags }: Flags): Promise<void> {
  if (/\.html?$/i.test(file))
    throw new RangeError(`The report ${file}: reports are JSON in this version, name it .json`);
  for (const [path, what] of [
    [input, 'input'],
    [output, 'output'],
  ] as const)
    if ((await placeOf(file)) === (await placeOf(path)))
      throw new RangeError(`The report ${file} is the ${what}: give it another name`);
  const data = [...(flags.calibration ?? []), flags.holdout];
  await checkOutput([input, ...data.filter((path) => typeof path === 'string')], file);
}

/** Where a file that need not be there would be. */
async function placeOf(file: string): Promise<string> {
  const folder = resolve(dirname(file));
  return join(await realpath(folder).catch(() => folder), basename(file));
}
