import test, { type ExecutionContext } from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../../lib/index';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { ChannelGrams } from '../../../lib/models/curvature/channel-grams';
import type { Layer } from '../../../lib/models/layers/layer';
import { Workspace } from '../../../lib/runs/workspace';
import { sameBytes } from '../../files/same-bytes';
import { temporaryFolder } from '../../files/temporary-folder';
import { gramOf } from '../../fit/data';
import { files, float, network, random } from '../networks';

// The options `weighting: 'channels'` and `'both'` of networks: output channels that make up for each other.

const [width, samples] = [80, 160];

/** A product, a convolution of one place and a weight on the left of its product, before the logits. */
const model = network({
  nodes: [
    node('MatMul', ['x', 'w0'], ['p0'], { name: 'first' }),
    node('Tanh', ['p0'], ['v0']),
    node('Unsqueeze', ['v0', 'last'], ['image']),
    node('Conv', ['image', 'kernel'], ['p1'], { name: 'conv' }),
    node('Squeeze', ['p1', 'last'], ['v1']),
    node('Transpose', ['v1'], ['turned'], { attributes: { perm: [1n, 0n] } }),
    node('MatMul', ['left', 'turned'], ['p2'], { name: 'left' }),
    node('Transpose', ['p2'], ['v2'], { attributes: { perm: [1n, 0n] } }),
    node('MatMul', ['v2', 'head'], ['logits'], { name: 'head' }),
  ],
  constants: [
    tensor('last', [1], BigInt64Array.of(2n)),
    tensor('w0', [width, width], random(width ** 2, 3)),
    tensor('kernel', [width, width, 1], random(width ** 2, 4)),
    tensor('left', [width, width], random(width ** 2, 5)),
    tensor('head', [width, 10], random(width * 10, 6)),
  ],
  inputs: [float('x', ['n', width])],
  outputs: [float('logits', ['n', 10])],
});

const feeds = [{ x: { data: random(samples * width, 1), dims: [samples, width], type: 'float32' } }];

async function quantized(t: ExecutionContext, options: ModelOptions) {
  const { input, output } = files(t, model);
  const report = await quantizeModel(input, output, {
    ...{ calibration: feeds, bits: 3, groupSize: 16, batchSize: 64, method: 'gptq', ...options },
  });
  return { report, bytes: readFileSync(output) };
}

for (const weighting of ['channels', 'both'] as const)
  test(`"${weighting}" changes layers whose channels are known, whatever the threads, and says which are not`, async (t) => {
    const [one, three] = [
      await quantized(t, { weighting, threads: 1 }),
      await quantized(t, { weighting, threads: 3 }),
    ];
    sameBytes(t, three.bytes, one.bytes);
    const plain = await quantized(t, { weighting: weighting === 'both' ? 'outputs' : 'none' });
    const before = new Map(plain.report.layers.map(({ name, error }) => [name, error.own.holdout]));
    for (const { name, warnings, error, weighted } of one.report.layers) {
      const alone = warnings.filter((text) => /neurons is fitted by itself/.test(text));
      t.deepEqual(alone.length, name === 'first' || name === 'head' ? 0 : 1, name);
      if (name === 'first')
        t.true(error.own.holdout! > before.get(name)!, 'channels make up for each other, and are each worse');
      t.is(
        weighted !== null,
        weighting === 'both' && plain.report.layers.find((own) => own.name === name)!.weighted !== null,
      );
    }
    const why = (name: string) => one.report.layers.find((own) => own.name === name)!.warnings.join(' ');
    t.regex(why('conv'), /it is a convolution/);
    t.regex(why('left'), /its weight stands on the left of the product/);
  });

test('plain rounding has no use for it, and a run that is interrupted goes on', async (t) => {
  const { report } = await quantized(t, { weighting: 'channels', method: 'msq' });
  t.true(report.layers.every(({ warnings }) => !warnings.some((text) => /fitted by itself/.test(text))));
  const { input, output } = files(t, model);
  const options = { calibration: feeds, bits: 3, groupSize: 16, weighting: 'both', method: 'gptq' } as const;
  const whole = `${output}.whole`;
  await quantizeModel(input, whole, options);
  const controller = new AbortController();
  await t.throwsAsync(
    quantizeModel(input, output, {
      ...{ ...options, signal: controller.signal },
      onProgress: ({ layerIndex = 0 }) => layerIndex > 1 && controller.abort(new Error('stop')),
    }),
    { message: 'stop' },
  );
  await t.throwsAsync(quantizeModel(input, output, { ...options, weighting: 'outputs', resume: true }), {
    code: 'ERR_VERTEXQ_RESUME',
  });
  const resumed = await quantizeModel(input, output, { ...options, resume: true });
  t.true(resumed.resumed > 0);
  sameBytes(t, readFileSync(output), readFileSync(whole));
});

test('sums are of gradients by their norms, of fitted batches alone, kept in files where there is no room', async (t) => {
  const folder = temporaryFolder(t);
  const workspace = new Workspace(join(folder, 'out'), join(folder, 'work'));
  const channels = new ChannelGrams<Layer>(workspace, 0, (batch) => batch < 2, {});
  const [outFeatures, rows] = [7, 30];
  const layerCalled = (name: string) =>
    ({ outFeatures, name, groups: 1, weightIndex: 1, node: { opType: 'MatMul', attribute: [] }, input: { rows: { kind: 'rows' } } }) as unknown as Layer; // prettier-ignore
  const [layer, infinite, unfelt] = ['a', 'b', 'c'].map(layerCalled) as [Layer, Layer, Layer];
  for (const [own, square] of [
    [infinite, 1],
    [infinite, Infinity],
    [unfelt, 0],
  ] as const)
    await channels.add(own, 0, new Float32Array(outFeatures).fill(square), Float32Array.of(square));
  const all: number[] = [];
  for (let batch = 0; batch < 3; batch++) {
    const gradients = random(rows * outFeatures, 20 + batch);
    gradients.fill(0, 0, outFeatures);
    const squares = Float32Array.from({ length: rows }, (_, row) =>
      gradients.subarray(row * outFeatures, (row + 1) * outFeatures).reduce((sum, g) => sum + g * g, 0),
    );
    if (batch < 2)
      all.push(
        ...gradients.map((g, i) =>
          squares[Math.floor(i / outFeatures)]! > 0 ? g / squares[Math.floor(i / outFeatures)]! ** 0.25 : 0,
        ),
      );
    await channels.add(layer, batch, gradients, squares);
  }
  await channels.settle();
  const found = await channels.of(layer);
  const { matrices, samples: count } = await found!.sums();
  t.is(count, 2 * rows);
  const expected = gramOf(Float64Array.from(all), outFeatures);
  for (const [i, value] of matrices[0]!.entries()) t.true(Math.abs(value - expected[i]!) < 1e-4);
  t.is(await channels.of(layer), null);
  t.is(channels.reasonOf(layer), undefined);
  t.is(await channels.of(infinite), null);
  t.is(channels.reasonOf(infinite), 'its gradients are not finite numbers');
  t.is(await channels.of(unfelt), null);
  t.is(channels.reasonOf(unfelt), 'its gradients are all 0');
  await workspace.end();
});
