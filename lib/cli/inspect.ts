import { helpText } from './help-text';
import type { Command } from 'commander';
import { inspectionTable } from '../reports/table';
import { checkpointInspectionTable } from '../reports/checkpoint-table';
import { isCheckpoint } from './inputs';
import { type Context, type Look, showResult } from './context';

const examples = `
Examples:
  $ vertexq inspect model.onnx
  $ vertexq inspect Llama-3.2-1B/                                            tensors of a checkpoint
  $ vertexq inspect model.onnx --json | jq -r '.layers[].name'               names for --layers and --skip
`;

/** Adds `vertexq inspect`. */
export function addInspect(program: Command, context: Context): void {
  program
    .command('inspect')
    .summary('list the layers of an ONNX model or a checkpoint that can be quantized')
    .description(
      'Lists the layers of an ONNX model that can be quantized, its other weights, inputs and outputs; of a safetensors file or folder, or a GGUF file, its tensors, quantized ones too, and the keys of the latter.',
    )
    .argument('<model>', 'an ONNX file, a GGUF file, a safetensors file, or a folder of them')
    .option('--json', 'write the list to stdout')
    .addHelpText('after', helpText(examples))
    .action((model: string, flags: { json?: boolean }) => inspect(model, flags.json === true, context));
}

async function inspect(input: string, json: boolean, context: Context): Promise<void> {
  const show = (inspection: object, table: (look: Look) => string) => {
    context.signal.throwIfAborted();
    showResult(context, inspection, table, { json, quiet: json });
  };
  if (await isCheckpoint(input)) {
    const inspection = await context.inspectCheckpoint(input);
    show(inspection, (look) => checkpointInspectionTable(inspection, look));
  } else {
    const inspection = await context.inspectModel(input);
    show(inspection, (look) => inspectionTable(inspection, look));
  }
}
