import { quantizeModel } from '../../../lib/index';

// peak-memory.ts input output options: prints the most memory that the process had, in bytes.
const [input = '', output = '', options = '{}'] = process.argv.slice(2);

void quantizeModel(input, output, JSON.parse(options) as object).then(() =>
  console.log(process.resourceUsage().maxRSS * 1024),
);
