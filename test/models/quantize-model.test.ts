import test from 'ava';
import { quantizeLayer, quantizeModel } from '../../lib/index';
import { transposed } from '../numbers';
import type { ModelOptions } from '../../lib/models/types';
import { difference, files, inFloat, readBack, run } from './networks';
import { cases, plainWeights, type Case, type Weights } from './weight-cases';

const rounding = { method: 'msq', scale: 'max' } as const;

/** The weights that rounding each to the nearest (`msq`) gives. */
async function roundedWeights({ build }: Case, bits: number): Promise<Weights> {
  const asked: [string, [number, number], boolean][] = [];
  const note: Weights = (name, dims, neuronMajor) => {
    asked.push([name, dims, neuronMajor]);
    return plainWeights(name, dims, neuronMajor);
  };
  build(note, true);
  const rounded = new Map<string, Float32Array>();
  for (const [name, dims, neuronMajor] of asked) {
    const values = plainWeights(name, dims, neuronMajor);
    const [outFeatures, inFeatures] = neuronMajor ? dims : ([dims[1], dims[0]] as const);
    const weight = neuronMajor ? values : transposed(values, inFeatures, outFeatures);
    const layer = await quantizeLayer(
      { weight, outFeatures, inFeatures },
      { bits, groupSize: 32, ...rounding },
    );
    const result = layer.dequantize();
    rounded.set(`${name} ${neuronMajor}`, neuronMajor ? result : transposed(result, outFeatures, inFeatures));
  }
  return (name, _, neuronMajor) => rounded.get(`${name} ${neuronMajor}`)!;
}

for (const [name, made] of Object.entries(cases)) {
  const options = (bits: number, format: NonNullable<ModelOptions['format']>): ModelOptions => ({
    calibration: made.feeds,
    holdout: 0,
    bits,
    format,
    threads: 1,
  });

  test(`${name}: both formats give the same answers, and both load in onnxruntime`, async (t) => {
    const model = made.build(plainWeights);
    for (const bits of [1, 2, 3, 4, 8]) {
      const { input, output } = files(t, model);
      const report = await quantizeModel(input, output, options(bits, 'matmulnbits'));
      const floats = files(t, model);
      const other = await quantizeModel(floats.input, floats.output, options(bits, 'float'));
      t.deepEqual(
        report.layers.map(({ error }) => error),
        other.layers.map(({ error }) => error),
      );
      t.false(readBack(output).graph!.node.some(({ opType }) => opType === 'Gemm' || opType === 'MatMul'));
      const exact = await run(model, made.feeds[0]!);
      const [packed, float] = [await run(output, made.feeds[0]!), await run(floats.output, made.feeds[0]!)];
      const apart = difference(float['y']!, packed['y']!);
      t.true(apart < 1e-5, `${bits} bits: ${apart}`);
      const loss = difference(exact['y']!, float['y']!);
      t.true(loss > 0 && loss < [0, 3, 1.2, 0.5, 0.15, 0, 0, 0, 0.02][bits]!, `${bits} bits: ${loss}`);
    }
  });

  test(`${name}: method msq gives what the network gives with the rounded weights in it`, async (t) => {
    const { input, output } = files(t, made.build(plainWeights));
    const reference = made.build(await roundedWeights(made, 3), true);
    for (const format of ['float', 'qdq', 'matmulnbits'] as const) {
      await quantizeModel(input, output, { ...options(3, format), ...rounding });
      const wanted = await run(reference, made.feeds[0]!);
      const apart = difference(wanted['y']!, (await run(output, made.feeds[0]!, inFloat))['y']!);
      t.true(apart < (format === 'float' ? 1e-6 : 1e-5), `${format}: ${apart}`);
    }
  });

  test(`${name}: no float weight is left that nothing uses, and no node whose output nothing uses`, async (t) => {
    for (const format of ['float', 'qdq', 'matmulnbits'] as const) {
      const { input, output } = files(t, made.build(plainWeights));
      await quantizeModel(input, output, options(4, format));
      const graph = readBack(output).graph!;
      const used = new Set([
        ...graph.node.flatMap((node) => node.input),
        ...graph.output.map((value) => value.name),
      ]);
      t.deepEqual(
        graph.initializer.filter((weight) => !used.has(weight.name)).map((weight) => weight.name),
        [],
        format,
      );
      const dead = graph.node.filter((node) => !node.output.some((value) => used.has(value)));
      t.deepEqual(
        dead.map((node) => node.name),
        [],
        format,
      );
      const given = graph.input.map((value) => value.name);
      const constants = new Set(graph.initializer.map((weight) => weight.name));
      t.true(given.every((value) => value === 'x' || constants.has(value)));
    }
  });
}
