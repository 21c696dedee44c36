import test from 'ava';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  evaluateModel,
  quantizeModel,
  VertexqError,
  type EvaluateOptions,
  type VertexqErrorCode,
} from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../lib/containers/onnx/onnx_pb';
import { valueInfo } from '../../lib/containers/onnx/make';
import { bytesOf, feed, files, float, folder, network, random, run } from '../models/networks';

const weights = [tensor('w', [32, 48], random(32 * 48, 1)), tensor('v', [48, 16], random(48 * 16, 2))];
const model = network({
  nodes: [
    node('MatMul', ['x', 'w'], ['a']),
    node('Tanh', ['a'], ['b']),
    node('MatMul', ['b', 'v'], ['y']),
    node('ArgMax', ['y'], ['label'], { attributes: { axis: 1n } }),
  ],
  constants: weights,
  inputs: [float('x', ['batch', 32])],
  outputs: [float('y', ['batch', 16]), valueInfo('label', DataType.INT64, ['batch', 1])],
});

test('numbers are those of onnxruntime by hand', async (t) => {
  const { input, output } = files(t, model);
  await quantizeModel(input, output, { bits: 2, method: 'msq' });
  const data = feed([70, 32], 7);
  const stages = new Set<string>();
  const evaluation = await evaluateModel(input, output, {
    data,
    batchSize: 30,
    runs: 3,
    score: (outputs, feeds) => {
      t.is(feeds.length, 3);
      return outputs.reduce((sum, { y }) => sum + y!.dims[0]!, 0);
    },
    onProgress: ({ stage }) => stages.add(stage),
  });
  const [wanted, got] = [(await run(input, data))['y']!, (await run(output, data))['y']!];
  let [error, signal, most, same, cosines] = [0, 0, 0, 0, 0];
  for (let row = 0; row < 70; row++) {
    const [a, b] = [wanted.subarray(16 * row, 16 * row + 16), got.subarray(16 * row, 16 * row + 16)];
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < 16; i++) {
      error += (a[i]! - b[i]!) ** 2;
      most = Math.max(most, Math.abs(a[i]! - b[i]!));
      ab += a[i]! * b[i]!;
      aa += a[i]! ** 2;
      bb += b[i]! ** 2;
    }
    signal += aa;
    cosines += ab / Math.sqrt(aa * bb) / 70;
    if (a.indexOf(Math.max(...a)) === b.indexOf(Math.max(...b))) same++;
  }
  const [y, label] = evaluation.outputs;
  const close = (a: number | null, b: number) => t.true(Math.abs(a! - b) < 1e-5 * Math.abs(b), `${a} ${b}`);
  close(y!.error, Math.sqrt(error / signal));
  close(y!.sqnrDb, -10 * Math.log10(error / signal));
  close(y!.maxError, most);
  close(y!.cosine, cosines);
  t.is(y!.agreement, same / 70);
  t.true(y!.error! > 0.05 && same < 70);
  t.like(y, { name: 'y', type: 'float32', rows: 70, notFinite: { float: 0, quantized: 0 }, otherShape: 0 });
  t.like(label, { name: 'label', type: 'int64', error: null, cosine: null, agreement: same / 70 });
  t.deepEqual(evaluation.score, { float: 70, quantized: 70 });
  t.true(evaluation.bytes.quantized < evaluation.bytes.float);
  const { latency } = evaluation;
  t.like(latency, { samples: 30, runs: 3 });
  for (const one of [latency!.float, latency!.quantized])
    t.true(0 < one.lower && one.lower <= one.median && one.median <= one.upper);
  t.like(evaluation, { samples: 70, warnings: [], floatModel: input, quantizedModel: output });
  t.deepEqual([...stages], ['evaluate', 'time']);
});

test('a network and itself: no error; without runs no latency', async (t) => {
  const { input } = files(t, model);
  const { outputs, latency, score } = await evaluateModel(input, input, { data: feed([5, 32], 1), runs: 0 });
  t.like(outputs[0], { error: 0, sqnrDb: null, maxError: 0, agreement: 1 });
  t.true(Math.abs(outputs[0]!.cosine! - 1) < 1e-12);
  t.is(outputs[1]!.agreement, 1);
  t.deepEqual([latency, score], [null, null]);
});

test('external data lies beside the model, wherever the process is, and counts', async (t) => {
  const path = folder(t);
  const external = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [32, 48], random(32 * 48, 1))],
    inputs: [float('x', ['batch', 32])],
  });
  const whole = join(path, 'whole.onnx');
  writeFileSync(whole, bytesOf(external));
  const weight = external.graph!.initializer[0]!;
  writeFileSync(join(path, 'w.bin'), weight.rawData);
  weight.rawData = new Uint8Array();
  weight.dataLocation = 1;
  for (const [key, value] of [
    ['location', 'w.bin'],
    ['offset', '0'],
    ['length', String(32 * 48 * 4)],
  ] as const)
    // prettier-ignore
    weight.externalData.push({ $typeName: 'onnx.StringStringEntryProto', key, value });
  const split = join(path, 'split.onnx');
  writeFileSync(split, bytesOf(external));
  const { outputs, bytes } = await evaluateModel(whole, split, { data: feed([5, 32], 1), runs: 1 });
  t.is(outputs[0]!.error, 0);
  t.true(bytes.quantized > 32 * 48 * 4);
});

test('the accuracy level is the runtime’s own unless told', async (t) => {
  const { input, output } = files(t, model);
  const codes = Int8Array.from(random(32 * 48, 3), (value) => Math.round(4 * value));
  const qdq = network({
    nodes: [
      node('DequantizeLinear', ['q', 's'], ['w'], { attributes: { axis: 0n, block_size: 32n } }),
      node('MatMul', ['x', 'w'], ['y']),
    ],
    constants: [tensor('q', [32, 48], codes), tensor('s', [1, 48], random(48, 5).map(Math.abs))],
    inputs: [float('x', ['batch', 32])],
    model: { irVersion: 10n, opsetImport: [{ domain: '', version: 21n }] },
  });
  writeFileSync(output, bytesOf(qdq));
  const values = Float32Array.from(codes, (code, i) => code * Math.abs(random(48, 5)[i % 48]!));
  const plain = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [32, 48], values)],
    inputs: [float('x', ['batch', 32])],
  });
  writeFileSync(input, bytesOf(plain));
  const errorAt = async (options: Partial<EvaluateOptions>) =>
    (await evaluateModel(input, output, { data: feed([40, 32], 1), runs: 0, ...options })).outputs[0]!.error!;
  const exact = await errorAt({ accuracyLevel: 1 });
  t.true(exact < 1e-6, String(exact));
  t.log(await errorAt({}), exact);
  t.is(await errorAt({}), await errorAt({ accuracyLevel: 4 }));
});

test('NaN, infinities and other shapes are named', async (t) => {
  const { input, output } = files(t, model);
  const broken = (op: string, attributes = {}) =>
    network({
      nodes: [
        node('MatMul', ['x', 'w'], ['a']),
        node('Tanh', ['a'], ['b']),
        node('MatMul', ['b', 'v'], ['c']),
        node(op, ['c'], ['y'], { attributes }),
      ],
      constants: weights,
      inputs: [float('x', ['batch', 32])],
    });
  writeFileSync(output, bytesOf(broken('Log')));
  const options = { data: feed([20, 32], 1), runs: 0 };
  const nan = await evaluateModel(input, output, options);
  const [y] = nan.outputs;
  t.true(y!.notFinite.quantized > 0 && y!.notFinite.float === 0);
  t.is(y!.error, Infinity);
  t.is(y!.sqnrDb, null);
  t.regex(
    nan.warnings.join('\n'),
    /The output "y" has NaN or infinite numbers in 20 rows: \d+ in the quantized/,
  );
  t.regex(nan.warnings.join('\n'), /The quantized network has no output "label": it is left out/);
  writeFileSync(output, bytesOf(broken('Flatten', { axis: 0n })));
  const flat = await evaluateModel(input, output, options);
  t.like(flat.outputs[0], { otherShape: 1, error: null, rows: 0, agreement: null });
  t.regex(flat.warnings.join('\n'), /"y" of the quantized network has another shape or type in 1 runs/);
});

test('networks that do not belong together, and files that are none', async (t) => {
  const { input, output } = files(t, model);
  const data = feed([5, 32], 1);
  const refused = async (message: RegExp, code: VertexqErrorCode) => {
    const error = await t.throwsAsync(evaluateModel(input, output, { data }), { message });
    t.true(error instanceof VertexqError);
    t.is((error as VertexqError).code, code);
  };
  await refused(/out\.onnx cannot be read/, 'ERR_VERTEXQ_FILE');
  writeFileSync(output, 'no model');
  await refused(/out\.onnx is not an ONNX model/, 'ERR_VERTEXQ_ONNX');
  const other = (name: string, type: DataType, out: string) =>
    bytesOf(
      network({
        nodes: [node('Identity', [name], [out])],
        constants: [],
        inputs: [valueInfo(name, type, ['batch', 32])],
        outputs: [valueInfo(out, type)],
      }),
    );
  writeFileSync(output, other('x', DataType.FLOAT, 'z'));
  await refused(
    /no output tensor in common: .*in\.onnx has "y", "label", .*out\.onnx "z"/,
    'ERR_VERTEXQ_UNSUPPORTED',
  );
  writeFileSync(output, other('x', DataType.DOUBLE, 'y'));
  await refused(/has the input "x" of float64, and .*in\.onnx one of float32/, 'ERR_VERTEXQ_UNSUPPORTED');
  writeFileSync(output, other('ids', DataType.FLOAT, 'y'));
  await refused(
    /has the input "ids" of float32, and .*in\.onnx none of that name/,
    'ERR_VERTEXQ_UNSUPPORTED',
  );
  writeFileSync(output, bytesOf(network({ nodes: [node('NoSuch', ['x'], ['y'])], constants: [] })));
  await refused(/onnxruntime-node cannot load .*out\.onnx/, 'ERR_VERTEXQ_RUNTIME');
  copyFileSync(input, output);
  await t.throwsAsync(evaluateModel(input, output, { data: feed([5, 31], 1) }), { message: /data: the input "x" should have the dims/ }); // prettier-ignore
});

test('options: unknown, of the wrong type, out of range', async (t) => {
  const { input } = files(t, model);
  const data = feed([5, 32], 1);
  for (const [options, type, message] of [
    [{}, TypeError, /needs the option "data"/],
    [{ data: 5 }, TypeError, /Expected "data" to be paths of files/],
    [{ data, run: 5 }, TypeError, /Unknown option "run": did you mean "runs"\?/],
    [{ data, runs: -1 }, RangeError, /"runs" option to be a whole number from 0/],
    [{ data, accuracyLevel: 5 }, RangeError, /"accuracyLevel" option to be a whole number from 0 to 4/],
    [{ data, score: 5 }, TypeError, /"score" option to be a function/],
    [{ data, score: () => 'x' }, TypeError, /"score" option to return a number, not "x"/],
    [{ data, batchSize: 0 }, RangeError, /"batchSize"/],
    [{ data, threads: 0 }, RangeError, /"threads"/],
    [{ data, holdout: 0.1 }, TypeError, /Unknown option "holdout"/],
    [undefined, TypeError, /options to be an object/],
  ] as const)
    await t.throwsAsync(evaluateModel(input, input, options as unknown as EvaluateOptions), {
      instanceOf: type,
      message,
    });
  await t.throwsAsync(evaluateModel('', input, { data }), { message: /float model to be the path/ });
  await t.throwsAsync(evaluateModel(input, 5 as never, { data }), {
    message: /quantized model to be the path/,
  });
});

test('an abort rejects with its reason, whenever it comes', async (t) => {
  const { input } = files(t, model);
  for (const at of ['before', 'evaluate', 'time']) {
    const controller = new AbortController();
    const reason = { at };
    if (at === 'before') controller.abort(reason);
    const error: unknown = await evaluateModel(input, input, {
      data: feed([70, 32], 1),
      signal: controller.signal,
      onProgress: ({ stage, done }) => {
        if (stage === at && done === 1) controller.abort(reason);
      },
    }).catch((thrown: unknown) => thrown);
    t.is(error, reason);
  }
});
