import { clone } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { node, valueInfo } from '../../../lib/containers/onnx/make';
import {
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { fitsMatMulNBits, storeMatMulNBits } from '../../../lib/models/write/matmulnbits';
import { floatTensor } from '../../../lib/containers/onnx/float-tensor';
import type { View } from '../../../lib/models/write/view';
import type { Feeds } from '../../../lib/models/types';
import type { QuantizedLayer } from '../../../lib/types';
import { anyAlphabet, codesOf } from '../../encodings/onnx/codes';
import { difference, feed, float, network, random, run } from '../networks';
import { halfValues, inputMajor, layerOf, neuronMajor, quantizedOf, seenAs, wire } from './weights';

const half = (view: View): View => ({ ...view, dataType: DataType.FLOAT16 });

interface Product {
  product: NodeProto;
  weightIndex: 0 | 1;
  view: View;
  x: number[];
}

/** x → the product with w, in float16 where the weight is that → y. */
function around(
  { product, view, x }: Omit<Product, 'weightIndex'>,
  weights: Float32Array | null,
): ModelProto {
  const cast = (from: string, to: string, type: DataType) =>
    node('Cast', [from], [to], { attributes: { to: BigInt(type) } });
  const bias = product.input[2]
    ? [floatTensor('c', [view.outFeatures], view.dataType, random(view.outFeatures, 8))]
    : [];
  return network({
    nodes: [cast('x', 'a', view.dataType), clone(NodeProtoSchema, product), cast('b', 'y', DataType.FLOAT)],
    constants: [
      ...bias,
      ...(weights ? [floatTensor('w', view.dims, view.dataType, seenAs(view, weights))] : []),
    ],
    inputs: [float('x', x)],
    model: {
      irVersion: 8n,
      opsetImport: [
        { domain: '', version: 17n },
        { domain: 'com.microsoft', version: 1n },
      ],
    },
  });
}

async function requireSame(given: Product, quantized: QuantizedLayer, weights: Float32Array, most: number) {
  const { view, weightIndex, x } = given;
  const model = around(given, null);
  const layer = layerOf(model.graph!.node[1]!, weightIndex, view);
  await wire(model, [layer], storeMatMulNBits, quantized, x.length);
  const feeds = feed(x, 4);
  const [got, wanted] = [await run(model, feeds), await run(around(given, weights), feeds)];
  const error = difference(wanted['y']!, got['y']!);
  if (error > most) throw new Error(`${given.product.opType}: off by ${error}`);
}

const [outs, ins] = [24, 40];
const products: Record<string, Product> = {
  MatMul: {
    product: node('MatMul', ['a', 'w'], ['b']),
    weightIndex: 1,
    view: inputMajor(outs, ins),
    x: [3, 5, ins],
  },
  'MatMul, weight on the left': {
    product: node('MatMul', ['w', 'a'], ['b']),
    weightIndex: 0,
    view: neuronMajor(outs, ins),
    x: [3, ins, 5],
  },
  Gemm: {
    product: node('Gemm', ['a', 'w', 'c'], ['b'], {
      attributes: { transA: 1n, transB: 1n, alpha: 0.5, beta: -2 },
    }),
    weightIndex: 1,
    view: neuronMajor(outs, ins),
    x: [ins, 6],
  },
  FusedMatMul: {
    product: node('FusedMatMul', ['a', 'w'], ['b'], {
      domain: 'com.microsoft',
      attributes: { transA: 1n, transB: 1n, alpha: 0.5 },
    }),
    weightIndex: 1,
    view: neuronMajor(outs, ins),
    x: [2, ins, 6],
  },
};

for (const [name, given] of Object.entries(products))
  test(`${name}, float32 and float16`, async (t) => {
    const alphabet = { grid: 'asymmetric', levels: 16, seed: 11 } as const;
    const codes = codesOf(alphabet, outs, ins, 32);
    const quantized = quantizedOf(codes);
    await requireSame(given, quantized, quantized.dequantize(), 1e-6);
    await requireSame({ ...given, view: half(given.view) }, quantized, halfValues(codes, false), 3e-3);
    t.pass();
  });

test('what it does not fit, and what is refused with the layer’s name', async (t) => {
  const batch = layerOf(node('MatMul', ['x', 'w'], ['y']), 1, inputMajor(outs, ins, [1, ins, outs]));
  const conv = layerOf(node('Conv', ['x', 'w'], ['y']), 1, neuronMajor(outs, ins, [outs, ins, 1]));
  const other = layerOf(
    node('MatMul', ['x', 'w'], ['y'], { domain: 'ai.example' }),
    1,
    inputMajor(outs, ins),
  );
  const swapped = node('FusedMatMul', ['x', 'w'], ['y'], {
    domain: 'com.microsoft',
    attributes: { transBatchB: 1n },
  });
  for (const layer of [batch, conv, other, layerOf(swapped, 1, inputMajor(outs, ins))])
    t.false(fitsMatMulNBits(layer));
  const store = (view: View, group: number, scale?: number) => async () => {
    const { product, weightIndex, x } = products['MatMul']!;
    const model = around({ product, view, x }, null);
    const layer = layerOf(model.graph!.node[1]!, weightIndex, view);
    const codes = codesOf({ grid: 'integer', levels: 15, seed: 3 }, outs, ins, group);
    if (scale !== undefined) codes.scales.fill(scale, 7, 8);
    await wire(model, [layer], storeMatMulNBits, quantizedOf(codes));
  };
  const code = 'ERR_VERTEXQ_FORMAT';
  const plain = inputMajor(outs, ins);
  await t.throwsAsync(store(plain, 20), { code, message: /^layer "b": Groups of 20 .*16/ });
  await t.throwsAsync(store(half(plain), 16, 7e4), { code, message: /^layer "b": .*float16.*70000/ });
  await t.throwsAsync(store(half(plain), 16, 2 ** -26), { code, message: /^layer "b": .*float16/ });
  await t.throwsAsync(store({ ...plain, dataType: DataType.DOUBLE }, 16), {
    code,
    message: /^layer "b": .*DOUBLE/,
  });
  await t.notThrowsAsync(store(half(plain), 16, 2 ** -24));
  await t.notThrowsAsync(store(plain, 16, 2 ** -26));
  const { product, view, x } = products['MatMul, weight on the left']!;
  const model = around({ product, view, x }, null);
  const layer = layerOf(model.graph!.node[1]!, 0, view);
  const quantized = quantizedOf(codesOf({ grid: 'integer', levels: 15, seed: 3 }, outs, ins, 16));
  await t.throwsAsync(wire(model, [layer], storeMatMulNBits, quantized), {
    code,
    message: /"b".*rank of "a"/,
  });
});

const ids = (dims: number[], entries: number, type: 'int32' | 'int64'): Feeds => {
  const numbers = Array.from(
    { length: dims.reduce((a, b) => a * b, 1) },
    (_, i) => ((i * i + 3) % entries) - (i % 2) * entries,
  );
  return {
    x: {
      data: type === 'int32' ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt),
      dims,
      type,
    },
  };
};

test('tables of any alphabet, looked up with indices of both types, also from the end', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      anyAlphabet,
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 300 }),
      fc.constantFrom(16, 32, 48, 128, Infinity),
      fc.constantFrom<number[]>([], [5], [2, 3]),
      fc.boolean(),
      fc.constantFrom('int32' as const, 'int64' as const),
      fc.constantFrom(9, 13, 21),
      async (alphabet, entries, features, group, dims, isHalf, type, opset) => {
        const view = isHalf ? half(neuronMajor(entries, features)) : neuronMajor(entries, features);
        const codes = codesOf(alphabet, entries, features, group);
        const quantized = quantizedOf(codes);
        const model = network({
          nodes: [
            node('Gather', ['w', 'x'], ['rows']),
            node('Cast', ['rows'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } }),
          ],
          constants: [],
          inputs: [valueInfo('x', type === 'int32' ? DataType.INT32 : DataType.INT64, dims)],
          model: { irVersion: 8n, opsetImport: [{ domain: '', version: BigInt(opset) }] },
        });
        const layer = layerOf(model.graph!.node[0]!, 0, view);
        await wire(model, [layer], storeMatMulNBits, quantized);
        const feeds = ids(dims, entries, type);
        const { y } = await run(model, feeds);
        const values = isHalf ? halfValues(codes, alphabet.grid === 'zero-free') : quantized.dequantize();
        const wanted = Array.from(feeds['x']!.data as Int32Array, (id) => {
          const entry = (Number(id) + entries) % entries;
          return [...values.subarray(entry * features, (entry + 1) * features)];
        });
        const error = difference(Float32Array.from(wanted.flat()), y!);
        if (error > (isHalf ? 2 ** -10 : 1e-6)) throw new Error(`off by ${error}`);
      },
    ),
    { numRuns: 200 },
  );
  t.pass();
});

test('a table tied with products: one set of tensors, whichever comes first', async (t) => {
  const [entries, features] = [50, 40];
  const codes = codesOf({ grid: 'asymmetric', levels: 16, seed: 7 }, entries, features, 16);
  const quantized = quantizedOf(codes);
  const build = () =>
    network({
      nodes: [
        node('Gather', ['w', 'x'], ['a']),
        node('MatMul', ['a', 'flipped'], ['b']),
        node('Gather', ['w', 'x'], ['c']),
        node('Gemm', ['c', 'w'], ['d'], { attributes: { transB: 1n } }),
        node('Add', ['b', 'd'], ['y']),
      ],
      constants: [],
      inputs: [valueInfo('x', DataType.INT64, [7])],
    });
  const reference = build();
  const weights = quantized.dequantize();
  reference.graph!.initializer.push(
    floatTensor('w', [entries, features], DataType.FLOAT, weights),
    floatTensor(
      'flipped',
      [features, entries],
      DataType.FLOAT,
      seenAs(inputMajor(entries, features), weights),
    ),
  );
  const feeds = ids([7], entries, 'int64');
  const wanted = await run(reference, feeds);
  for (const order of [
    [0, 1, 2, 3],
    [3, 2, 1, 0],
    [0, 2],
    [2, 1, 0],
  ]) {
    const model = build();
    const { node: nodes, initializer } = model.graph!;
    const layers = [0, 1, 2, 3].map((i) =>
      layerOf(nodes[i]!, i % 2, i === 1 ? inputMajor(entries, features) : neuronMajor(entries, features)),
    );
    await wire(
      model,
      order.map((i) => layers[i]!),
      storeMatMulNBits,
      quantized,
    );
    const operators = model.graph!.node.map(({ opType }) => opType);
    t.deepEqual(
      initializer.filter(({ name }) => name.startsWith('w_Q4')).map(({ dims }) => dims.length),
      order.some((i) => i % 2 === 1) ? [3, 1] : [2],
    );
    t.is(operators.filter((type) => type === 'Reshape').length, order.some((i) => i % 2 === 1) ? 1 : 0);
    t.is(initializer.filter(({ dataType }) => dataType === DataType.FLOAT).length, 1);
    // What was not wired still needs the float weight.
    if (order.length < 4) initializer.push(...reference.graph!.initializer);
    t.true(difference(wanted['y']!, (await run(model, feeds))['y']!) < 1e-6, order.join());
  }
});
