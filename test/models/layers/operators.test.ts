import test from 'ava';
import { dirname, join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../../lib/index';
import type { ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import { difference, files, floatsOf, readBack, run } from '../networks';
import { forms } from './forms';

// Every operator whose weights are quantized, in every form that a network may give it.

/** Sums of squares of what a network gives on all feeds, with the weight `values` and no bias. */
async function norm(
  model: ModelProto,
  values: Float32Array,
  feeds: (typeof forms)[string]['feeds'],
): Promise<number> {
  const changed = structuredClone(model);
  for (const constant of changed.graph!.initializer)
    if (constant.name === 'w') constant.rawData = new Uint8Array(values.buffer);
    else if (constant.name === 'b') constant.rawData = new Uint8Array(constant.rawData.length);
  let sum = 0;
  for (const given of feeds) for (const value of (await run(changed, given))['y']!) sum += value ** 2;
  return Math.sqrt(sum);
}

const weightIn = (model: ModelProto) => floatsOf(model.graph!.initializer.find(({ name }) => name === 'w')!);

for (const [name, { model, feeds, exact, operators }] of Object.entries(forms)) {
  const common: ModelOptions = {
    calibration: feeds,
    holdout: 0,
    effort: 0,
    ...(operators ? { operators } : {}),
  };

  test(`${name}: in each format the network computes with the dequantized weights`, async (t) => {
    const isHalf = name.startsWith('float16');
    for (const [bits, opset] of [
      [2, 25],
      [3, 13],
      [4, 21],
      [8, 17],
    ] as const) {
      const { input, output } = files(t, model(opset));
      const reference = join(dirname(output), 'float.onnx');
      await quantizeModel(input, reference, { ...common, bits, format: 'float' });
      const wanted: Float32Array[] = [];
      for (const given of feeds) wanted.push((await run(reference, given))['y']!);
      for (const format of ['matmulnbits', 'qdq'] as const) {
        const { layers } = await quantizeModel(input, output, { ...common, bits, format });
        t.true(layers.length >= 1);
        for (const [i, given] of feeds.entries()) {
          const apart = difference(wanted[i]!, (await run(output, given))['y']!);
          t.true(apart < (isHalf ? 5e-3 : 1e-5), `${format}, ${bits} bits, opset ${opset}: ${apart}`);
        }
      }
    }
  });

  if (!exact) continue;
  test(`${name}: the reported error is that of the operator's output`, async (t) => {
    const { input, output } = files(t, model(17));
    for (const method of ['vertex', 'msq'] as const) {
      const options = { ...common, bits: 3, method, format: 'float' } as const;
      if (method === 'msq') delete (options as ModelOptions).effort;
      const { layers } = await quantizeModel(input, output, options);
      const before = weightIn(readBack(input));
      const after = weightIn(readBack(output));
      const errors = before.map((value, i) => value - after[i]!);
      const real =
        (await norm(readBack(input), errors, feeds)) / (await norm(readBack(input), before, feeds));
      const told = layers[0]!.error.calibration!;
      // Where a fit all but interpolates, the float32 weights' last bits tell.
      t.true(Math.abs(told - real) < 1e-6 * real + 1e-7, `${method}: ${told}, really ${real}`);
    }
  });
}
