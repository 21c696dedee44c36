import test from 'ava';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { evaluateModel, type ModelOptions, planModel, quantizeModel } from '../../lib/index';
import { measureModel } from '../../lib/models/measure-sensitivity';
import { node, tensor } from '../../lib/containers/onnx/make';
import { feed, files, float, network, random } from './networks';

// Widths layer by layer, so that a network is of a size.

const width = 64;
/** Layers of weights that differ much in what they do; the third is used twice. */
const deep = (output: string) =>
  network({
    nodes: [
      node('MatMul', ['x', 'w0'], ['a0'], { name: 'layer0' }),
      node('Tanh', ['a0'], ['b0']),
      node('MatMul', ['b0', 'w1'], ['a1'], { name: 'layer1' }),
      node('Mul', ['a1', 'tenth'], ['c1']),
      node('Add', ['b0', 'c1'], ['b1']),
      node('MatMul', ['b1', 'w2'], ['a2'], { name: 'layer2' }),
      node('Tanh', ['a2'], ['b2']),
      node('MatMul', ['b2', 'w2'], ['a3'], { name: 'layer3' }),
      node('Tanh', ['a3'], ['b3']),
      node('MatMul', ['b3', 'w4'], [output], { name: 'layer4' }),
    ],
    constants: [
      ...[0, 1, 2].map((i) =>
        tensor(
          `w${i}`,
          [width, width],
          random(width * width, 10 + i).map((value) => value / 4),
        ),
      ),
      tensor('w4', [width, 16], random(width * 16, 20)),
      tensor('tenth', [], Float32Array.of(0.1)),
    ],
    inputs: [float('x', ['batch', width])],
    outputs: [float(output)],
  });
const options: ModelOptions = { calibration: [feed([600, width], 1)], holdout: [feed([100, width], 2)], method: 'gptq', threads: 2 }; // prettier-ignore
const data = [feed([400, width], 3)];

/** Squared error of a row of outputs. */
async function squaredError(input: string, output: string): Promise<number> {
  const values: Float32Array[] = [];
  const score = (outputs: readonly Record<string, { data: unknown }>[]) => {
    values.push(Object.values(outputs[0]!)[0]!.data as Float32Array);
    return 0;
  };
  await evaluateModel(input, output, { data, runs: 0, score });
  const [float, own] = values as [Float32Array, Float32Array];
  return own.reduce((sum, value, i) => sum + (value - float[i]!) ** 2, 0) / 400;
}

test('what widths do to outputs that are no logits: about the squared error that they bring, each alone', async (t) => {
  const { input, output } = files(t, deep('y'));
  const { layers, unit, rows } = await measureModel(input, options);
  t.is(unit, 'squared-error');
  t.is(rows, 700);
  t.deepEqual(layers.map(({ name, group }) => [name, group]), [['layer0', null], ['layer1', null], ['layer2', 'layer2'], ['layer3', 'layer2'], ['layer4', null]]); // prettier-ignore
  for (const [name, bits] of [
    ['layer0', 4],
    ['layer1', 2],
    ['layer4', 2],
  ] as const) {
    await quantizeModel(input, output, { ...options, layers: name, bits, groupSize: 32, format: 'float', errorCorrection: false }); // prettier-ignore
    const own = layers.find((layer) => layer.name === name)!;
    const { change } = own.widths.find((other) => other.bits === bits && other.groupSize === 32)!;
    const ratio = change / (await squaredError(input, output));
    t.true(ratio > 0.55 && ratio < 1.8, `${name}: ${ratio}`);
  }
});

for (const format of ['matmulnbits', 'qdq'] as const)
  test(`${format}: a size is met, with less error than one width of that size has; its overrides give the same bytes`, async (t) => {
    const { input, output } = files(t, deep('logits'));
    const uniform = await quantizeModel(input, output, { ...options, format, bits: 4, groupSize: 32 });
    const before = await squaredError(input, output);
    const targetSize = uniform.bytes.after;
    const report = await quantizeModel(input, output, { ...options, format, targetSize });
    t.true(report.bytes.after <= targetSize, `${report.bytes.after} of ${targetSize}`);
    t.true(report.bytes.after > 0.988 * targetSize || report.warnings.some((text) => /below the target/.test(text))); // prettier-ignore
    t.is(report.bytes.after, statSync(output).size);
    t.is(report.budget!.sensitivity.unit, 'kl');
    const after = await squaredError(input, output);
    // qdq has 4 and 8 bits alone.
    t.true(after < (format === 'qdq' ? 1 : 0.9) * before, `${after} and ${before}`);
    const bytes = readFileSync(output);
    const again = await quantizeModel(input, output, {
      ...options,
      format,
      overrides: report.budget!.overrides,
    });
    t.is(again.budget, undefined);
    t.true(readFileSync(output).equals(bytes));
    const of = new Map(report.layers.map(({ name, bits, groupSize }) => [name, `${bits} ${groupSize}`]));
    t.is(of.get('layer2'), of.get('layer3'));
  });

test('mean bits, from a sensitivity in a file; layers with a width of their own keep it', async (t) => {
  const { input, output } = files(t, deep('logits'));
  const overrides = [{ layers: 'layer4', bits: 8 as const }];
  const sensitivity = await measureModel(input, { ...options, overrides, targetBits: 4 });
  t.regex(sensitivity.unmeasured[0]!.reason, /"overrides\[0\]" gives it its width/);
  writeFileSync(`${output}.json`, JSON.stringify(sensitivity));
  const plan = await planModel(input, output, { targetBits: 4.5, sensitivity: `${output}.json`, overrides });
  t.true(plan.bitsPerWeight! <= 4.5 && plan.bitsPerWeight! > 4.3);
  t.is(plan.tensors.find(({ name }) => name === 'layer4')!.bits, 8);
  t.true(plan.budget!.gap >= 0);
  await t.throwsAsync(planModel(input, output, { targetSize: 2000, sensitivity, overrides }), {
    code: 'ERR_VERTEXQ_BUDGET',
    message: /1 keep theirs, "layer4" for one/,
  });
  const other = files(t, deep('y'));
  await t.throwsAsync(planModel(other.input, output, { targetBits: 4, sensitivity }), { message: /is of another network/ }); // prettier-ignore
  await t.throwsAsync(planModel(input, output, { targetBits: 4, sensitivity, format: 'qdq' }), { message: /for the format "matmulnbits"/ }); // prettier-ignore
  await t.throwsAsync(quantizeModel(input, output, { targetBits: 4, format: 'float', calibration: data }), { message: /as many bytes in every width/ }); // prettier-ignore
  await t.throwsAsync(quantizeModel(input, output, { targetSize: 10_000 }), { message: /needs to know what widths do/ }); // prettier-ignore
  t.false(existsSync(output));
});

test('issue 21 item 3: --target-error: the smallest output that keeps to a change, and what it does to the outputs', async (t) => {
  const { input, output } = files(t, deep('y'));
  const sensitivity = await measureModel(input, options);
  const made = async (targetError: number) => {
    const { bytes, budget } = await quantizeModel(input, output, { ...options, targetError, sensitivity });
    t.true(budget!.change <= targetError && budget!.gap >= 0);
    t.is(budget!.target.change, targetError);
    t.is(bytes.after, statSync(output).size);
    t.true(Math.abs(budget!.bytes - bytes.after) <= 64);
    return { bytes: bytes.after, change: budget!.change, error: await squaredError(input, output) };
  };
  const coarse = await made(1);
  const fine = await made(0.05);
  t.true(fine.bytes > coarse.bytes && fine.change < coarse.change);
  // Correction does better than each alone, added up.
  t.true(coarse.error < 1.5 && fine.error < 0.075, `${coarse.error}, ${fine.error}`);
  await t.throwsAsync(quantizeModel(input, output, { ...options, targetError: 1e-9, sensitivity }), {
    code: 'ERR_VERTEXQ_BUDGET',
    message: /cannot keep to a change of 1e-9/,
  });
  await t.throwsAsync(planModel(input, output, { ...options, targetError: 1, targetBits: 4 }), {
    instanceOf: RangeError,
    message: /"targetBits" and "targetError" exclude each other/,
  });
});
