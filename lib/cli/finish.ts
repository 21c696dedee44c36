import type { Command } from 'commander';
import { checkpointSummary, checkpointTable } from '../reports/checkpoint-table';
import { warningLines } from '../reports/table';
import { visible } from '../reports/text';
import { RunFiles } from '../runs/run-files';
import { type Context, lookOf } from './context';
import { addFlags, type Given, optionsOf, type OutputFlags } from './flags';
import { helpText } from './help-text';
import { progressDisplay, progressFlag } from './progress';
import { requireNoWarnings, strictHelp } from './strict';

const examples = `
What it does:
  Puts the output together of the results that "vertexq work" has left, reads it back next to the input as "vertexq verify" does, and
  gives it its name: then it is, byte for byte, what "vertexq quantize" writes, and the results are taken away. Where results are
  missing or damaged it says which, writes nothing and ends with exit code 1: "vertexq work plan.json" makes them.

Examples:
  $ vertexq finish plan.json
  $ vertexq finish plan.json --json > report.json
  $ vertexq finish plan.json --input /mnt/models/Llama-3.2-1B --output /mnt/out/Llama-3.2-1B-4bit
`;

/** Adds `vertexq finish`. */
export function addFinish(program: Command, context: Context): void {
  const command = program
    .command('finish')
    .summary('put the output of a plan together, and verify it')
    .description('Puts the output of a plan together, verifies it and gives it its name.')
    .argument('<plan.json>', 'what "vertexq plan" has written');
  addFlags(command, ['finishRun'], {
    Output: (own) =>
      own
        .option('--json', 'write the report to stdout')
        .option('-q, --quiet', 'no progress and no table: warnings and errors alone')
        .addOption(progressFlag())
        .option('--strict', strictHelp),
  })
    .addHelpText('after', helpText(examples))
    .action((plan: string, flags: Given) => finish(plan, flags, context));
}

async function finish(plan: string, given: Given, context: Context): Promise<void> {
  const { json = false, quiet = false, strict = false } = given as OutputFlags;
  const files = new RunFiles();
  files.reads('plan', plan);
  const look = lookOf(context);
  const display = progressDisplay(context, look, given);
  const options = {
    ...optionsOf(['finishRun'], given),
    signal: context.signal,
    onProgress: display.show.bind(display),
  };
  const report = await context.finishRun(plan, options, files).finally(() => display.stop());
  const table = look.terminal ? checkpointTable : checkpointSummary;
  const told = quiet
    ? warningLines(report, look.paint)
    : `${table(report, look)}\nverified and written: ${visible(report.output)}`;
  if (told !== '') context.stderr.write(`${told}\n`);
  if (json) context.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (strict) requireNoWarnings(report);
}
