import type { Command } from 'commander';
import { inspectionTable } from '../reports/table';
import { refuseCheckpoint } from './arguments';
import { type Context, lookOf } from './context';

const examples = `
Examples:
  $ vertexq inspect model.onnx
  $ vertexq inspect model.onnx --json | jq -r '.layers[].name'               names for --layers and --skip
`;

/** Adds `vertexq inspect`. */
export function addInspect(program: Command, context: Context): void {
  program
    .command('inspect')
    .summary('list the layers of an ONNX model that can be quantized')
    .description(
      'Lists the layers of an ONNX model that can be quantized, its other weights, inputs and outputs.',
    )
    .argument('<model.onnx>', 'the network')
    .option('--json', 'write the list to stdout')
    .addHelpText('after', examples)
    .action((model: string, flags: { json?: boolean }) => inspect(model, flags.json === true, context));
}

async function inspect(input: string, json: boolean, context: Context): Promise<void> {
  await refuseCheckpoint(input);
  const inspection = await context.inspectModel(input);
  context.signal.throwIfAborted();
  if (json) context.stdout.write(`${JSON.stringify(inspection, null, 2)}\n`);
  // The table is all there is to see without --json: it is written whether or not there is a terminal.
  else context.stderr.write(`${inspectionTable(inspection, lookOf(context))}\n`);
}
