// Inspects and quantizes the files it is told of, in a process that may die of it. Started by worker.ts.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { inspectModel, quantizeModel, VertexqError } from '../../lib';
import type { Outcome, Task } from './worker';

/** From here on, the most memory is counted anew. */
function forgetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Not Linux, or not allowed: then the peak is that of the process so far.
  }
}

function peakMemory(): number {
  try {
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  } catch {
    return 0;
  }
}

async function resultOf({ file, quantize }: Task): Promise<Pick<Outcome, 'kind' | 'message'>> {
  try {
    if (!quantize) await inspectModel(file);
    else await quantizeModel(file, quantize.output, quantize.options);
    if (quantize) await inspectModel(quantize.output);
    return { kind: 'ok', message: '' };
  } catch (error) {
    if (quantize && existsSync(quantize.output) && !String(error).includes(quantize.output))
      return { kind: 'output left', message: String(error) };
    if (error instanceof VertexqError) return { kind: error.code, message: error.message };
    return error instanceof Error
      ? { kind: error.name, message: error.stack ?? error.message }
      : { kind: 'no error', message: String(error) };
  } finally {
    if (quantize) rmSync(quantize.output, { force: true });
  }
}

// Whoever started this is gone.
process.on('disconnect', () => process.exit());

process.on('message', (task: Task) => {
  forgetPeak();
  void resultOf(task).then((outcome) => process.send!({ ...outcome, peak: peakMemory() }));
});
