import test from 'ava';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CompareOptions, Comparison } from '../../lib/compare/types';
import { formatNpz } from '../containers/npy/make-npz';
import { temporaryFolder } from '../files/temporary-folder';
import { sampleComparison } from '../reports/samples';
import { runFake, untimed } from './fake';
import { typescript } from '../typescript';

const base = ['compare', 'in.onnx', '--calibration', 'a.npz'];

/** The options that the library gets for these flags. */
async function optionsFor(...flags: string[]): Promise<Partial<CompareOptions>> {
  const { code, stderr, calls } = await runFake([...base, ...flags]);
  if (code !== 0) throw new Error(stderr);
  return withoutHooks(calls[0]!.compared!);
}

function withoutHooks({ signal: _signal, onProgress: _onProgress, ...options }: CompareOptions) {
  return options;
}

test('flags become the options of compareMethods', async (t) => {
  const calibration = 'a.npz';
  t.deepEqual(await optionsFor(), { calibration });
  t.deepEqual(await optionsFor('--methods', 'vertex,gptq', '--bits', '2,3, 4'), {
    calibration,
    methods: ['vertex', 'gptq'],
    bits: [2, 3, 4],
  });
  t.deepEqual(
    await optionsFor(
      ...['--effort', '3', '--damping', '.1', '--rank', '0.5', '--scale', 'max', '--no-error-correction'],
      ...['--group-size', 'channel', '--grid', 'zero-free', '--format', 'float', '--skip', 'a*'],
      ...['--holdout', 'test.npz', '--batch-size', '8', '--threads', '2', '--json', '--quiet'],
    ),
    {
      calibration,
      effort: 3,
      damping: 0.1,
      rank: 0.5,
      scale: 'max',
      errorCorrection: false,
      groupSize: 'channel',
      grid: 'zero-free',
      format: 'float',
      skip: ['a*'],
      holdout: 'test.npz',
      batchSize: 8,
      threads: 2,
    },
  );
});

test('wrong usage: exit code 2, one line, no work', async (t) => {
  for (const [args, message] of [
    [['compare'], /missing required argument 'model\.onnx'/],
    [[...base, '--methods', 'vertex,,msq'], /Expected words with commas between them/],
    [[...base, '--bits', '2;3'], /'2;3' is invalid\. Expected whole numbers with commas between them/],
    [[...base, '--plot', 'errors.png'], /The plot errors\.png: plots are SVG in this version, name it \.svg/],
    [[...base, '--output', 'o.onnx'], /unknown option '--output'/],
  ] as const) {
    const { code, stdout, stderr, calls } = await runFake(args);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, message);
    t.regex(stderr, /^vertexq: [^\n]*\n$/);
    t.is(stdout, '');
    t.deepEqual(calls, []);
  }
  const folder = temporaryFolder(t);
  const nowhere = await runFake([...base, '--plot', join(folder, 'none', 'plot.svg')]);
  t.is(nowhere.code, 1);
  t.regex(nowhere.stderr, /folder .*none does not exist/);
  t.deepEqual(nowhere.calls, []);
});

test('a table on stderr, JSON on stdout, a plot in its file', async (t) => {
  const folder = temporaryFolder(t);
  const plot = join(folder, 'errors.svg');
  const { code, stdout, stderr } = await runFake([...base, '--json', '--plot', plot]);
  t.is(code, 0);
  t.deepEqual(JSON.parse(stdout), sampleComparison());
  t.regex(stderr, /^method +bits +output +cosine/);
  t.regex(readFileSync(plot, 'utf8'), /^<svg /);
  t.deepEqual(readdirSync(folder), ['errors.svg']);
  const quiet = await runFake([...base, '--quiet']);
  t.deepEqual([quiet.stdout, quiet.stderr], ['', '']);
});

test('progress tells the run: lines, and a bar on a terminal', async (t) => {
  const compareMethods = (_: string, { onProgress }: CompareOptions) => {
    for (const [runIndex, run] of ['vertex, 2 bits', 'msq, 2 bits'].entries())
      for (const layerIndex of [0, 1])
        for (const done of [0, 1])
          onProgress?.({
            ...{ stage: 'quantize', done, total: 1, layer: `l${layerIndex}`, layerIndex, layerCount: 2 },
            ...{ run, runIndex, runCount: 2 },
          });
    return Promise.resolve(sampleComparison());
  };
  const { stdout, stderr } = await runFake(base, { compareMethods });
  t.is(untimed(stderr), 'run 1/2: vertex, 2 bits\nrun 2/2: msq, 2 bits\n');
  t.regex(stdout, /^method/);
  const bar = await runFake(base, { compareMethods, terminal: true });
  t.regex(bar.stderr, /vertex, 2 bits layer 1\/2 l0: fitting/);
});

test('an interrupt is exit code 130 and leaves no plot', async (t) => {
  const folder = temporaryFolder(t);
  const controller = new AbortController();
  const { code, stderr } = await runFake([...base, '--plot', join(folder, 'plot.svg')], {
    signal: controller.signal,
    compareMethods: () => {
      controller.abort();
      return Promise.reject(controller.signal.reason as Error);
    },
  });
  t.deepEqual([code, stderr], [130, 'vertexq: interrupted\n']);
  t.deepEqual(readdirSync(folder), []);
});

test('the program compares methods on a network', (t) => {
  const folder = temporaryFolder(t);
  const root = join(__dirname, '..', '..');
  const data = new Float32Array(200 * 784);
  for (let i = 0, state = 1; i < data.length; i++)
    data[i] = (state = (state * 48271) % 2147483647) / 2147483647;
  writeFileSync(join(folder, 'data.npz'), formatNpz(new Map([['image', { data, dims: [200, 784] }]])));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...[typescript, join('lib', 'cli', 'main.ts'), 'compare', join('test', 'fixtures', 'mnist-mlp.onnx')],
      ...['--calibration', join(folder, 'data.npz'), '--methods', 'gptq,msq', '--bits', '2,3'],
      ...['--plot', join(folder, 'errors.svg'), '--json', '--layers', '/fc2/Gemm', '/fc3/Gemm'],
    ],
    { cwd: root, encoding: 'utf8' },
  );
  t.is(status, 0, stderr);
  t.regex(untimed(stderr), /^run 1\/4: gptq, 2 bits\n[^]*method +bits +output/);
  const { runs } = JSON.parse(stdout) as Comparison;
  t.deepEqual(
    runs.map(({ method, bits, layers }) => [method, bits, layers.length]),
    [
      ['gptq', 2, 2],
      ['msq', 2, 2],
      ['gptq', 3, 2],
      ['msq', 3, 2],
    ],
  );
  t.true(runs.every(({ output }) => output!.error > 0 && output!.rows === 20));
  t.deepEqual(readdirSync(folder).sort(), ['data.npz', 'errors.svg']);
});
