import test from 'ava';
import { setTimeout } from 'node:timers/promises';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckpointOptions } from '../../lib/checkpoints/types';
import { ByteCount } from '../../lib/cli/progress';
import { temporaryFolder } from '../files/temporary-folder';
import {
  sampleCheckpointInspection,
  sampleCheckpointReport,
  samplePlan,
} from '../reports/checkpoint-samples';
import { runFake, untimed } from './fake';
import { runWhole } from './library';

const base = ['quantize', 'in.safetensors', '-o', 'out'];

async function optionsFor(...flags: string[]): Promise<Partial<CheckpointOptions>> {
  const { code, stderr, calls } = await runFake([...base, ...flags]);
  if (code !== 0) throw new Error(stderr);
  const options = { ...calls[0]!.checkpoint! };
  delete options.signal;
  delete options.onProgress;
  delete options.onWarning;
  return options;
}

test('flags become the options of quantizeCheckpoint', async (t) => {
  t.deepEqual(await optionsFor(), {});
  t.deepEqual(
    await optionsFor('--bits', '3', '--group-size', '128', '--method', 'gptq', '--damping', '0.1'),
    {
      ...{ bits: 3, groupSize: 128, method: 'gptq', damping: 0.1 },
    },
  );
  t.deepEqual(await optionsFor('--activations', 'a.safetensors', 'b.safetensors', '--holdout', '0.2'), {
    ...{ activations: ['a.safetensors', 'b.safetensors'], holdout: 0.2 },
  });
  for (const format of ['compressed-tensors', 'gptq', 'gptq_v2', 'float'] as const)
    t.deepEqual(await optionsFor('--format', format), { format });
  t.deepEqual(await optionsFor('--memory', '2G', '--resume', '--threads', '3'), {
    ...{ memory: 2 ** 31, resume: true, threads: 3 },
  });
  t.deepEqual(await optionsFor('--memory', '1.5 GiB'), { memory: 1.5 * 2 ** 30 });
  t.deepEqual(await optionsFor('--memory', '1048576'), { memory: 2 ** 20 });
  t.deepEqual(
    await optionsFor(
      '--override',
      '*=a*=bits:8,group-size:channel',
      '--override',
      'b=levels:3,grid:integer,method:msq',
    ),
    {
      overrides: [
        { layers: '*=a*', bits: 8, groupSize: 'channel' },
        { layers: 'b', levels: 3, grid: 'integer', method: 'msq' },
      ],
    },
  );
  t.deepEqual(await optionsFor('--layers', 'a*', '--skip', 'b'), { layers: ['a*'], skip: ['b'] });
});

test('a safetensors file, an index and a folder are checkpoints', async (t) => {
  const folder = join(temporaryFolder(t), 'model.onnx');
  mkdirSync(folder);
  for (const input of ['a.safetensors', 'A.SAFETENSORS', 'model.safetensors.index.json', folder]) {
    const { code, calls } = await runFake(['quantize', input, '-o', 'out']);
    t.is(code, 0);
    t.truthy(calls[0]!.checkpoint);
    t.is((await runFake(['inspect', input])).code, 0);
  }
});

test('flags of the other kind of input, and wrong ones', async (t) => {
  for (const flags of [['--operators', 'MatMul'], ['--batch-axis', 'n'], ['--external-data']]) {
    const { code, stderr } = await runFake([...base, ...flags]);
    t.is(code, 2);
    t.regex(stderr, /is for ONNX models/);
  }
  for (const flags of [['--activations', 'a'], ['--allow-quantized']]) {
    const { code, stderr } = await runFake(['quantize', 'a.onnx', '-o', 'out', ...flags]);
    t.is(code, 2);
    t.regex(stderr, /is for checkpoints/);
  }
  for (const flags of [
    ['--memory', 'much'],
    ['--override', 'a'],
    ['--override', '=bits:2'],
    ['--override', 'a=width:2'],
    ['--override', 'a=bits:x'],
    ['--override', 'a=bits:2:3'],
    ['--format', 'ggml'],
  ])
    t.is((await runFake([...base, ...flags])).code, 2);
  // What only layers of networks take is refused before any file is read.
  for (const setting of ['effort:2', 'error-correction:false', 'scale:max']) {
    const { code, stderr } = await runWhole([...base, '--override', `a=${setting}`]);
    t.is(code, 2);
    t.regex(stderr, /the first "--override": Unknown option "(effort|errorCorrection|scale)"/);
  }
});

test('what is written where', async (t) => {
  const lines = await runFake([...base, '--json']);
  const command = ['vertexq', ...base, '--json'].join(' ');
  t.deepEqual(
    JSON.parse(lines.stdout),
    sampleCheckpointReport({ input: 'in.safetensors', output: 'out', command }),
  );
  t.regex(lines.stderr, /^1 weight: file 438 MB → 98\.0 MB \(4\.5×\); weights 340 MB/);
  t.regex(lines.stderr, /\ntensors not of floats +3 +3\.00 MB +3\.00 MB/);
  const table = await runFake(base, { terminal: true });
  t.regex(table.stderr, /model\.layers\.0\.q_proj/);
  const quiet = await runFake([...base, '--quiet', '--dry-run']);
  t.is(quiet.stderr + quiet.stdout, 'warning: no data [WARN_VERTEXQ_NO_DATA]\n');
  const plan = await runFake([...base, '--dry-run', '--json']);
  t.deepEqual(JSON.parse(plan.stdout), samplePlan({ input: 'in.safetensors', output: 'out' }));
  t.regex(plan.stderr, /a\.weight .* msq .* 4 .* 32/);
  t.regex(
    plan.stderr,
    /^1 weight would be quantized: file 17\.0 kB → 5\.00 kB \(3\.4×\); weights 16\.4 kB → 4\.61 kB \(3\.6×\), 4\.50 bits a weight\n/,
  );
  t.regex(plan.stderr, /\nleft by choice: a vector +1 +128 B +128 B/);
  t.regex(
    plan.stderr,
    /nothing was written\nwould be written: out\/model\.safetensors, out\/config\.json\nwarning: no data/,
  );
  const found = await runFake(['inspect', 'in.safetensors']);
  t.regex(found.stdout, /1 weight quantized, gptq \(gptq_v2\)/);
  const json = await runFake(['inspect', 'in.safetensors', '--json']);
  t.deepEqual(JSON.parse(json.stdout), sampleCheckpointInspection({ input: 'in.safetensors' }));
});

test('progress', async (t) => {
  const bytes = new ByteCount();
  t.is(bytes.describe(5e8, 2e9, 1000), '500 MB of 2.00 GB (25 %)');
  t.is(bytes.describe(1e9, 2e9, 3000), '1.00 GB of 2.00 GB (50 %), 250 MB/s, 4.0 s left');
  t.regex(bytes.describe(2e9, 2e9, 4000), /^2\.00 GB of 2\.00 GB \(100 %\), \d+ MB\/s$/);
  t.is(new ByteCount().describe(0, 0), '0 B of 0 B (100 %)');
  const shown = async (terminal: boolean) =>
    runFake(base, {
      terminal,
      quantizeCheckpoint: (input, output, { onProgress }) => {
        onProgress!({ stage: 'quantize', done: 1e6, total: 2e6, unit: 'bytes', layer: 'a\x1b' });
        onProgress!({ stage: 'quantize', done: 2e6, total: 2e6, unit: 'bytes' });
        onProgress!({ stage: 'write', done: 0, total: 1 });
        return Promise.resolve(sampleCheckpointReport({ input, output }));
      },
    });
  t.regex((await shown(false)).stderr, /2\.00 MB of 2\.00 MB \(100 %\)/);
  const { stderr } = await shown(true);
  t.regex(stderr, /░ 50 % .*1\.00 MB of 2\.00 MB \(50 %\).* a\\x1b/);
  t.regex(stderr, /█ 100 % .*2\.00 MB of 2\.00 MB/);
});

test('progress of layers that are fitted, behind that of bytes', async (t) => {
  const shown = (terminal: boolean) =>
    runFake(base, {
      terminal,
      quantizeCheckpoint: async (input, output, { onProgress }) => {
        onProgress!({ stage: 'quantize', done: 2e6, total: 2e6, unit: 'bytes', layer: 'embedding' });
        for (const [i, share] of [0.1, 0.25, 0.5].entries()) {
          const place = { layer: `blocks.${i}.up`, layerIndex: i, layerCount: 4, share };
          await setTimeout(150);
          onProgress!({ stage: i === 1 ? 'capture' : 'quantize', done: 1, total: 2, ...place });
        }
        onProgress!({ stage: 'write', done: 0, total: 1 });
        return sampleCheckpointReport({ input, output });
      },
    });
  const { stderr } = await shown(true);
  t.regex(stderr, /25 % .*layer 2\/4 blocks\.1\.up: running the network, [0-9.]+ (s|ms) left/);
  t.regex(stderr, /50 % .*layer 3\/4 blocks\.2\.up: fitting, [0-9.]+ (s|ms) left/);
  t.regex(
    untimed((await shown(false)).stderr),
    /\nlayer 1\/4: blocks\.0\.up\nlayer 2\/4: blocks\.1\.up \([0-9.]+ (s|ms) left\)\n/,
  );
});

test('an interrupted run says how to go on, where there is something to go on with', async (t) => {
  const output = temporaryFolder(t);
  for (const work of [join(output, '.vertexq'), `${output}.vertexq`]) {
    mkdirSync(work);
    const controller = new AbortController();
    const { code, stderr } = await runFake(['quantize', 'in.safetensors', '-o', output], {
      signal: controller.signal,
      quantizeCheckpoint: () => {
        controller.abort();
        return Promise.reject(controller.signal.reason as Error);
      },
    });
    t.is(code, 130);
    t.is(stderr, 'What is done is kept: --resume goes on with it.\nvertexq: interrupted\n');
    rmSync(work, { recursive: true });
  }
});
