import type { Command } from 'commander';
import type { EvaluateOptions, Evaluation } from '../evaluate/types';
import { evaluationTable } from '../reports/evaluation-table';
import { type Context, lookOf } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { refuseCheckpoint } from './inputs';
import { progressDisplay } from './progress';

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
    .argument('<quantized.onnx>', 'the quantized network');
  addFlags(command, ['evaluateModel'], {
    Output: (own) =>
      own
        .option('--json', 'write all results to stdout')
        .option('-q, --quiet', 'no progress, table and warnings'),
  })
    .addHelpText('after', examples)
    .action((float: string, quantized: string, flags: Given) => evaluate(float, quantized, flags, context));
}

async function evaluate(float: string, quantized: string, flags: Given, context: Context): Promise<void> {
  const { json = false, quiet = false } = flags as OutputFlags;
  await refuseCheckpoint(float);
  await refuseCheckpoint(quantized);
  const look = lookOf(context);
  const display = progressDisplay(context, look, quiet);
  let evaluation: Evaluation;
  try {
    evaluation = await context.evaluateModel(float, quantized, {
      ...(optionsOf(['evaluateModel'], flags) as unknown as EvaluateOptions),
      signal: context.signal,
      onProgress: (progress) => display.show(progress),
    });
  } finally {
    display.stop();
  }
  if (!quiet) context.stderr.write(`${evaluationTable(evaluation, look)}\n`);
  if (json) context.stdout.write(`${JSON.stringify(evaluation, null, 2)}\n`);
}
