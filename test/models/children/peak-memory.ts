import { readFileSync } from 'node:fs';
import { quantizeModel } from '../../../lib/index';

// peak-memory.ts input output options: prints the most memory that the process had, in bytes.
const [input = '', output = '', options = '{}'] = process.argv.slice(2);

/** Linux counts what the process that started this one had in `maxRSS`. */
function peak(): number {
  if (process.platform !== 'linux') return 1024 * process.resourceUsage().maxRSS;
  return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
}

void quantizeModel(input, output, JSON.parse(options) as object).then(() => console.log(peak()));
