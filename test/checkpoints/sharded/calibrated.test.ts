import test, { type ExecutionContext } from 'ava';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runParts } from '../../../lib/checkpoints/sharded/run-parts';
import { UnitStore } from '../../../lib/checkpoints/sharded/unit-store';
import { withPlan } from '../../../lib/checkpoints/sharded/with-plan';
import {
  type CheckpointOptions,
  finishRun,
  type PlanFile,
  planRun,
  quantizeCheckpoint,
  runShard,
} from '../../../lib/index';
import { Buffers } from '../../../lib/native/buffers';
import { RunFiles } from '../../../lib/runs/run-files';
import { common, contents, lines, textModel as model } from './folders';

/** Workers, each of which has a part of a plan, all at it at once. */
async function byWorkers(plan: PlanFile, count: number): Promise<void> {
  const shards = Array.from({ length: count }, (_, index) => ({ index, count }));
  const reports = await Promise.all(shards.map((shard) => runShard(plan, { shard })));
  for (const { units, layers } of reports)
    if (units.done + units.found === 0 || layers.length === 0) throw new Error('a worker had nothing to do');
}

/** What one process writes, and a plan for workers to write the same. */
async function planned(t: ExecutionContext, own: CheckpointOptions) {
  const { input, calibration, output } = model(t);
  const options = { ...common, calibration, ...own };
  for (const of of ['whole', 'shared']) mkdirSync(join(output(of), '..'));
  await quantizeCheckpoint(input, output('whole'), options);
  return { input, output, options, plan: await planRun(input, output('shared'), options) };
}

for (const [name, options] of [
  ['llama', {}],
  ['llama', { method: 'vertex', effort: 1, weighting: 'none' }],
  [
    'with a tokenizer',
    { errorCorrection: false, format: 'gguf:q4_0', bits: undefined, groupSize: undefined },
  ],
  ['gpt2', { holdout: 0, format: 'float' }],
  ['mixtral', { format: 'gptq' }],
  ['qwen3 of experts', { overrides: [{ layers: '*down_proj*', method: 'msq' }] }],
] as const)
  test(`${name}, ${JSON.stringify(options)}: workers and one process that makes three parts write the same`, async (t) => {
    const { input, calibration, output } = model(t, name);
    const own = Object.fromEntries(
      Object.entries({ ...common, ...options, calibration, parts: 3 }).filter(
        ([, value]) => value !== undefined,
      ),
    ) as CheckpointOptions;
    const isFile = own.format === 'gguf:q4_0';
    const at = (of: string) => (mkdirSync(join(output(of), '..')), `${output(of)}${isFile ? '.gguf' : ''}`);
    const whole = at('whole');
    const report = await quantizeCheckpoint(input, whole, own);
    for (const count of name === 'llama' ? [3, 2] : [3]) {
      const path = at(`by-${count}`);
      const plan = await planRun(input, path, own);
      await byWorkers(plan, count);
      const finished = await finishRun(plan);
      t.deepEqual(contents(path), contents(whole), `by ${count}`);
      t.deepEqual(
        finished.layers.map(({ error, weighted }) => ({ error, weighted })),
        report.layers.map(({ error, weighted }) => ({ error, weighted })),
      );
      t.deepEqual(readdirSync(join(path, '..')), [isFile ? 'out.gguf' : 'out']);
    }
  });

test('parts of workers that are not heard of are done by who waits for them, and may come back', async (t) => {
  const { output, plan } = await planned(t, { parts: 3 });
  const pauses = { beat: 50, stalledAfter: 300, look: [5, 20] } as const;
  const { units } = await withPlan(new RunFiles(), plan, {}, async (opened) => {
    const store = new UnitStore(opened.folder);
    await store.prepare();
    const done = await runParts(opened, store, new Buffers(), { index: 1, count: 3 }, undefined, pauses);
    t.deepEqual(opened.warnings, [
      'Nobody was heard to be at the parts 0, 2 of the run: this worker did them too. [WARN_VERTEXQ_TAKEN_OVER]',
    ]);
    return done;
  });
  t.true(units.done > 0);
  // There is nothing left for the others.
  for (const index of [0, 2]) {
    const { units } = await runShard(plan, { shard: { index, count: 3 } });
    t.deepEqual(units, { done: 0, found: index === 0 ? 0 : units.found });
  }
  await finishRun(plan);
  t.deepEqual(contents(output('shared')), contents(output('whole')));
});

test('workers that are ended at any moment go on with what is there', async (t) => {
  const { output, plan } = await planned(t, { parts: 2 });
  let ended = 0;
  const worker = async (index: number) => {
    for (let events = 3; ; events += 5) {
      let seen = 0;
      const end = new AbortController();
      const onProgress = () => {
        if (++seen >= events) end.abort(new Error('ended'));
      };
      const kind = events % 2 === 0 ? { signal: end.signal } : { drain: end.signal };
      const done = await runShard(plan, { shard: { index, count: 2 }, onProgress, ...kind }).then(
        () => true,
        (error: unknown) => {
          if ((error as Error).message !== 'ended') throw error;
          ended++;
          return false;
        },
      );
      if (done) return;
    }
  };
  await Promise.all([worker(0), worker(1)]);
  t.true(ended > 4, String(ended));
  await finishRun(plan);
  t.deepEqual(contents(output('shared')), contents(output('whole')));
});

test('a worker that is ended again and again waits for one that goes on, and the other way round', async (t) => {
  for (const weighting of ['outputs', 'none'] as const) {
    const { output, plan } = await planned(t, { weighting, parts: 2 });
    let ended = 0;
    const restarted = async () => {
      for (let events = 20; ; events += 30) {
        let seen = 0;
        const end = new AbortController();
        const onProgress = () => {
          if (++seen >= events) end.abort(new Error('ended'));
        };
        const work = { shard: { index: 1, count: 2 }, onProgress, signal: end.signal };
        const isDone = await runShard(plan, work).then(
          () => true,
          (error: unknown) => {
            if ((error as Error).message !== 'ended') throw error;
            return false;
          },
        );
        if (isDone) return;
        ended++;
      }
    };
    const others = runShard(plan, { shard: { index: 0, count: 2 } });
    const { warnings } = await Promise.all([others, restarted()]).then(([report]) => report);
    t.deepEqual(warnings, []);
    t.true(ended > 1, String(ended));
    await finishRun(plan);
    t.deepEqual(contents(output('shared')), contents(output('whole')), weighting);
  }
});

test('two workers with the same part, and one whose run is over, do no harm', async (t) => {
  const { input, output, options, plan } = await planned(t, { parts: 2 });
  const work = (index: number) => runShard(plan, { shard: { index, count: 2 } });
  const reports = await Promise.all([work(0), work(1), work(0), work(1)]);
  t.deepEqual(
    reports.flatMap(({ warnings }) => warnings),
    [],
  );
  // Nothing is left of the results when it would hand the next thing over.
  let isOver: Promise<unknown> | undefined;
  const late = await planRun(input, output('late'), options);
  mkdirSync(join(output('late'), '..'));
  const slow = runShard(late, {
    shard: { index: 0, count: 2 },
    onProgress: ({ layerIndex }) => {
      if (layerIndex !== 3) return;
      isOver ??= Promise.resolve().then(() => {
        rmSync(join(output('late'), '..', `.vertexq-${late.id.slice(0, 32)}`), { recursive: true });
        mkdirSync(output('late'));
        writeFileSync(join(output('late'), 'x'), '');
      });
    },
  });
  await t.throwsAsync(Promise.all([slow, runShard(late, { shard: { index: 1, count: 2 } })]), {
    code: 'ERR_VERTEXQ_EXISTS',
  });
  await isOver;
  await finishRun(plan);
  t.deepEqual(contents(output('shared')), contents(output('whole')));
});

test('results that are damaged are made anew', async (t) => {
  const { output, plan } = await planned(t, { parts: 2 });
  const work = (index: number) => runShard(plan, { shard: { index, count: 2 } });
  await byWorkers(plan, 2);
  const folder = join(output('shared'), '..', `.vertexq-${plan.id.slice(0, 32)}`);
  const units = readdirSync(folder).filter((file) => file.endsWith('.unit'));
  for (const [i, change] of [
    (bytes: Buffer) => ((bytes[bytes.length - 9]! ^= 1), bytes),
    (bytes: Buffer) => bytes.subarray(0, -5),
    (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(3)]),
  ].entries()) {
    const path = join(folder, units[2 * i]!);
    writeFileSync(path, change(readFileSync(path)));
  }
  await t.throwsAsync(finishRun(plan), { code: 'ERR_VERTEXQ_INCOMPLETE' });
  await Promise.all([work(0), work(1)]);
  await finishRun(plan);
  t.deepEqual(contents(output('shared')), contents(output('whole')));
});

test('what cannot be done in parts is refused with the reason', async (t) => {
  const { input, calibration, output } = model(t, 'llama', lines(6, 14));
  const refused = (options: CheckpointOptions, message: RegExp) =>
    t.throwsAsync(quantizeCheckpoint(input, output('x'), options), { message });
  await refused({ ...common, calibration, parts: 2, tuning: 'scales' }, /"parts" and "tuning" exclude/);
  await refused({ calibration, method: 'vertex', parts: 2, time: 60 }, /"parts" and "time" exclude/);
  await refused({ calibration, method: 'maly-saab', parts: 2 }, /"maly-saab" needs all rows, not sums/);
  await refused({ parts: 2 }, /"parts" option is about "calibration" data/);
  await refused({ calibration, parts: 65 }, /"parts"/);
  await refused({ ...common, calibration, parts: 9 }, /makes 2 batches, and "parts" asks for 9/);
  const feed = { input_ids: { data: BigInt64Array.of(1n, 2n), dims: [1, 2], type: 'int64' } };
  await t.throwsAsync(planRun(input, output('x'), { ...common, calibration: feed }), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /can read "calibration", "holdout" and "tokenizer" only where they are paths/,
  });
});
