import test from 'ava';
import fc from 'fast-check';
import { storeDequantizeLinear } from '../../../lib/models/write/dequantize';
import type { View } from '../../../lib/models/write/view';
import { TensorProto_DataType as DataType } from '../../../lib/models/onnx/onnx_pb';
import { anyAlphabet, codesOf } from '../../formats/codes';
import { difference, run } from '../networks';
import { halfValues, inputMajor, neuronMajor, quantizedOf, seenAs, showing, wire } from './weights';

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
        wire(model, layers, storeDequantizeLinear(model), quantized);
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
      wire(model, [layers[0]!, ...layers.slice(1).reverse()], storeDequantizeLinear(model), quantized);
      t.is(model.graph!.initializer.filter(({ name }) => /^w_(Q4|scales)$/.test(name)).length, 2);
      t.is(model.graph!.node.filter(({ opType }) => opType === 'DequantizeLinear').length, 1);
      const shown = await run(model, {});
      for (const [i, view] of ordered.entries()) {
        const error = difference(seenAs(view, quantized.dequantize()), shown[`y${i}`]!);
        t.true(error < 1e-3, `${i} of ${first}: ${error}`);
      }
    }
});
