import { readFileSync } from 'node:fs';
import { evaluateCheckpoint, quantizeModel } from '../../../lib/index';

// peak-memory.ts call input output options: prints the most memory that the process had, in bytes.
const [call = '', input = '', output = '', options = '{}'] = process.argv.slice(2);
const calls: Record<string, (input: string, output: string, options: never) => Promise<unknown>> = {
  quantizeModel,
  evaluateCheckpoint,
};

/** Linux counts what the process that started this one had in `maxRSS`. */
function peak(): number {
  if (process.platform !== 'linux') return 1024 * process.resourceUsage().maxRSS;
  return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
}

void calls[call]!(input, output, JSON.parse(options) as never).then(() => console.log(peak()));
