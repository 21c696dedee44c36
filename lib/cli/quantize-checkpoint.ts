import type { CheckpointOptions, CheckpointPlan, CheckpointReport } from '../checkpoints/types';
import { writeWhole } from '../files/output-file';
import { checkpointPlanTable, checkpointSummary, checkpointTable } from '../reports/checkpoint-table';
import type { RunFiles } from '../runs/run-files';
import { byteProgress } from './byte-progress';
import { type Context, lookOf } from './context';

interface Where {
  output: string;
  report?: string | undefined;
  dryRun: boolean;
  json: boolean;
  quiet: boolean;
}

/** `vertexq quantize` of a checkpoint. */
export async function quantizeCheckpoint(
  input: string,
  given: CheckpointOptions,
  { output, report: reportFile, dryRun, json, quiet }: Where,
  context: Context,
  files: RunFiles,
): Promise<void> {
  const look = lookOf(context);
  const options = { ...given, signal: context.signal };
  const say = (text: string) => {
    if (!quiet) context.stderr.write(`${text}\n`);
  };
  let result: CheckpointPlan | CheckpointReport;
  if (dryRun) {
    const plan = await context.planCheckpoint(input, output, options, files);
    say(checkpointPlanTable(plan, look));
    result = plan;
  } else {
    const display = byteProgress(context, look, quiet);
    try {
      const report = await context.quantizeCheckpoint(
        input,
        output,
        { ...options, onProgress: (progress) => display.show(progress) },
        files,
      );
      display.stop();
      say(look.terminal ? checkpointTable(report, look) : checkpointSummary(report, look));
      result = report;
    } catch (error) {
      display.stop();
      if (context.signal.aborted) say('What is done is kept: --resume goes on with it.');
      throw error;
    } finally {
      display.stop();
    }
  }
  const text = `${JSON.stringify(result, null, 2)}\n`;
  if (reportFile !== undefined) await writeWhole(reportFile, Buffer.from(text), context.signal);
  if (json) context.stdout.write(text);
}
