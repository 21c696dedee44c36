import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { preprocess, quantizeLayer, type Progress } from '../../lib/index';
import { layerOf, sleep } from './children/layer';
import { normals } from './data';
import { typescript } from '../typescript';

interface Outcome {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

function runChild(name: string, args: string[] = []): Promise<Outcome> {
  const file = join(__dirname, 'children', name);
  return new Promise((resolve) => {
    const options = { timeout: 60_000 };
    const child = execFile(process.execPath, [typescript, file, ...args], options, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr }),
    );
  });
}

/** What a call rejects with, whatever it is. */
async function rejection(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error('it did not reject');
}

async function smallJobIsQuick(t: ExecutionContext): Promise<void> {
  const started = performance.now();
  await quantizeLayer(layerOf(32));
  const took = performance.now() - started;
  t.log(`a small job afterwards: ${took.toFixed(0)} ms`);
  t.true(took < 1500, `${took} ms`);
}

test.serial('an abort before a job rejects with its reason and starts nothing', async (t) => {
  for (const reason of [new Error('mine'), 'text', null, 0]) {
    const signal = AbortSignal.abort(reason);
    for (const call of [quantizeLayer, preprocess])
      t.is(await rejection(call(layerOf(1024), { signal })), reason);
  }
  await smallJobIsQuick(t);
});

test.serial(
  'an abort during a 1024×1024 layer rejects at once with its reason, and its threads stop',
  async (t) => {
    const [big, reason] = [layerOf(1024), { any: 'thing' }];
    for (const delay of [1, 50, 400]) {
      const stop = new AbortController();
      let aborted = 0;
      setTimeout(() => {
        aborted = performance.now();
        stop.abort(reason);
        stop.abort(new Error('twice'));
      }, delay);
      t.is(await rejection(preprocess(big, { signal: stop.signal })), reason);
      const took = performance.now() - aborted;
      t.log(`rejected ${took.toFixed(1)} ms after the abort at ${delay} ms`);
      t.true(took < 500, `${took} ms`);
      await smallJobIsQuick(t);
    }
  },
);

test.serial('an abort after a job changes nothing', async (t) => {
  const stop = new AbortController();
  const before = await quantizeLayer(layerOf(32), { signal: stop.signal });
  const codes = before.codes.slice();
  stop.abort();
  await sleep(20);
  t.deepEqual(before.codes, codes);
});

test.serial('a timeout signal rejects with its own error', async (t) => {
  const error = await rejection(preprocess(layerOf(1024), { signal: AbortSignal.timeout(30) }));
  t.is((error as Error).name, 'TimeoutError');
});

test.serial('inputs changed or transferred during a job do not change its answer', async (t) => {
  const arrays = (): Record<'weight' | 'activations' | 'holdout', Float64Array> => {
    const { weight, activations } = layerOf(128);
    return {
      weight: Float64Array.from(weight),
      activations: Float64Array.from(activations!),
      holdout: normals(1280, 9),
    };
  };
  const size = { inFeatures: 128, outFeatures: 128 };
  const expected = await quantizeLayer({ ...arrays(), ...size });
  const walked = await preprocess({ ...arrays(), ...size });
  for (const spoil of ['mutate', 'transfer'] as const)
    for (const delay of [-1, 0, 5]) {
      const given = arrays();
      const jobs = Promise.all([quantizeLayer({ ...given, ...size }), preprocess({ ...given, ...size })]);
      if (delay >= 0) await sleep(delay);
      for (const values of Object.values(given))
        if (spoil === 'mutate') values.fill(NaN);
        else structuredClone(values, { transfer: [values.buffer as ArrayBuffer] });
      const [done, preprocessed] = await jobs;
      const seconds = expected.report.seconds;
      t.deepEqual(done.codes, expected.codes, `${spoil} after ${delay} ms`);
      t.deepEqual(done.scales, expected.scales);
      t.deepEqual({ ...done.report, seconds }, expected.report);
      t.deepEqual(preprocessed, walked);
    }
});

test.serial('progress rises to its total', async (t) => {
  const seen: Progress[] = [];
  await preprocess(layerOf(512), { onProgress: (progress) => seen.push(progress) });
  t.true(seen.length > 0);
  t.deepEqual(seen.at(-1), { stage: 'quantize', done: 512, total: 512 });
  for (const [k, { stage, done, total }] of seen.entries()) {
    t.is(stage, 'quantize');
    t.is(total, 512);
    t.true(done >= (seen[k - 1]?.done ?? 0) && done <= total);
  }
});

test.serial('an error thrown by onProgress is what the call rejects with', async (t) => {
  const coded = Object.assign(new Error('mine, with a code'), { code: 'ERR_MINE' });
  for (const thrown of [new Error('mine'), coded, 'text', null, undefined])
    for (const size of [32, 1024]) {
      let calls = 0;
      const onProgress = () => {
        calls++;
        throw thrown as Error;
      };
      t.is(await rejection(preprocess(layerOf(size), { onProgress })), thrown);
      t.is(calls, 1);
    }
  await smallJobIsQuick(t);
});

test.serial('a hundred jobs at once, and the event loop goes on', async (t) => {
  const expected = await quantizeLayer(layerOf(64, 3));
  let [last, longest, ticks] = [performance.now(), 0, 0];
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    ticks++;
  }, 5);
  const jobs = await Promise.all(
    Array.from({ length: 100 }, () => quantizeLayer(layerOf(64, 3), { threads: 3 })),
  );
  const big = await preprocess(layerOf(512));
  clearInterval(timer);
  for (const job of jobs) t.deepEqual(job.codes, expected.codes);
  t.true(big.residual! < 1e-9);
  t.log(`${ticks} ticks, the longest ${longest.toFixed(0)} ms`);
  t.true(ticks > 5 && longest < 1000);
});

test.serial('jobs that fail reject, and leave no rejection unhandled', async (t) => {
  const layer = layerOf(32);
  const bad = { ...layer, weight: layer.weight.map(() => NaN) };
  const answers = await Promise.allSettled(
    Array.from({ length: 50 }, (_, k) => quantizeLayer(k % 2 ? layer : bad)),
  );
  t.deepEqual(
    answers.map(({ status }) => status),
    answers.map((_, k) => (k % 2 ? 'fulfilled' : 'rejected')),
  );
});

test.serial('process.exit and an uncaught error during a job end the process with their code', async (t) => {
  for (const delay of ['0', '30', '300']) {
    const { code, signal, stderr } = await runChild('exit.ts', ['exit', delay]);
    t.deepEqual({ code, signal, stderr }, { code: 7, signal: null, stderr: '' });
  }
  const thrown = await runChild('exit.ts', ['throw', '50']);
  t.deepEqual([thrown.code, thrown.signal], [1, null]);
  t.regex(thrown.stderr, /thrown on purpose/);
});

test.serial('workers: first to load the addon, ended mid-job, side by side', async (t) => {
  const { code, signal, stdout, stderr } = await runChild('workers.ts');
  t.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' });
});

test.serial('child processes start during a job', async (t) => {
  const { code, signal, stdout, stderr } = await runChild('spawn.ts');
  t.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' });
});
