import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { inspectModel, quantizeLayer, quantizeModel } from '../../lib/index';
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat } from '../numbers';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  type ModelProto,
  type NodeProto,
} from '../../lib/containers/onnx/onnx_pb';
import { transposed } from '../numbers';
import { difference, feed, files, float, inFloat, network, random, readBack, run } from './networks';

const formats = ['float', 'qdq', 'matmulnbits'] as const;
const rounding = { method: 'msq', scale: 'max', groupSize: 32 } as const;
const [inputs, outputs] = [64, 24];
const exact = random(inputs * outputs, 3);

/** The weight [inputs, outputs] in each type, with its values. */
const stored: Record<string, { type: DataType; values: Float32Array; raw: Uint8Array; typed: object }> = {
  float16: {
    type: DataType.FLOAT16,
    values: halfToFloat(floatToHalf(exact)),
    raw: new Uint8Array(floatToHalf(exact).buffer),
    typed: { int32Data: [...floatToHalf(exact)] },
  },
  bfloat16: {
    type: DataType.BFLOAT16,
    values: bfloatToFloat(floatToBfloat(exact)),
    raw: new Uint8Array(floatToBfloat(exact).buffer),
    typed: { int32Data: [...floatToBfloat(exact)] },
  },
  double: {
    type: DataType.DOUBLE,
    values: exact,
    raw: new Uint8Array(Float64Array.from(exact).buffer),
    typed: { doubleData: [...exact] },
  },
  float32: {
    type: DataType.FLOAT,
    values: exact,
    raw: new Uint8Array(exact.buffer),
    typed: { floatData: [...exact] },
  },
};

for (const [name, { type, values, raw, typed }] of Object.entries(stored))
  for (const [where, data] of Object.entries({ 'raw data': { rawData: raw }, 'a typed list': typed }))
    test(`a ${name} weight in ${where} behind Cast`, async (t) => {
      const weight = create(TensorProtoSchema, {
        name: 'w',
        dims: [BigInt(inputs), BigInt(outputs)],
        dataType: type,
        ...data,
      });
      const behind = (constant: typeof weight): ModelProto =>
        network({
          nodes: [
            node('Cast', ['w'], ['way'], { attributes: { to: BigInt(DataType.FLOAT) } }),
            node('MatMul', ['x', 'way'], ['y']),
          ],
          constants: [constant],
          inputs: [float('x', ['batch', inputs])],
        });
      const rounded = await quantizeLayer(
        { weight: transposed(values, inputs, outputs), outFeatures: outputs, inFeatures: inputs },
        { bits: 3, ...rounding },
      );
      const reference = behind(
        tensor('w', [inputs, outputs], transposed(rounded.dequantize(), outputs, inputs)),
      );
      const given = feed([20, inputs], 1);
      const wanted = (await run(reference, given))['y']!;
      for (const format of formats) {
        const { input, output } = files(t, behind(weight));
        const report = await quantizeModel(input, output, { bits: 3, format, ...rounding });
        t.is(report.layers[0]!.bytes.before, raw.length, 'what it took before');
        const apart = difference(wanted, (await run(output, given, inFloat))['y']!);
        t.true(apart < 1e-5, `${format}: ${apart}`);
        t.false(readBack(output).graph!.initializer.some((kept) => kept.name === 'w'));
      }
    });

test('a weight that is cast to integers on its way is left', async (t) => {
  for (const kind of [DataType.INT8, DataType.INT32, DataType.BOOL]) {
    const model = network({
      nodes: [
        node('Cast', ['w'], ['whole'], { attributes: { to: BigInt(kind) } }),
        node('Cast', ['whole'], ['way'], { attributes: { to: BigInt(DataType.FLOAT) } }),
        node('MatMul', ['x', 'way'], ['y'], { name: 'through' }),
        node('MatMul', ['x', 'v'], ['z'], { name: 'plain' }),
      ],
      constants: [tensor('w', [64, 24], exact), tensor('v', [64, 24], exact)],
      inputs: [float('x', ['batch', 64])],
      outputs: [float('y'), float('z')],
    });
    const { input, output } = files(t, model);
    const report = await quantizeModel(input, output, { method: 'msq' });
    t.deepEqual(
      report.layers.map(({ name }) => name),
      ['plain'],
    );
    t.regex(report.skipped[0]!.reason, /its weight is (INT8|INT32|BOOL), not of floating-point numbers/);
    const given = feed([5, 64], 1);
    t.deepEqual((await run(output, given, inFloat))['y'], (await run(input, given))['y']);
  }
});

test('a network in float16', async (t) => {
  const half = (name: string, dims: number[], seed: number) => {
    const values = random(
      dims.reduce((a, b) => a * b, 1),
      seed,
    );
    const made = tensor(name, dims, new Uint8Array(floatToHalf(values).buffer));
    made.dataType = DataType.FLOAT16;
    return made;
  };
  const model = network({
    nodes: [
      node('Cast', ['x'], ['h'], { attributes: { to: BigInt(DataType.FLOAT16) } }),
      node('MatMul', ['h', 'w'], ['a']),
      node('Relu', ['a'], ['b']),
      node('Gemm', ['b', 'v', 'c'], ['d'], { attributes: { transB: 1n, alpha: 0.5 } }),
      node('Cast', ['d'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ],
    constants: [half('w', [64, 48], 1), half('v', [16, 48], 2), half('c', [16], 3)],
    inputs: [float('x', ['batch', 64])],
  });
  const calibration = [feed([60, 64], 1), feed([60, 64], 2)];
  for (const format of formats) {
    const { input, output } = files(t, model);
    await quantizeModel(input, output, { calibration, format, bits: 8 });
    const graph = readBack(output).graph!;
    t.false(
      graph.initializer.some(({ dataType }) => dataType === DataType.FLOAT),
      format,
    );
    const apart = difference(
      (await run(input, calibration[0]!))['y']!,
      (await run(output, calibration[0]!, inFloat))['y']!,
    );
    t.true(apart < 0.02, `${format}: ${apart}`);
  }
});

/** What uses a square weight, by the values it takes and gives. */
const uses: Record<string, (from: string, to: string) => NodeProto[]> = {
  MatMul: (from, to) => [node('MatMul', [from, 'w'], [to])],
  'Gemm transB': (from, to) => [node('Gemm', [from, 'w'], [to], { attributes: { transB: 1n } })],
  'behind Transpose': (from, to) => [
    node('Transpose', ['w'], [`${to}_turned`], { attributes: { perm: [1n, 0n] } }),
    node('MatMul', [from, `${to}_turned`], [to]),
  ],
  'behind Identity': (from, to) => [
    node('Identity', ['w'], [`${to}_same`]),
    node('MatMul', [from, `${to}_same`], [to]),
  ],
  'on the left': (from, to) => [
    node('Transpose', [from], [`${to}_turned`], { attributes: { perm: [1n, 0n] } }),
    node('MatMul', ['w', `${to}_turned`], [`${to}_left`]),
    node('Transpose', [`${to}_left`], [to], { attributes: { perm: [1n, 0n] } }),
  ],
};
/** Whether a neuron's inputs lie one behind the other in `w`. */
const byNeurons = new Set(['Gemm transB', 'behind Transpose', 'on the left']);

test('tied weights in all combinations: one tensor where the neurons are the same', async (t) => {
  const calibration = [feed([70, 64], 1)];
  for (const first of Object.keys(uses))
    for (const second of Object.keys(uses))
      for (const format of formats) {
        const model = network({
          nodes: [...uses[first]!('x', 'a'), node('Tanh', ['a'], ['b']), ...uses[second]!('b', 'y')],
          constants: [tensor('w', [64, 64], random(64 * 64, 7))],
          inputs: [float('x', ['batch', 64])],
        });
        const { input, output } = files(t, model);
        const data = second === 'on the left' || first === 'on the left' ? { calibration } : {};
        const report = await quantizeModel(input, output, { ...data, ...rounding, format, bits: 8 });
        const tensors = readBack(output).graph!.initializer.filter(
          ({ rawData }) => rawData.length >= 64 * 64,
        );
        const what = `${first}, ${second}, ${format}`;
        t.is(report.layers.length, 2, what);
        t.is(tensors.length, byNeurons.has(first) === byNeurons.has(second) ? 1 : 2, what);
        const apart = difference(
          (await run(input, calibration[0]!))['y']!,
          (await run(output, calibration[0]!, inFloat))['y']!,
        );
        t.true(apart < 0.05, `${what}: ${apart}`);
      }
});

test('operator sets 7 to 25 in each format: the same answers as with the values on the grid', async (t) => {
  const given = feed([3, 4, 8, 8], 1);
  for (const opset of [7, 9, 11, 13, 17, 19, 21, 23, 24, 25]) {
    const model = network({
      nodes: [
        node('Conv', ['x', 'k', 'bias'], ['a'], { attributes: { pads: [1n, 1n, 1n, 1n] } }),
        node('Relu', ['a'], ['b']),
        node('Reshape', ['b', 'shape'], ['c']),
        node('MatMul', ['c', 'w'], ['d']),
        node('Gemm', ['d', 'v', 'u'], ['y'], { attributes: { transB: 1n } }),
      ],
      constants: [
        tensor('k', [16, 4, 3, 3], random(576, 1)),
        tensor('bias', [16], random(16, 2)),
        tensor('shape', [2], BigInt64Array.of(-1n, 128n)),
        tensor('w', [128, 40], random(128 * 40, 3)),
        tensor('v', [10, 40], random(400, 4)),
        tensor('u', [10], random(10, 5)),
      ],
      inputs: [float('x', ['batch', 4, 'height', 'width'])],
      outputs: [valueInfo('y', DataType.FLOAT, ['rows', 10])],
      model: { irVersion: opset < 9 ? 3n : 8n, opsetImport: [{ domain: '', version: BigInt(opset) }] },
    });
    // Before version 4, initializers are inputs too.
    if (opset < 9)
      for (const { name, dims, dataType } of model.graph!.initializer)
        model.graph!.input.push(valueInfo(name, dataType, dims.map(Number)));
    const { input, output } = files(t, model);
    for (const bits of [2, 3, 4, 8]) {
      const answers: Float32Array[] = [];
      for (const format of formats) {
        const { layers } = await quantizeModel(input, output, { bits, format, ...rounding });
        t.is(layers.length, 3);
        answers.push((await run(output, given, inFloat))['y']!);
        const { inputs: kept, outputs: made } = await inspectModel(output);
        t.deepEqual(kept[0]!.dims, ['batch', 4, 'height', 'width']);
        t.deepEqual(made[0]!.dims, ['rows', 10]);
      }
      for (const [i, format] of formats.entries()) {
        const apart = difference(answers[0]!, answers[i]!);
        t.true(apart < 1e-5, `opset ${opset}, ${bits} bits, ${format}: ${apart}`);
      }
    }
  }
});
