import test from 'ava';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { VertexqError } from '../../lib/errors';
import type { ModelOptions } from '../../lib/models/types';
import { temporaryFolder } from '../files/temporary-folder';
import { layerReport, sampleReport } from '../reports/samples';
import { runFake, untimed } from './fake';

const base = ['quantize', 'in.onnx', '-o', 'out.onnx'];

/** The options that the library gets for these flags. */
async function optionsFor(...flags: string[]): Promise<Partial<ModelOptions>> {
  const { code, stderr, calls } = await runFake([...base, ...flags]);
  if (code !== 0) throw new Error(stderr);
  return withoutHooks(calls[0]!.options!);
}

function withoutHooks({
  signal: _signal,
  onWarning: _onWarning,
  onProgress: _onProgress,
  ...options
}: ModelOptions): Partial<ModelOptions> {
  return options;
}

test('flags become the options of quantizeModel', async (t) => {
  t.deepEqual(await optionsFor(), {});
  t.deepEqual(await optionsFor('--calibration', 'a.npz'), { calibration: 'a.npz' });
  t.deepEqual(await optionsFor('--calibration', 'a.npz', 'b.npz', '--bits', '2'), {
    calibration: ['a.npz', 'b.npz'],
    bits: 2,
  });
  t.deepEqual(await optionsFor('--calibration', 'a.npz', '--calibration', 'b.npz'), {
    calibration: ['a.npz', 'b.npz'],
  });
  t.deepEqual(await optionsFor('--holdout', '0.25'), { holdout: 0.25 });
  t.deepEqual(await optionsFor('--holdout', '-1'), { holdout: -1 });
  t.deepEqual(await optionsFor('--holdout', 'test.npz'), { holdout: 'test.npz' });
  t.deepEqual(await optionsFor('--group-size', 'channel'), { groupSize: 'channel' });
  t.deepEqual(await optionsFor('--group-size', '64'), { groupSize: 64 });
  t.deepEqual(await optionsFor('--rank', 'auto'), { rank: 'auto' });
  t.deepEqual(await optionsFor('--rank', '.5'), { rank: 0.5 });
  t.deepEqual(await optionsFor('--rank', '300'), { rank: 300 });
  t.deepEqual(await optionsFor('--effort', 'auto'), { effort: 'auto' });
  t.deepEqual(await optionsFor('--effort', '8', '--damping', '1e-3'), { effort: 8, damping: 0.001 });
  t.deepEqual(await optionsFor('--error-correction'), { errorCorrection: true });
  t.deepEqual(await optionsFor('--operators', 'MatMul, Gather'), { operators: ['MatMul', 'Gather'] });
  t.deepEqual(await optionsFor('--external-data', '--format', 'qdq'), { externalData: true, format: 'qdq' });
  t.deepEqual(await optionsFor('--memory', '256M'), { memory: 2 ** 28 });
  t.deepEqual(await optionsFor('--no-error-correction'), { errorCorrection: false });
  for (const method of ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const)
    t.deepEqual(await optionsFor('--method', method), { method });
  t.deepEqual(
    await optionsFor(
      ...[
        '--method',
        'maly-saab',
        '--levels',
        '3',
        '--grid',
        'integer',
        '--box',
        'saturate',
        '--scale',
        'max',
      ],
      ...[
        '--format',
        'float',
        '--batch-size',
        '8',
        '--threads',
        '2',
        '--layers',
        'a*',
        'b*',
        '--skip',
        'ab*',
      ],
    ),
    {
      method: 'maly-saab',
      levels: 3,
      grid: 'integer',
      box: 'saturate',
      scale: 'max',
      format: 'float',
      batchSize: 8,
      threads: 2,
      layers: ['a*', 'b*'],
      skip: ['ab*'],
    },
  );
  t.deepEqual(
    await optionsFor('--override', '*a*=bits:8,effort:auto,error-correction:false,scale:max,rank:.5'),
    {
      overrides: [
        { layers: '*a*', bits: 8, effort: 'auto', errorCorrection: false, scale: 'max', rank: 0.5 },
      ],
    },
  );
  const { calls } = await runFake(base);
  t.is(calls[0]!.input, 'in.onnx');
  t.is(calls[0]!.output, 'out.onnx');
});

test('wrong usage: exit code 2, one line, no work', async (t) => {
  for (const [args, message] of [
    [['quantize'], /missing required argument 'model'|required option '-o, --output <path>'/],
    [['quantize', 'in.onnx'], /required option '-o, --output <path>' not specified/],
    [['quantize', 'a.onnx', 'b.onnx', '-o', 'c'], /too many arguments/],
    [[...base, '--bts', '4'], /unknown option '--bts' \(Did you mean --bits\?\)/],
    [[...base, '--bits'], /option '--bits <n>' argument missing/],
    [[...base, '--bits', 'four'], /'four' is invalid\. Expected a whole number\./],
    [[...base, '--bits', '1e400'], /'1e400' is invalid/],
    [[...base, '--group-size', 'chanel'], /Expected a whole number, or "channel"/],
    [[...base, '--rank', 'all'], /Expected a whole number, a fraction below 1, or "auto"/],
    [[...base, '--holdout', ''], /Expected a fraction from 0 and below 1, or a file/],
    [[...base, '--method', 'gpt'], /Allowed choices are vertex, gptq, gpfq, maly-saab, msq/],
    [[...base, '--effort', 'much'], /'much' is invalid\. Expected a whole number, or "auto"/],
    [[...base, '--damping', 'much'], /'much' is invalid\. Expected a number/],
    [[...base, '--grid', 'int'], /Allowed choices are integer, asymmetric, zero-free, full-range/],
    [[...base, '--format', 'int4'], /Allowed choices are matmulnbits, qdq, float, compressed-tensors/],
    [[...base, '--calibration'], /argument missing/],
    [
      [...base, '--dry-run', '--report', 'report.html'],
      /The report report\.html: of a dry run there is JSON/,
    ],
    [[...base, '--report', './out.onnx'], /The report \.\/out\.onnx is the output/],
    [[...base, '--report', 'in.onnx'], /The report in\.onnx is the input/],
  ] as const) {
    const { code, stdout, stderr, calls } = await runFake(args);
    t.is(code, 2, args.join(' '));
    t.regex(stderr, message);
    t.regex(stderr, /^vertexq: [^\n]*\n$/);
    t.is(stdout, '');
    t.deepEqual(calls, []);
  }
});

test('errors of the library: exit codes and one line', async (t) => {
  const failing = (error: unknown) =>
    runFake(base, {
      quantizeModel: () => Promise.reject(error),
    });
  const cases = [
    [
      new VertexqError('ERR_VERTEXQ_ONNX', 'in.onnx is\n  no\x1b model'),
      3,
      'vertexq: in.onnx is no\\x1b model [ERR_VERTEXQ_ONNX]\n"vertexq explain ERR_VERTEXQ_ONNX" says what to do\n',
    ],
    [new RangeError('too many bits'), 2, 'vertexq: too many bits\n'],
    [new TypeError('no bits'), 2, 'vertexq: no bits\n'],
    [new Error('disk full'), 1, 'vertexq: disk full\n'],
    [new Error(''), 1, 'vertexq: Error\n'],
    ['text', 1, 'vertexq: text\n'],
  ] as const;
  for (const [error, expected, line] of cases) {
    const { code, stdout, stderr } = await failing(error);
    t.deepEqual([code, stdout, stderr], [expected, '', line]);
  }
});

test('VERTEXQ_DEBUG adds the stack', async (t) => {
  const { code, stderr } = await runFake(base, {
    env: { VERTEXQ_DEBUG: '1' },
    quantizeModel: () => Promise.reject(new Error('broken')),
  });
  t.is(code, 1);
  t.regex(stderr, /Error: broken\n +at .*\n/);
  t.true(stderr.endsWith('vertexq: broken\n'));
});

test('an abort is exit code 130', async (t) => {
  const controller = new AbortController();
  const { code, stdout, stderr } = await runFake([...base, '--json'], {
    signal: controller.signal,
    quantizeModel: (_input, _output, options) => {
      t.is(options.signal, controller.signal);
      controller.abort();
      return Promise.reject(controller.signal.reason as Error);
    },
  });
  t.deepEqual([code, stdout, stderr], [130, '', 'vertexq: interrupted\n']);
});

test('--json writes the report, and nothing else, to stdout', async (t) => {
  const report = sampleReport({ warnings: ['w [WARN_VERTEXQ_NO_DATA]'] });
  for (const flags of [['--json'], ['--json', '--quiet']]) {
    const { code, stdout, stderr } = await runFake([...base, ...flags], {
      quantizeModel: () => Promise.resolve(report),
    });
    t.is(code, 0);
    const command = ['vertexq', ...base, ...flags].join(' ');
    t.deepEqual(JSON.parse(stdout), { ...report, command });
    t.is(stderr === 'warning: w [WARN_VERTEXQ_NO_DATA]\n', flags.includes('--quiet'));
  }
  t.is((await runFake(base)).stdout, '');
});

test('--report writes a file, whole or not at all', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'report.json');
  t.is((await runFake([...base, '--report', file])).code, 0);
  const command = `vertexq ${base.join(' ')} --report ${file}`;
  t.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { ...sampleReport(), command });
  t.deepEqual(readdirSync(folder), ['report.json']);

  writeFileSync(file, 'old');
  const failing = await runFake([...base, '--report', file, '--overwrite'], {
    quantizeModel: () => Promise.reject(new Error('broken')),
  });
  t.is(failing.code, 1);
  t.is(readFileSync(file, 'utf8'), 'old');

  // Refused before the work.
  mkdirSync(join(folder, 'sub'));
  symlinkSync('.', join(folder, 'same'));
  writeFileSync(join(folder, 'data.npz'), 'data');
  const [model, output] = [join(folder, 'in.onnx'), join(folder, 'out.onnx')];
  const data = ['--calibration', join(folder, 'data.npz')];
  for (const [name, what] of [
    ['out.onnx', 'the output'],
    ['in.onnx', 'the input'],
    ['data.npz', 'the input .*data\\.npz'],
  ] as const) {
    const report = join(folder, 'same', name);
    const { code, stderr, calls } = await runFake([
      ...['quantize', model, '-o', output, ...data, '--report', report],
    ]);
    t.is(code, 2);
    t.regex(stderr, new RegExp(`${name} is ${what}: give it another name`));
    t.deepEqual(calls, []);
  }
  for (const wrong of [join(folder, 'sub'), join(folder, 'absent', 'report.json')]) {
    const { code, stderr, calls } = await runFake([...base, '--report', wrong]);
    t.is(code, 1);
    t.regex(stderr, /\[ERR_VERTEXQ_FILE\]/);
    t.deepEqual(calls, []);
  }
  t.false(existsSync(dirname(join(folder, 'absent', 'x'))));
});

test('--report with a name of a page writes one, with the command as a shell takes it', async (t) => {
  const folder = temporaryFolder(t);
  for (const name of ['report.html', 'report.HTM']) {
    const file = join(folder, name);
    const { code, stderr } = await runFake([...base, '--layers', "it's*", '--report', file]);
    t.is(code, 0, stderr);
    const text = readFileSync(file, 'utf8');
    t.regex(text, /^<!doctype html>/);
    t.true(text.includes(`--layers &#39;it&#39;\\&#39;&#39;s*&#39; --report ${file}`));
  }
  const file = join(folder, 'checkpoint.html');
  t.is((await runFake(['quantize', 'in.safetensors', '-o', 'out', '--report', file])).code, 0);
  t.regex(readFileSync(file, 'utf8'), /quantize .* -o out --report/);
});

const working = async (_input: string, _output: string, options: ModelOptions) => {
  for (const [layerIndex, layer] of ['first', 'second'].entries())
    for (const stage of ['capture', 'quantize'] as const)
      for (const done of [0, 1, 2]) {
        options.onProgress!({ stage, done, total: 2, layer, layerIndex, layerCount: 2 });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
  options.onProgress!({ stage: 'write', done: 0, total: 1 });
  return sampleReport({
    layers: [layerReport('first'), layerReport('second')],
    warnings: ['w [WARN_VERTEXQ_NO_DATA]'],
  });
};

test('without a terminal: a line for each layer, the totals and warnings, no escape codes', async (t) => {
  const { stderr } = await runFake(base, { quantizeModel: working });
  const lines = untimed(stderr).split('\n');
  const table = lines.splice(4, 5);
  t.regex(table[0]!, /^layer +shape +method/);
  t.deepEqual(lines, [
    'layer 1/2: first',
    'layer 2/2: second',
    '2 layers: file 438 MB → 98.0 MB (4.5×); weights 340 MB → 48.0 MB (7.1×); in 1 min 23 s',
    '',
    'what       count   before    after  ratio',
    'quantized      2   340 MB  48.0 MB   7.1×',
    'all else          98.0 MB  50.0 MB   2.0×',
    'whole          2   438 MB  98.0 MB   4.5×',
    '',
    'warning: w [WARN_VERTEXQ_NO_DATA]',
    'written: out.onnx',
    '',
  ]);
  // Issue 21 item 6: what has to be known is said all the same.
  const quiet = await runFake([...base, '--quiet'], { quantizeModel: working });
  t.is(quiet.stderr, 'warning: w [WARN_VERTEXQ_NO_DATA]\n');
});

test('on a terminal: a bar, and the table with colours, unless NO_COLOR is set', async (t) => {
  const { stderr, stdout } = await runFake(base, { quantizeModel: working, terminal: true });
  t.regex(stderr, /░+ 0 % .*layer 1\/2 first: running the network/);
  t.regex(stderr, /layer 2\/2 second: fitting/);
  // eslint-disable-next-line no-control-regex
  t.regex(stderr, /\x1b\[1mlayer\x1b\[22m/);
  t.is(stdout, '');

  const plain = await runFake(base, { quantizeModel: working, terminal: true, env: { NO_COLOR: '1' } });
  t.regex(plain.stderr, /█/);
  // eslint-disable-next-line no-control-regex
  t.notRegex(plain.stderr, /\x1b\[\d*m/);

  const dumb = await runFake(base, { quantizeModel: working, terminal: true, env: { TERM: 'dumb' } });
  // eslint-disable-next-line no-control-regex
  t.notRegex(dumb.stderr, /\x1b|█/);
});

test('a bar ends with an error', async (t) => {
  const { stderr, code } = await runFake(base, {
    terminal: true,
    quantizeModel: async (input, output, options) => {
      await working(input, output, options);
      throw new Error('broken');
    },
  });
  t.is(code, 1);
  t.true(stderr.endsWith('vertexq: broken\n'));
});

test('--strict: warnings of the run, its plan and its layers fail it when all is written', async (t) => {
  const warned = () =>
    Promise.resolve({ ...sampleReport(), warnings: ['few rows [WARN_VERTEXQ_FEW_ROWS]' as const] });
  const quiet = () =>
    Promise.resolve({
      ...sampleReport(),
      warnings: [],
      layers: sampleReport().layers.map((layer) => ({ ...layer, warnings: [] })),
    });
  t.is((await runFake([...base, '--strict'], { quantizeModel: quiet })).code, 0);
  t.is((await runFake(base, { quantizeModel: warned })).code, 0);
  const { code, stdout, stderr } = await runFake([...base, '--strict', '--json'], { quantizeModel: warned });
  t.is(code, 1);
  t.regex(
    stderr,
    /vertexq: --strict: \d+ warnings?, the first: few rows \[WARN_VERTEXQ_FEW_ROWS\] \[ERR_VERTEXQ_STRICT\]\n.*\n$/,
  );
  // One document: the report, which has them all.
  t.deepEqual((JSON.parse(stdout) as { warnings: string[] }).warnings, ['few rows [WARN_VERTEXQ_FEW_ROWS]']);
});

test('issue 21 item 6: a file that is there stops the run, unless it may be replaced', async (t) => {
  const output = join(temporaryFolder(t), 'out.onnx');
  const args = ['quantize', 'in.onnx', '-o', output];
  writeFileSync(output, 'whole');
  const stopped = await runFake(args);
  t.like(stopped, { code: 4, stdout: '', calls: [] });
  t.regex(stopped.stderr, /out\.onnx is there already: give --overwrite.*\[ERR_VERTEXQ_EXISTS\]/);
  t.is((await runFake([...args, '--overwrite'])).calls.length, 1);
  t.is((await runFake([...args, '--dry-run'])).code, 0);
  t.is((await runFake([...args, '--resume'])).calls.length, 1);
});

test('--skip-existing: an output that is there is left alone, an unfinished one is not', async (t) => {
  const folder = temporaryFolder(t);
  const output = join(folder, 'out');
  const args = ['quantize', 'in.onnx', '-o', output, '--skip-existing'];
  t.is((await runFake(args)).calls.length, 1);
  mkdirSync(join(output, '.vertexq'), { recursive: true });
  t.is((await runFake(args)).calls.length, 1);
  rmSync(join(output, '.vertexq'), { recursive: true });
  const skipped = await runFake(args);
  t.like(skipped, { code: 0, stdout: '', stderr: `${output} is there already: skipped\n`, calls: [] });
});
