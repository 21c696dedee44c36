// Ends the process during a job, in the way and after the time it is told.
import { sleep, startLongJob } from './layer';

async function main(): Promise<void> {
  const [how, delay] = process.argv.slice(2);
  startLongJob();
  await sleep(Number(delay));
  if (how === 'exit') process.exit(7);
  throw new Error('thrown on purpose');
}

void main();
