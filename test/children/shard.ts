import { type Progress, runShard } from '../../lib/index';

// shard.ts plan index count units: does a shard of a plan, and is killed, as by -9, when so many units are done.
const [plan = '', index = '0', count = '1', units = '1'] = process.argv.slice(2);

let done = 0;
const onProgress = (_: Progress) => {
  if (++done === Number(units)) process.kill(process.pid, 'SIGKILL');
};
void runShard(plan, { shard: { index: Number(index), count: Number(count) }, onProgress });
