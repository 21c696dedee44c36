import type { Command } from 'commander';
import { VertexqError } from '../errors';
import { verificationTable } from '../reports/checkpoint-table';
import { refuse } from '../options/messages';
import type { JobOptions, Progress } from '../types';
import { type Context, lookOf, showResult } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { progressDisplay, progressFlag } from './progress';

const examples = `
What it does:
  Reads every weight in few bits back as loaders do, and tells how far it is from the original's, ‖W − Ŵ‖ / ‖W‖; all other tensors
  must be the original's, byte for byte. Weights of other tools in the formats compressed-tensors (pack-quantized) and gptq, too, and GGUF files;
  of ONNX networks MatMulNBits, GatherBlockQuantized and DequantizeLinear. What vertexq has written is compared with its checksums as well:
  those in a folder's vertexq.manifest.json, or the one that a file says of itself and its parts.
  Exit code 1 where something is not as it should be.

Examples:
  $ vertexq verify Llama-3.2-1B-int4/ Llama-3.2-1B/
  $ vertexq verify Llama-3.2-1B-int4/                                      is all there, and are all numbers finite?
  $ vertexq verify model.Q4_0.gguf model-f16.gguf                          or the folder that it was made of
  $ vertexq verify model.int4.onnx model.onnx
  $ vertexq verify out.safetensors in.safetensors --json | jq '.weights[] | [.name, .error]'
`;

/** Adds `vertexq verify`. */
export function addVerify(program: Command, context: Context): void {
  const command = program
    .command('verify')
    .summary('read a quantized model back and compare it with the original')
    .description(
      'Reads a quantized checkpoint or network back, and compares it with the float one that it was made of.',
    )
    .argument('<quantized>', 'an ONNX file, a safetensors file, a folder of them, or a GGUF file')
    .argument('[original]', 'the float one');
  addFlags(command, ['verifyCheckpoint', 'verifyModel'], {
    Output: (own) =>
      own
        .option('--json', 'write all results to stdout')
        .option('-q, --quiet', 'no progress and table')
        .addOption(progressFlag()),
  })
    .addHelpText('after', helpText(examples))
    .action((quantized: string, original: string | undefined, flags: Given) =>
      verify(quantized, original, flags, context),
    );
}

const isNetwork = (path: string) => /\.onnx$/i.test(path);

async function verify(
  quantized: string,
  original: string | undefined,
  flags: Given,
  context: Context,
): Promise<void> {
  const { json = false, quiet = false } = flags as OutputFlags;
  const look = lookOf(context);
  const display = progressDisplay(context, look, flags);
  const given = optionsOf(['verifyCheckpoint'], flags) as JobOptions;
  const areNetworks = isNetwork(quantized);
  if (original !== undefined && isNetwork(original) !== areNetworks)
    refuse([], `${quantized} and ${original} are of two kinds: give two ONNX files, or two checkpoints`);
  const options = { ...given, signal: context.signal, onProgress: (progress: Progress) => display.show(progress) }; // prettier-ignore
  const read = () =>
    areNetworks
      ? context.verifyModel(quantized, original, options)
      : context.verifyCheckpoint(quantized, original, options);
  const verification = await read().finally(() => display.stop());
  showResult(context, verification, (own) => verificationTable(verification, own), { json, quiet });
  const { faults } = verification;
  if (faults.length > 0)
    throw new VertexqError(
      'ERR_VERTEXQ_VERIFY',
      `${quantized} is not as it should be: ${faults[0]}${faults.length > 1 ? `, and ${faults.length - 1} more` : ''}`,
    );
}
