import test, { type ExecutionContext } from 'ava';
import { spawn, spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspectModel, quantizeModel } from '../../lib/index';
import { writeWhole } from '../../lib/files/output-file';
import { node } from '../../lib/containers/onnx/make';
import type { ModelOptions, Progress } from '../../lib/index';
import { model } from './children/network';
import { bytesOf, feed, files, folder, network, readBack } from './networks';
import { typescript } from '../typescript';
import { sameBytes } from '../files/same-bytes';

const repository = join(__dirname, '..', '..');

const calibration = [feed([500, 64], 1), feed([500, 64], 2)];

const fails = async (t: ExecutionContext, options: ModelOptions, code: string, message: RegExp) => {
  const { input, output } = files(t, model);
  await t.throwsAsync(quantizeModel(input, output, options), { code, message });
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
};

test('calibration that does not fit names the input and what was expected', async (t) => {
  const { x } = feed([10, 64], 1);
  const code = 'ERR_VERTEXQ_CALIBRATION';
  await fails(t, { calibration: feed([10, 63], 1) }, code, /"x".*\[batch, 64\], not \[10, 63\]/);
  await fails(t, { calibration: feed([640], 1) }, code, /"x" should have 2 dimensions/);
  await fails(t, { calibration: { X: x! } }, code, /no input "X": did you mean "x"\?/);
  await fails(t, { calibration: { x: { data: new Int32Array(640), dims: [10, 64] } } }, code, /"x".*float32/);
  await fails(t, { calibration: { x: { ...x!, dims: [11, 64] } } }, code, /704 elements, not 640/);
});

test('calibration that the network itself makes no sense of', async (t) => {
  const open = network({ nodes: model.graph!.node, constants: model.graph!.initializer });
  for (const dims of [[10, 63], [63], [10, 64, 63]]) {
    const { input, output } = files(t, open);
    const attempt = quantizeModel(input, output, { calibration: [feed(dims, 1)], holdout: 0 });
    await t.throwsAsync(attempt, {
      code: 'ERR_VERTEXQ_ONNX',
      message: /layer "first": the value "x" has 63 features, and the weight 64 inputs/,
    });
  }
  const left = network({
    nodes: [node('MatMul', ['v', 'x'], ['y'], { name: 'left' })],
    constants: model.graph!.initializer,
  });
  const ranks = files(t, left);
  const mixed = [feed([64, 20], 1), feed([2, 64, 20], 2)];
  await t.throwsAsync(quantizeModel(ranks.input, ranks.output, { calibration: mixed, holdout: 0 }), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /layer "left": the value "x" has rank 2 for some of the data and 3 for other/,
  });
  const { input, output } = files(t, open);
  const rows = await quantizeModel(input, output, {
    calibration: [feed([64], 1), feed([3, 64], 2)],
    holdout: 0,
  });
  t.is(rows.layers[0]!.samples, 4);
  const none = quantizeModel(input, output, { calibration: feed([3, 0, 64], 1), holdout: 0 });
  await t.throwsAsync(none, {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /layer "first": .* gives "x" no rows/,
  });
  const scalar = { x: { data: Float32Array.of(1), dims: [] } };
  await t.throwsAsync(quantizeModel(input, output, { calibration: scalar }), {
    code: 'ERR_VERTEXQ_ONNX',
    message: /layer "first": the value "x" is a single number/,
  });
});

test('an output that cannot be is refused before any work', async (t) => {
  const { input, output } = files(t, model);
  const path = dirname(input);
  const file = { code: 'ERR_VERTEXQ_FILE' };
  let worked = false;
  const onProgress = () => void (worked = true);
  const attempt = (to: string) => quantizeModel(input, to, { method: 'msq', onProgress });
  mkdirSync(join(path, 'folder'));
  await t.throwsAsync(attempt(join(path, 'folder')), { ...file, message: /not a regular file/ });
  await t.throwsAsync(attempt(join(path, 'none', 'out.onnx')), {
    ...file,
    message: /folder .*none does not exist/,
  });
  await t.throwsAsync(attempt(join(input, 'out.onnx')), {
    ...file,
    message: /folder .*in\.onnx does not exist/,
  });
  symlinkSync(input, join(path, 'link'));
  for (const same of [input, join(path, 'folder', '..', 'in.onnx'), join(path, 'link')])
    await t.throwsAsync(attempt(same), { instanceOf: RangeError, message: /is the input/ });
  const data = join(path, 'data.npz');
  writeFileSync(data, 'data');
  for (const options of [{ calibration: data }, { calibration: [data] }, { calibration, holdout: data }])
    await t.throwsAsync(quantizeModel(input, data, { ...options, onProgress }), {
      instanceOf: RangeError,
      message: /^The output .*data\.npz is the input: give it another name/,
    });
  rmSync(data);
  await t.throwsAsync(quantizeModel(input, ''), { instanceOf: TypeError });
  await t.throwsAsync(quantizeModel(5 as never, output), { instanceOf: TypeError });
  t.false(worked);
  t.deepEqual(readdirSync(path), ['folder', 'in.onnx', 'link']);
  t.deepEqual(readBack(input).graph!.node.length, 3);
});

test('an output that is there is replaced; a hard link to the input is not written through', async (t) => {
  const { input, output } = files(t, model);
  const before = readFileSync(input);
  linkSync(input, `${output}.link`);
  writeFileSync(output, 'old');
  await quantizeModel(input, output, { method: 'msq' });
  t.is((await inspectModel(output)).operators['MatMulNBits'], 2);
  await t.throwsAsync(quantizeModel(input, input), { instanceOf: RangeError });
  sameBytes(t, readFileSync(`${output}.link`), before);
});

test('a name as long as the file system takes', async (t) => {
  const { input } = files(t, model);
  for (const name of [`${'n'.repeat(250)}.onnx`, `${'ü'.repeat(125)}.onnx`]) {
    await quantizeModel(input, join(dirname(input), name), { method: 'msq' });
    t.true(readdirSync(dirname(input)).includes(name));
  }
  t.is(readdirSync(dirname(input)).length, 3);
});

const stages: Progress['stage'][] = ['capture', 'quantize', 'write'];
/** Once a layer is fitted, that is kept. */
const left = (stage: string) => (stage === 'write' ? ['in.onnx', 'out.onnx.vertexq'] : ['in.onnx']);
for (const stage of stages)
  test(`an abort at the stage "${stage}" rejects with its reason, and leaves what is done`, async (t) => {
    const { input, output } = files(t, model);
    const controller = new AbortController();
    const reason = { why: stage };
    const attempt = quantizeModel(input, output, {
      calibration,
      signal: controller.signal,
      onProgress: (progress) => {
        if (progress.stage === stage && progress.done < progress.total + 1) controller.abort(reason);
      },
    });
    const error: unknown = await attempt.then(
      () => 'finished',
      (thrown: unknown) => thrown,
    );
    t.is(error, reason);
    t.deepEqual(readdirSync(dirname(input)), left(stage));
  });

test('an abort before, from outside, and after', async (t) => {
  const { input, output } = files(t, model);
  const reason = new Error('enough');
  await t.throwsAsync(quantizeModel(input, output, { calibration, signal: AbortSignal.abort(reason) }), {
    is: reason,
  });
  for (const delay of [0, 2, 5, 10, 20]) {
    const controller = new AbortController();
    const attempt = quantizeModel(input, output, { calibration, signal: controller.signal });
    setTimeout(() => controller.abort(reason), delay);
    const error: unknown = await attempt.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    t.true(error === reason || error === null);
    rmSync(`${output}.vertexq`, { recursive: true, force: true });
    if (error) t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
    else break;
  }
  const controller = new AbortController();
  await quantizeModel(input, output, { calibration, signal: controller.signal });
  controller.abort(reason);
  controller.abort(reason);
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx', 'out.onnx']);
});

test('calibration data and options that change meanwhile: the answer does not, or it is an error', async (t) => {
  const { input, output } = files(t, model);
  const expected = await quantizeModel(input, output, { calibration, holdout: 0 });
  const bytes = readFileSync(output);
  const data = feed([500, 64], 1);
  const transferred = quantizeModel(input, output, {
    calibration: [data, feed([500, 64], 2)],
    holdout: 0,
    onProgress: ({ stage, layerIndex }) => {
      const { buffer } = data['x']!.data as Float32Array<ArrayBuffer>;
      if (stage === 'quantize' && layerIndex === 0 && buffer.byteLength > 0)
        structuredClone(buffer, { transfer: [buffer] });
    },
  });
  await t.throwsAsync(transferred, {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /layer "second": the calibration data of the input "x" cannot be fed.*transferred/,
  });
  t.false(readdirSync(dirname(output)).includes('out.onnx.vertexq'));
  const options: ModelOptions = { calibration, holdout: 0, skip: ['none'] };
  await t.throwsAsync(quantizeModel(input, output, options), { instanceOf: RangeError });
  options.skip = [];
  const running = quantizeModel(input, output, options);
  Object.assign(options, { calibration: 5, holdout: 0.9, signal: 'none', onProgress: 7, threads: 'x' });
  (options.skip as string[]).push('*');
  const { layers } = await running;
  t.is(layers.length, expected.layers.length);
  sameBytes(t, readFileSync(output), bytes);
});

test('a progress callback that throws rejects with what it threw', async (t) => {
  for (const stage of stages) {
    const { input, output } = files(t, model);
    const thrown = new Error('no');
    const onProgress = (progress: Progress) => {
      if (progress.stage === stage) throw thrown;
    };
    await t.throwsAsync(quantizeModel(input, output, { calibration, onProgress }), { is: thrown });
    t.deepEqual(readdirSync(dirname(input)), left(stage));
  }
});

/** What a child runs, and prints the error of. */
const script = (body: string) => `
  const { quantizeModel } = require(${JSON.stringify(join(repository, 'lib', 'index.ts'))});
  (async () => { ${body} })().catch((error) => console.log(error.code + ' ' + error.message));`;
const nodeArguments = (code: string) => [typescript, '-e', code];

test('a full disk: an error with the file, and no part of it', (t) => {
  if (process.platform === 'win32') {
    t.pass();
    return;
  }
  const { input, output } = files(t, model);
  const code = script(
    `await quantizeModel(${JSON.stringify(input)}, ${JSON.stringify(output)}, { method: 'msq' })`,
  );
  // No file beyond 4 KiB: what a write into a full disk does, without one.
  const limited = spawnSync(
    'bash',
    ['-c', 'ulimit -f 4 && exec "$0" "$@"', process.execPath, ...nodeArguments(code)],
    {
      cwd: repository,
      encoding: 'utf8',
      env: { ...process.env, TSX_DISABLE_CACHE: '1' },
    },
  );
  t.regex(limited.stdout, /^ERR_VERTEXQ_FILE .*out\.onnx cannot be written: /, limited.stderr);
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
});

test('without onnxruntime-node: what to install; msq works all the same', (t) => {
  const { input, output } = files(t, model);
  const code = `
    const { Module } = require('node:module');
    const resolve = Module._resolveFilename;
    Module._resolveFilename = function (request, ...rest) {
      if (request === 'onnxruntime-node') throw Object.assign(new Error('Cannot find it'), { code: 'MODULE_NOT_FOUND' });
      return resolve.call(this, request, ...rest);
    };
    const { quantizeModel } = require(${JSON.stringify(join(repository, 'lib', 'index.ts'))});
    const paths = ${JSON.stringify([input, output])};
    (async () => {
      const report = await quantizeModel(...paths, { method: 'msq' });
      console.log(report.environment.onnxruntime);
      const x = { data: new Float32Array(640).fill(1), dims: [10, 64] };
      await quantizeModel(...paths, { calibration: { x } });
    })().catch((error) => console.log(error.code + ' ' + error.message));`;
  const { stdout, stderr } = spawnSync(process.execPath, nodeArguments(code), {
    cwd: repository,
    encoding: 'utf8',
  });
  t.regex(stdout, /^null\nERR_VERTEXQ_RUNTIME .*npm install onnxruntime-node/, stderr);
});

test('two processes that write the same output leave one whole file', async (t) => {
  const { input, output } = files(t, model);
  const child = (bits: number) => {
    const call = `await quantizeModel(${JSON.stringify(input)}, ${JSON.stringify(output)}, { method: 'msq', bits: ${bits} });`;
    const started = spawn(process.execPath, nodeArguments(script(call.repeat(5))), { cwd: repository });
    let printed = '';
    for (const stream of [started.stdout, started.stderr])
      stream.on('data', (text: Buffer) => (printed += text.toString()));
    return new Promise<string>((resolve) => started.on('close', () => resolve(printed)));
  };
  // While one writes, the other is refused.
  for (const printed of await Promise.all([child(2), child(8)]))
    t.regex(printed, /^(ERR_VERTEXQ_LOCKED Another run is writing this output: .*)?$/m);
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx', 'out.onnx']);
  const alone = await Promise.all(
    [2, 8].map(async (bits) => {
      const own = files(t, model);
      await quantizeModel(own.input, own.output, { method: 'msq', bits });
      return readFileSync(own.output);
    }),
  );
  const found = readFileSync(output);
  t.true(alone.some((bytes) => bytes.equals(found)));
});

test('writeWhole leaves the old file where the new one cannot be written', async (t) => {
  const path = folder(t);
  const file = join(path, 'a');
  await writeWhole(file, bytesOf(model));
  const signal = AbortSignal.abort('stop');
  t.is(await writeWhole(file, new Uint8Array(5), signal).catch((error: unknown) => error), 'stop');
  await t.throwsAsync(writeWhole(join(path, 'b', 'c'), new Uint8Array(5)), { code: 'ERR_VERTEXQ_FILE' });
  sameBytes(t, readFileSync(file), Buffer.from(bytesOf(model)));
  t.deepEqual(readdirSync(path), ['a']);
});
