import type { Command } from 'commander';
import { VertexqError } from '../errors';
import type { EvaluateCheckpointOptions } from '../evaluate/language/types';
import type { EvaluateOptions } from '../evaluate/types';
import { checkpointEvaluationTable } from '../reports/checkpoint-evaluation-table';
import { evaluationTable } from '../reports/evaluation-table';
import { type Context, lookOf, showResult } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags, refuseFlags } from './flags';
import { helpText } from './help-text';
import { isCheckpoint } from './inputs';
import { progressDisplay, progressFlag } from './progress';
import { strictHelp } from './strict';

const examples = `
ONNX networks:
  Both are run on the same samples, batch by batch, in onnxruntime-node as a program would.

  cosine         mean cosine between the rows (last axis) of the output and those of the float network
  error          ‖Y′ − Y‖ / ‖Y‖ over all samples; SQNR is the same in decibels, 20 more for each tenth
  largest error  the largest |y′ − y|
  same answer    share of the rows whose largest entry is at the same place; of integers, share of equal ones; none of outputs
                 that are called embeddings, features or states
  latency        of one batch, the two networks taking turns

Language models (checkpoints: .safetensors, a folder or .gguf; several quantized ones side by side):
  Each foretells the next token of text, which is cut into windows; the first token of each is not judged. Quantized are those of
  vertexq, and of other tools in the formats compressed-tensors (pack-quantized), gptq and GGUF. Runs block by block, in float32.

  perplexity     e^(mean cross entropy) of the tokens that come: how many equally likely ones the model is as unsure as. Of use
                 beside that of the float model on the same text, windows and tokenizer, and beside no other
  × float        its ratio to that: on the same tokens much of the chance in a perplexity is the same, so the error is smaller
  KL             Kullback–Leibler divergence from the float model's next token, in nats: 0 where both say the same. It tells
                 much more of quantization than perplexity does, and from less text
  99.9 %         of the tokens have a lower one: how bad the worst are
  same token     share of tokens where both have the same most likely next one
  ±              standard errors of these means, from how documents differ: a difference of less than two of them is none

  A few hundred tokens show what is broken, 10,000 tell 3 bits from 4, 100,000 and more tell methods apart.

  Use data that calibration has not seen: on what it has, errors look smaller than they are.

Examples:
  $ vertexq eval model.onnx model.int4.onnx --data test.npz
  $ vertexq eval model.onnx model.int4.onnx --data test.txt --tokenizer tokenizer.json --batch-size 8
  $ vertexq eval model.onnx model.qdq.onnx --data test.npz --accuracy-level 1         products in float32
  $ vertexq eval model.onnx model.int4.onnx --data test.npz --json | jq '.outputs[] | [.name, .sqnrDb]'
  $ vertexq eval SmolLM2-135M out --data other-texts.txt                               the folder's own tokenizer
  $ vertexq eval SmolLM2-135M model.Q4_0.gguf model.Q4_K.gguf --data other-texts.txt
  $ vertexq eval SmolLM2-135M out-3bit out-4bit --data test.jsonl --samples 200 --json | jq '.checkpoints[].klDivergence'

  Options that take several values end at the next option: give the networks first.
`;

/** Adds `vertexq eval`. */
export function addEval(program: Command, context: Context): void {
  const command = program
    .command('eval')
    .summary('compare a quantized ONNX model or checkpoint with the float one')
    .description(
      'Compares what a quantized ONNX model or language model gives with what the float one gives, on held-out data.',
    )
    .argument(
      '<float>',
      'the float network: an ONNX file, or a checkpoint (.safetensors, a folder, or .gguf)',
    )
    .argument('<quantized...>', 'the quantized network; of checkpoints one or several');
  addFlags(command, ['evaluateCheckpoint', 'evaluateModel'], {
    Output: (own) =>
      own
        .option('--json', 'write all results to stdout')
        .option('-q, --quiet', 'no progress and no table: warnings and errors alone')
        .addOption(progressFlag())
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((float: string, quantized: string[], flags: Given) => evaluate(float, quantized, flags, context));
}

async function evaluate(
  float: string,
  quantized: readonly string[],
  flags: Given,
  context: Context,
): Promise<void> {
  const { json = false, quiet = false, strict = false } = flags as OutputFlags;
  const ofCheckpoint = await kindOf(float, quantized);
  const look = lookOf(context);
  const display = progressDisplay(context, look, flags);
  const hooks = {
    signal: context.signal,
    onProgress: (progress: Parameters<typeof display.show>[0]) => display.show(progress),
  };
  if (ofCheckpoint) {
    refuseFlags('evaluateCheckpoint', 'evaluateModel', flags, true);
    const options = optionsOf(['evaluateCheckpoint'], flags) as unknown as EvaluateCheckpointOptions;
    const evaluation = await context
      .evaluateCheckpoint(float, quantized, { ...options, ...hooks })
      .finally(() => display.stop());
    showResult(context, evaluation, (own) => checkpointEvaluationTable(evaluation, own), {
      json,
      quiet,
      strict,
    });
  } else {
    refuseFlags('evaluateModel', 'evaluateCheckpoint', flags, false);
    if (quantized.length > 1)
      throw new RangeError(
        `Several quantized networks side by side are checkpoints: give one ONNX file beside ${float}, not ${quantized.length}`,
      );
    const options = optionsOf(['evaluateModel'], flags) as unknown as EvaluateOptions;
    const evaluation = await context
      .evaluateModel(float, quantized[0]!, { ...options, ...hooks })
      .finally(() => display.stop());
    showResult(context, evaluation, (own) => evaluationTable(evaluation, own), { json, quiet, strict });
  }
}

/** Whether the networks are checkpoints. Throws ERR_VERTEXQ_UNSUPPORTED where some are and others are not. */
async function kindOf(float: string, quantized: readonly string[]): Promise<boolean> {
  const wanted = await isCheckpoint(float);
  const named = (is: boolean) => (is ? 'a checkpoint' : 'an ONNX model');
  for (const path of quantized)
    if ((await isCheckpoint(path)) !== wanted)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${float} is ${named(wanted)}, and ${path} ${named(!wanted)}: give networks of one kind`,
      );
  return wanted;
}
