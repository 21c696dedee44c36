import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { pulse, requirePulse } from '../../lib/workers/pulse';

test('who says nothing is missed, once it was heard later, and not after its end', async (t) => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  const began = performance.now();
  let heardAt = began;
  const silentAt = await new Promise<number>((resolve) => {
    const heard = requirePulse(child, () => resolve(performance.now()), 2);
    setTimeout(() => {
      heardAt = performance.now();
      heard();
    }, 1.5 * pulse);
  });
  t.true(silentAt - heardAt > pulse, 'it was heard just now');
  child.kill();
  await once(child, 'exit');
  let calls = 0;
  requirePulse(child, () => calls++, 1);
  child.emit('exit');
  await new Promise((resolve) => setTimeout(resolve, 1.5 * pulse));
  t.is(calls, 0);
});
