import type { Command } from 'commander';
import type { EvaluateOptions, Evaluation } from '../evaluate/types';
import { evaluationTable } from '../reports/evaluation-table';
import * as parse from './arguments';
import { type Context, lookOf } from './context';
import { addReadingFlags, dataFlagsOf, onePath, type ReadingFlags } from './data-flags';
import { progressDisplay } from './progress';

interface Flags extends ReadingFlags {
  data: string[];
  runs?: number;
  accuracyLevel?: NonNullable<EvaluateOptions['accuracyLevel']>;
  threads?: number;
  json?: boolean;
  quiet?: boolean;
}

const examples = `
What it does:
  Runs both networks on the same samples, batch by batch, in onnxruntime-node as a program would.

  cosine         mean cosine between the rows (last axis) of the output and those of the float network
  error          ‖Y′ − Y‖ / ‖Y‖ over all samples; SQNR is the same in decibels, 20 more for each tenth
  largest error  the largest |y′ − y|
  same answer    share of the rows whose largest entry is at the same place; of integers, share of equal ones
  latency        of one batch, the two networks taking turns

  Use samples that calibration has not seen: on those it has, errors look smaller than they are.

Examples:
  $ vertexq eval model.onnx model.int4.onnx --data test.npz
  $ vertexq eval model.onnx model.int4.onnx --data test.txt --tokenizer tokenizer.json --batch-size 8
  $ vertexq eval model.onnx model.qdq.onnx --data test.npz --accuracy-level 1         products in float32
  $ vertexq eval model.onnx model.int4.onnx --data test.npz --json | jq '.outputs[] | [.name, .sqnrDb]'

  Options that take several values end at the next option: give the networks first.
`;

/** Adds `vertexq eval`. */
export function addEval(program: Command, context: Context): void {
  const command = program
    .command('eval')
    .summary('compare a quantized ONNX model with the float one')
    .description(
      'Compares what a quantized ONNX model gives with what the float one gives, on held-out data.',
    )
    .argument('<float.onnx>', 'the float network')
    .argument('<quantized.onnx>', 'the quantized network')
    .optionsGroup('Data:')
    .requiredOption(
      '--data <file...>',
      'held-out samples, as --calibration of "vertexq quantize" takes them',
    );
  addReadingFlags(command)
    .optionsGroup('Running:')
    .option(
      '--runs <n>',
      'how often each network is timed; 0 for not at all (default: 10)',
      parse.wholeNumber,
    )
    .option(
      '--accuracy-level <n>',
      'for networks with DequantizeLinear (qdq): 1 computes products in float32, 4 rounds activations to 8 bits (default: what onnxruntime does, 4)',
      parse.wholeNumber,
    )
    .option('--threads <n>', 'threads of onnxruntime (default: one a core, at most 8)', parse.wholeNumber)
    .optionsGroup('Output:')
    .option('--json', 'write all results to stdout')
    .option('-q, --quiet', 'no progress, table and warnings')
    .addHelpText('after', examples)
    .action((float: string, quantized: string, flags: Flags) => evaluate(float, quantized, flags, context));
}

async function evaluate(float: string, quantized: string, flags: Flags, context: Context): Promise<void> {
  const { json = false, quiet = false, data, runs, accuracyLevel, threads } = flags;
  await parse.refuseCheckpoint(float);
  await parse.refuseCheckpoint(quantized);
  const look = lookOf(context);
  const display = progressDisplay(context, look, quiet);
  let evaluation: Evaluation;
  try {
    evaluation = await context.evaluateModel(float, quantized, {
      data: onePath(data),
      ...dataFlagsOf(flags),
      ...(runs === undefined ? {} : { runs }),
      ...(accuracyLevel === undefined ? {} : { accuracyLevel }),
      ...(threads === undefined ? {} : { threads }),
      signal: context.signal,
      onProgress: (progress) => display.show(progress),
    });
  } finally {
    display.stop();
  }
  if (!quiet) context.stderr.write(`${evaluationTable(evaluation, look)}\n`);
  if (json) context.stdout.write(`${JSON.stringify(evaluation, null, 2)}\n`);
}
