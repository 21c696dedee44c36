import { kernels } from '../../../lib/environment';
import { runWorker } from '../../../lib/index';

// worker.ts redis root stalledAfter [untilEmpty] [rate]: a worker in a process of its own, whose events go to stdout, a line each. SIGTERM drains it.
const [redis = '', root = '', stalledAfter = '30', untilEmpty = ''] = process.argv.slice(2);

const drain = new AbortController();
process.on('SIGTERM', () => drain.abort());
kernels(); // loads the addon before anything is taken
void runWorker({
  redis,
  root,
  threads: 1,
  stalledAfter: Number(stalledAfter),
  untilEmpty: untilEmpty === 'empty',
  drain: drain.signal,
  onEvent: (event) => process.stdout.write(`${JSON.stringify(event)}\n`),
}).then(
  (report) => process.stdout.write(`${JSON.stringify({ event: 'report', ...report })}\n`),
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 1;
  },
);
