// Ends the process while a model is quantized, in the way and after the time it is told.
import { quantizeOnData } from './network';

const [input, output, how, delay] = process.argv.slice(2) as [string, string, string, string];
quantizeOnData(input, output).catch(() => {});
setTimeout(() => {
  if (how === 'exit') process.exit(7);
  throw new Error('thrown on purpose');
}, Number(delay));
