import test from 'ava';
import { errorCodes } from '../../lib/error-codes';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../../lib/errors';
import { sampleInspection } from '../reports/samples';
import { runFake } from './fake';

const root = join(__dirname, '..', '..');

test('--version and --help go to stdout', async (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  for (const flag of ['--version', '-V', '-v'])
    t.like(await runFake([flag]), { code: 0, stdout: `${version}\n`, stderr: '', calls: [] });
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await runFake(args);
    t.deepEqual([code, stderr], [0, '']);
    t.regex(stdout, /^Usage: vertexq/);
    t.regex(stdout, /^ +quantize [^]*\n +compare [^]*\n +eval [^]*\n +inspect /m);
    t.regex(
      stdout,
      /Exit codes: 0 done, 1 failed, 2 wrong usage, 3 .*, 4 [^]*,\s+5\s+nothing\s+to\s+quantize,\s+6 .*,\s+130\s+interrupted/,
    );
  }
});

test('the help of a command says what every option means, with examples', async (t) => {
  for (const args of [
    ['quantize', '--help'],
    ['help', 'quantize'],
  ]) {
    const { code, stdout } = await runFake(args);
    t.is(code, 0);
    const options =
      'output config calibration holdout method bits levels grid group-size box rank scale effort damping error-correction no-error-correction format layers skip override activations resume dry-run strict skip-existing overwrite batch-size tokenizer max-length text-field image-size image-mean image-std image-order image-fit threads report json quiet';
    for (const name of options.split(' '))
      t.regex(stdout, new RegExp(`^ +(-\\w, )?--${name}( <.*>)? {2,}\\S`, 'm'), name);
    t.regex(stdout, /\n {2}\$ vertexq quantize model\.onnx -o .* --calibration samples\.npz\n/);
    t.regex(stdout, /--group-size <.*\(default:\s+32; for\s+checkpoints\s+channel\)/s);
  }
  const compare = (await runFake(['compare', '--help'])).stdout;
  for (const name of 'methods bits calibration holdout grid scale effort damping rank box plot json quiet'.split(
    ' ',
  ))
    t.regex(compare, new RegExp(`^ +(-\\w, )?--${name}( <.*>)? {2,}\\S`, 'm'), name);
  t.regex(compare, /\$ vertexq compare model\.onnx --calibration samples\.npz\n/);
  const { stdout } = await runFake(['inspect', '--help']);
  t.regex(stdout, /\$ vertexq inspect model\.onnx\n/);
});

test('wrong usage is exit code 2', async (t) => {
  const none = await runFake([]);
  t.is(none.code, 2);
  t.is(none.stdout, '');
  t.regex(none.stderr, /^Usage: vertexq/);
  for (const [args, message] of [
    [['quantise'], /^vertexq: unknown command 'quantise' \(Did you mean quantize\?\)\n$/],
    [['evaluate', 'in.onnx'], /^vertexq: unknown command 'evaluate'.*\n$/],
    [['compare'], /^vertexq: missing required argument 'model\.onnx'\n$/],
    [['--versoin'], /^vertexq: unknown option '--versoin' \(Did you mean --version\?\)\n$/],
    [['inspect'], /^vertexq: missing required argument 'model(\.onnx)?'\n$/],
    [['inspect', 'a', 'b'], /^vertexq: too many arguments/],
    [['inspect', 'a', '--bits', '4'], /^vertexq: unknown option '--bits'\n$/],
  ] as const) {
    const { code, stdout, stderr, calls } = await runFake(args);
    t.is(code, 2);
    t.regex(stderr, message);
    t.is(stdout, '');
    t.deepEqual(calls, []);
  }
});

test('inspect: a table or JSON on stdout', async (t) => {
  const table = await runFake(['inspect', 'in.onnx']);
  t.like(table, { code: 0, stderr: '', calls: [{ input: 'in.onnx' }] });
  t.regex(table.stdout, /1 layer can be quantized/);
  const json = await runFake(['inspect', 'in.onnx', '--json']);
  t.is(json.stderr, '');
  t.deepEqual(JSON.parse(json.stdout), sampleInspection());
});

test('inspect: errors', async (t) => {
  const failing = await runFake(['inspect', 'in.onnx', '--json'], {
    inspectModel: () => Promise.reject(new VertexqError('ERR_VERTEXQ_FILE', 'in.onnx cannot be read')),
  });
  t.like(failing, {
    code: 1,
    stderr:
      'vertexq: in.onnx cannot be read [ERR_VERTEXQ_FILE]\n"vertexq explain ERR_VERTEXQ_FILE" says what to do\n',
  });
  t.deepEqual(JSON.parse(failing.stdout), {
    error: {
      code: 'ERR_VERTEXQ_FILE',
      message: 'in.onnx cannot be read',
      remedy: errorCodes.ERR_VERTEXQ_FILE.remedy,
      exitCode: 1,
    },
  });
  const controller = new AbortController();
  const aborted = await runFake(['inspect', 'in.onnx'], {
    signal: controller.signal,
    inspectModel: () => {
      controller.abort();
      return Promise.resolve(sampleInspection());
    },
  });
  t.is(aborted.code, 130);
});

test('exit codes tell the cause', async (t) => {
  const full = Object.assign(new Error('no room'), { code: 'ENOSPC' });
  const failing = async (error: Error) =>
    (await runFake(['inspect', 'in.onnx'], { inspectModel: () => Promise.reject(error) })).code;
  for (const [code, cause, expected] of [
    ['ONNX', undefined, 3],
    ['GGUF', undefined, 3],
    ['UNSUPPORTED', undefined, 3],
    ['EXISTS', undefined, 4],
    ['LOCKED', undefined, 4],
    ['NO_LAYERS', undefined, 5],
    ['MEMORY', undefined, 6],
    ['FILE', full, 6],
    ['FILE', new Error('gone'), 1],
    ['RUNTIME', undefined, 1],
  ] as const)
    t.is(await failing(new VertexqError(`ERR_VERTEXQ_${code}`, 'x', { cause })), expected, code);
  t.is(await failing(new TypeError('x')), 2);
  t.is(await failing(new Error('x')), 1);
});
