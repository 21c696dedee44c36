import test, { type ExecutionContext } from 'ava';
import { readFileSync } from 'node:fs';
import { type ModelOptions, quantizeModel } from '../../../lib/index';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { files, float, network, random } from '../networks';
import { sameBytes } from '../../files/same-bytes';

// The option `weighting` of networks: which layers are weighted, and what does not depend on anything else.

const [width, depth, samples] = [16, 3, 160];

/** Products with tanh between them, and a layer that no gradient reaches. */
const model = network({
  nodes: [
    node('MatMul', ['x', 'odd'], ['h'], { name: 'odd' }),
    node('Reshape', ['h', 'square'], ['squares']),
    node('Det', ['squares'], ['det']),
    node('Unsqueeze', ['det', 'axis'], ['column']),
    node('Add', ['x', 'column'], ['v0']),
    ...Array.from({ length: depth }, (_, i) => [
      node('MatMul', [`v${i}`, `w${i}`], [`p${i}`], { name: `layer${i}` }),
      node('Tanh', [`p${i}`], [`v${i + 1}`]),
    ]).flat(),
    node('MatMul', [`v${depth}`, 'head'], ['logits'], { name: 'head' }),
  ],
  constants: [
    tensor('square', [3], BigInt64Array.of(-1n, 2n, 2n)),
    tensor('axis', [1], BigInt64Array.of(1n)),
    tensor('odd', [width, 4], random(width * 4, 3)),
    tensor('head', [width, 10], random(width * 10, 5)),
    ...Array.from({ length: depth }, (_, i) => tensor(`w${i}`, [width, width], random(width ** 2, 30 + i))),
  ],
  inputs: [float('x', ['n', width])],
  outputs: [float('logits', ['n', 10])],
});

const feeds = (seed: number) => [
  { x: { data: random(samples * width, seed), dims: [samples, width], type: 'float32' } },
];

async function quantized(t: ExecutionContext, options: ModelOptions) {
  const { input, output } = files(t, model);
  const report = await quantizeModel(input, output, {
    ...{ calibration: feeds(1), bits: 3, groupSize: 16, batchSize: 64, ...options },
  });
  return { report, bytes: readFileSync(output) };
}

test('weights are those of outputs where gradients reach a layer, whatever the threads; elsewhere a warning says why there are none', async (t) => {
  for (const method of ['gptq', 'vertex', 'msq'] as const) {
    const options = { method, weighting: 'outputs', ...(method === 'vertex' && { effort: 0 }) } as const;
    const [one, three] = [
      await quantized(t, { ...options, threads: 1 }),
      await quantized(t, { ...options, threads: 3 }),
    ];
    t.deepEqual(one.bytes, three.bytes);
    const plain = await quantized(t, { ...options, weighting: 'none' });
    t.notDeepEqual(one.bytes, plain.bytes);
    for (const { name, weighted, error, warnings, samples: rows } of one.report.layers) {
      const told = warnings.some((text) =>
        /rows count alike: no gradient passes the operator Det/.test(text),
      );
      t.is(weighted === null, name === 'odd');
      t.is(told, name === 'odd');
      t.true(error.holdout! > 0 && error.holdout! < 1, name);
      if (!weighted) continue;
      t.is(error.calibration, null);
      t.true(weighted.effectiveRows > 1 && weighted.effectiveRows < rows);
      t.true(weighted.holdout! > 0 && weighted.holdout !== error.holdout);
    }
    t.true(plain.report.layers.every(({ weighted }) => weighted === null));
  }
});

test('"none" is the default, and has the same bytes', async (t) => {
  const [none, unsaid] = [await quantized(t, { weighting: 'none' }), await quantized(t, {})];
  t.deepEqual(none.bytes, unsaid.bytes);
});

test('a weighted run that is interrupted goes on, and has the same bytes', async (t) => {
  const { input, output } = files(t, model);
  const options = { calibration: feeds(1), bits: 3, groupSize: 16, weighting: 'outputs' } as const;
  const whole = `${output}.whole`;
  await quantizeModel(input, whole, options);
  const controller = new AbortController();
  await t.throwsAsync(
    quantizeModel(input, output, {
      ...{ ...options, signal: controller.signal },
      onProgress: ({ layerIndex = 0 }) => layerIndex > 2 && controller.abort(new Error('stop')),
    }),
    { message: 'stop' },
  );
  const other = { ...options, weighting: 'none', resume: true } as const;
  await t.throwsAsync(quantizeModel(input, output, other), { code: 'ERR_VERTEXQ_RESUME' });
  const report = await quantizeModel(input, output, { ...options, resume: true });
  t.true(report.resumed > 0);
  sameBytes(t, readFileSync(output), readFileSync(whole));
});

test('an abort ends the sweep, and weights need data', async (t) => {
  const { input, output } = files(t, model);
  const controller = new AbortController();
  const stages: string[] = [];
  await t.throwsAsync(
    quantizeModel(input, output, {
      ...{ calibration: feeds(1), weighting: 'outputs', signal: controller.signal },
      onProgress: ({ stage }) => {
        stages.push(stage);
        controller.abort(new Error('stop'));
      },
    }),
    { message: 'stop' },
  );
  t.deepEqual([...new Set(stages)], ['weigh']);
  await t.throwsAsync(quantizeModel(input, output, { weighting: 'outputs' }), {
    ...{ instanceOf: RangeError, message: /"weighting" option is about "calibration" data/ },
  });
});
