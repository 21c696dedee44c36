import { clone } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { storeDequantizeLinear } from '../../../lib/models/write/dequantize';
import type { View } from '../../../lib/models/write/view';
import { node, tensor } from '../../../lib/containers/onnx/make';
import {
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  type NodeProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { anyAlphabet, codesOf } from '../../encodings/onnx/codes';
import { difference, feed, float, inFloat, network, random, run } from '../networks';
import { halfValues, inputMajor, layerOf, neuronMajor, quantizedOf, seenAs, showing, wire } from './weights';

const size = fc.integer({ min: 1, max: 5 });
const inputs = fc.integer({ min: 1, max: 70 });

/** Every form in which operators see their weights. */
const anyView: fc.Arbitrary<View> = fc.oneof(
  fc.tuple(size, inputs).map(([out, ins]) => neuronMajor(out, ins)),
  fc
    .tuple(size, size, size)
    .map(([out, channels, kernel]) => neuronMajor(out, channels * kernel, [out, channels, kernel])),
  fc.tuple(size, inputs).map(([out, ins]) => neuronMajor(out, ins, [out, ins, 1, 1])),
  fc
    .tuple(size, size, inputs)
    .map(([directions, out, ins]) => neuronMajor(directions * out, ins, [directions, out, ins])),
  fc.tuple(size, inputs).map(([out, ins]) => inputMajor(out, ins)),
  fc.tuple(size, inputs).map(([out, ins]) => inputMajor(out, ins, [1, ins, out])),
  fc
    .tuple(size, size, inputs, size)
    .map(([groups, out, ins, kernel]) =>
      inputMajor(groups * out * kernel, ins, [groups * ins, out, kernel], groups),
    ),
);

test('any weight, seen in any form, at any opset, is what dequantize() gives', async (t) => {
  const domains = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      anyAlphabet,
      anyView,
      fc.constantFrom(16, 20, 32, 3, Infinity),
      fc.constantFrom(9, 13, 18, 19, 21, 23, 25),
      fc.boolean(),
      async (alphabet, seen, group, opset, half) => {
        const view = { ...seen, dataType: half ? DataType.FLOAT16 : DataType.FLOAT };
        const codes = codesOf(alphabet, view.outFeatures, view.inFeatures, group);
        const { model, layers } = showing([view], opset);
        const quantized = quantizedOf(codes);
        await wire(model, layers, storeDequantizeLinear(model), quantized);
        for (const { domain, version } of model.opsetImport) domains.add(`${domain} ${version}`);
        const { y0 } = await run(model, {});
        const values = half ? halfValues(codes, alphabet.grid === 'zero-free') : quantized.dequantize();
        const error = difference(seenAs(view, values), y0!);
        if (error > (half ? 2 ** -10 : 1e-6)) throw new Error(`off by ${error}`);
      },
    ),
    { numRuns: 400 },
  );
  t.true(domains.has('com.microsoft 1'));
});

test('one weight seen in several forms: one set of tensors', async (t) => {
  const [out, ins] = [6, 40];
  const views = [
    neuronMajor(out, ins),
    inputMajor(out, ins),
    { ...neuronMajor(out, ins), dataType: DataType.FLOAT16 },
    neuronMajor(out, ins, [2, 3, 5, 8]),
    inputMajor(out, ins, [2 * ins, 3], 2),
  ];
  for (const opset of [9, 21])
    for (const [first, group] of views.flatMap((_, i) => [16, 25, Infinity].map((g) => [i, g] as const))) {
      const ordered = [views[first]!, ...views.filter((_, i) => i !== first)];
      const { model, layers } = showing(ordered, opset);
      const quantized = quantizedOf(codesOf({ grid: 'integer', levels: 15, seed: 5 }, out, ins, group));
      // Layers may be wired in another order than that of the nodes.
      await wire(model, [layers[0]!, ...layers.slice(1).reverse()], storeDequantizeLinear(model), quantized);
      t.is(model.graph!.initializer.filter(({ name }) => /^w_(Q4|scales)$/.test(name)).length, 2);
      t.is(model.graph!.node.filter(({ opType }) => opType === 'DequantizeLinear').length, 1);
      const shown = await run(model, {});
      for (const [i, view] of ordered.entries()) {
        const error = difference(seenAs(view, quantized.dequantize()), shown[`y${i}`]!);
        t.true(error < 1e-3, `${i} of ${first}: ${error}`);
      }
    }
});

const halfType = DataType.FLOAT16;
/** Operators with their weights, as in networks; each with an input x. */
const operators: Record<string, { used: NodeProto; x: number[]; weights: [index: number, view: View][] }> = {
  MatMul: { used: node('MatMul', ['x', 'w'], ['y']), x: [2, 5, 64], weights: [[1, inputMajor(24, 64)]] },
  'MatMul, weight on the left': {
    used: node('MatMul', ['w', 'x'], ['y']),
    x: [2, 64, 5],
    weights: [[0, neuronMajor(24, 64)]],
  },
  Gemm: {
    used: node('Gemm', ['x', 'w', 'c'], ['y'], { attributes: { transB: 1n } }),
    x: [5, 64],
    weights: [[1, neuronMajor(24, 64)]],
  },
  'Conv, grouped': {
    used: node('Conv', ['x', 'w'], ['y'], { attributes: { group: 2n } }),
    x: [1, 12, 7, 7],
    weights: [[1, neuronMajor(8, 54, [8, 6, 3, 3])]],
  },
  'Conv, depthwise': {
    used: node('Conv', ['x', 'w'], ['y'], { attributes: { group: 8n } }),
    x: [1, 8, 7, 7],
    weights: [[1, neuronMajor(8, 9, [8, 1, 3, 3])]],
  },
  'Conv, 1×1': {
    used: node('Conv', ['x', 'w'], ['y']),
    x: [1, 32, 7, 7],
    weights: [[1, neuronMajor(8, 32, [8, 32, 1, 1])]],
  },
  'ConvTranspose, grouped': {
    used: node('ConvTranspose', ['x', 'w'], ['y'], { attributes: { group: 2n, strides: [2n, 2n] } }),
    x: [1, 40, 5, 5],
    weights: [[1, inputMajor(2 * 3 * 4, 20, [40, 3, 2, 2], 2)]],
  },
  'LSTM, both directions': {
    used: node('LSTM', ['x', 'w', 'r'], ['y'], {
      attributes: { hidden_size: 6n, direction: 'bidirectional' },
    }),
    x: [4, 2, 40],
    weights: [
      [1, neuronMajor(48, 40, [2, 24, 40])],
      [2, neuronMajor(48, 6, [2, 24, 6])],
    ],
  },
};

for (const [name, { used, x, weights }] of Object.entries(operators))
  test(`${name}: as with float weights, at every opset`, async (t) => {
    // onnxruntime puts MatMulNBits in place of a product, and would quantize its activations.
    for (const opset of [9, 11, 13, 17, 21, 25])
      for (const [levels, group] of [
        [3, Infinity],
        [15, 32],
        [255, 20],
      ] as const) {
        const build = () =>
          network({
            nodes: [clone(NodeProtoSchema, used)],
            constants: used.opType === 'Gemm' ? [tensor('c', [24], random(24, 8))] : [],
            inputs: [float('x', x)],
            model: { irVersion: 8n, opsetImport: [{ domain: '', version: BigInt(opset) }] },
          });
        const [model, reference] = [build(), build()];
        for (const [index, view] of weights) {
          const { outFeatures, inFeatures, dims } = view;
          const quantized = quantizedOf(
            codesOf({ grid: 'integer', levels, seed: 9 }, outFeatures, inFeatures, group),
          );
          const weight = used.input[index]!;
          await wire(
            model,
            [layerOf(model.graph!.node.at(-1)!, index, view, weight)],
            storeDequantizeLinear(model),
            quantized,
          );
          reference.graph!.initializer.push(tensor(weight, dims, seenAs(view, quantized.dequantize())));
        }
        const feeds = feed(x, 3);
        const error = difference(
          (await run(reference, feeds))['y']!,
          (await run(model, feeds, inFloat))['y']!,
        );
        t.true(error < 2e-6, `opset ${opset}, groups of ${group}: ${error}`);
        const integers = model.graph!.initializer.map(({ dataType }) => dataType);
        // INT2 and INT4.
        t.is(integers.includes(26), levels === 3 && opset === 25);
        t.is(integers.includes(22), levels === 15 || (levels === 3 && opset < 25));
        t.is(model.irVersion, opset < 21 || levels === 255 ? 8n : levels === 3 && opset === 25 ? 13n : 10n);
      }
  });

test('the plainest form that there is', async (t) => {
  const form = async (opset: number, view: View, group: number, levels = 15) => {
    const { model, layers } = showing([view], opset);
    const codes = codesOf({ grid: 'integer', levels, seed: 9 }, view.outFeatures, view.inFeatures, group);
    await wire(model, layers, storeDequantizeLinear(model), quantizedOf(codes));
    return model
      .graph!.node.slice(0, -2)
      .map(({ opType, domain }) => (domain ? `${domain}.${opType}` : opType))
      .join(' ');
  };
  const conv = neuronMajor(8, 54, [8, 6, 3, 3]);
  t.is(await form(9, conv, Infinity), 'com.microsoft.DequantizeLinear');
  t.is(await form(13, conv, Infinity, 255), 'DequantizeLinear');
  t.is(await form(18, { ...conv, dataType: halfType }, Infinity, 255), 'com.microsoft.DequantizeLinear');
  t.is(await form(19, { ...conv, dataType: halfType }, Infinity, 255), 'DequantizeLinear');
  t.is(await form(21, conv, Infinity), 'DequantizeLinear');
  t.is(await form(21, conv, 27), 'DequantizeLinear Reshape');
  t.is(await form(17, conv, 27), 'com.microsoft.DequantizeLinear Reshape Reshape');
  t.is(await form(17, conv, 16), 'com.microsoft.DequantizeLinear Reshape Slice Reshape');
  t.is(await form(21, neuronMajor(8, 32, [8, 32, 1, 1]), 16), 'DequantizeLinear');
  t.is(await form(21, inputMajor(8, 32), 16), 'DequantizeLinear');
  t.is(await form(17, inputMajor(8, 32), Infinity), 'com.microsoft.DequantizeLinear');
  t.is(await form(17, neuronMajor(16, 32, [1, 16, 32]), Infinity), 'com.microsoft.DequantizeLinear');
  t.is(await form(17, neuronMajor(16, 32, [2, 8, 32]), Infinity), 'com.microsoft.DequantizeLinear Reshape');
  t.is(await form(21, neuronMajor(16, 32, [2, 8, 32]), 16), 'DequantizeLinear');
});

test('refused with the name of the layer: other types, and 256 zero-free levels', async (t) => {
  const attempt = (dataType: DataType, levels: number, scale: number) => async () => {
    const { model, layers } = showing([{ ...neuronMajor(4, 20), dataType }], 13);
    const codes = codesOf({ grid: 'zero-free', levels, seed: 9 }, 4, 20, 5);
    const quantized = quantizedOf({ ...codes, scales: codes.scales.fill(scale) });
    await wire(model, layers, storeDequantizeLinear(model), quantized);
  };
  const code = 'ERR_VERTEXQ_FORMAT';
  await t.throwsAsync(attempt(DataType.DOUBLE, 4, 1), { code, message: /^layer "seen0": .*DOUBLE/ });
  await t.throwsAsync(attempt(DataType.FLOAT, 256, 1), {
    code,
    message: /^layer "seen0": .*zero-free.*asymmetric/,
  });
  await t.throwsAsync(attempt(halfType, 4, 2e5), { code, message: /^layer "seen0": .*float16.*100000/ });
  await t.throwsAsync(attempt(halfType, 4, 2 ** -24), { code, message: /^layer "seen0": .*float16/ });
  await t.notThrowsAsync(attempt(halfType, 4, 2 ** -23));
});
