import test, { type ExecutionContext } from 'ava';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../lib/containers/gguf/file';
import { measureCheckpoint } from '../../lib/checkpoints/measure-sensitivity';
import {
  type CheckpointOptions,
  evaluateCheckpoint,
  planCheckpoint,
  type Progress,
  quantizeCheckpoint,
  type Sensitivity,
  verifyCheckpoint,
} from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { smallModel, writeSmall } from './gguf/models';
import { readAll } from './unpack';

// Widths layer by layer, so that an output is of a size.

const ids = (count: number, seed: number) => {
  let state = seed;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >> 8;
  const data = BigInt64Array.from({ length: count * 24 }, () => BigInt(next() % 256));
  return { input_ids: { data, dims: [count, 24], type: 'int64' } };
};
const calibration = ids(40, 1);
const options: CheckpointOptions = { calibration, method: 'gptq', groupSize: 32, threads: 2 };

function modelIn(t: ExecutionContext, own = {}): string {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F32', smallModel('llama', own));
  return folder;
}

test('what widths do is told in about the KL divergence that they bring, each alone', async (t) => {
  const folder = modelIn(t, { blocks: 1 });
  const { layers, unit, rows, unmeasured } = await measureCheckpoint(folder, options);
  t.is(unit, 'kl');
  t.is(rows, 40 * 24);
  t.is(layers.length, 7);
  t.deepEqual(unmeasured, []);
  const group = layers.map((layer) => layer.group?.split('.').at(-1) ?? null);
  t.deepEqual(group, ['qkv_proj', 'qkv_proj', 'qkv_proj', null, 'gate_up_proj', 'gate_up_proj', null]);
  for (const [module, bits] of [
    ['self_attn.v_proj', 3],
    ['mlp.gate_proj', 4],
    ['mlp.down_proj', 3],
  ] as const) {
    const name = `model.layers.0.${module}.weight`;
    const out = `${folder}-${bits}-${module}`;
    await quantizeCheckpoint(folder, out, { ...options, bits, layers: name, errorCorrection: false, format: 'float' }); // prettier-ignore
    const { checkpoints } = await evaluateCheckpoint(folder, [out], { data: ids(40, 2) });
    const { change } = layers
      .find((layer) => layer.name === name)!
      .widths.find((width) => width.bits === bits)!;
    const ratio = change / checkpoints[0]!.klDivergence.mean;
    t.true(ratio > 0.55 && ratio < 1.6, `${name}: ${change}, ratio ${ratio}`);
  }
});

test('a fit does more on rows that it has not seen: told where some are held out, and all is told where none are', async (t) => {
  const folder = modelIn(t, { blocks: 1 });
  const sumOf = ({ layers }: Sensitivity) =>
    layers.reduce((sum, { widths }) => sum + widths.find(({ bits }) => bits === 3)!.change, 0);
  const few = { ...options, calibration: ids(10, 1) };
  const [held, all] = [await measureCheckpoint(folder, few), await measureCheckpoint(folder, { ...few, holdout: 0 })]; // prettier-ignore
  t.is(all.layers.length, 7);
  t.true(sumOf(held) > 1.2 * sumOf(all), `${sumOf(held)} and ${sumOf(all)}`);
});

test('of what layers do alone, what is left where errors are corrected: it sums up to about the divergence', async (t) => {
  const folder = modelIn(t);
  const { layers } = await measureCheckpoint(folder, { ...options, holdout: 0.3 });
  const foretold = layers.reduce((sum, { left, widths }) => sum + left! * widths.find(({ bits }) => bits === 4)!.change, 0); // prettier-ignore
  const alone = layers.reduce((sum, { widths }) => sum + widths.find(({ bits }) => bits === 4)!.change, 0);
  await quantizeCheckpoint(folder, `${folder}-4`, { ...options, bits: 4, format: 'float' });
  const { checkpoints } = await evaluateCheckpoint(folder, [`${folder}-4`], { data: ids(40, 2) });
  const { mean } = checkpoints[0]!.klDivergence;
  t.true(foretold / mean > 0.7 && foretold / mean < 1.4, `${foretold}, ${alone} alone, ${mean}`);
  for (const own of [{ holdout: 0 }, { method: 'msq' }] as const) {
    const found = await measureCheckpoint(folder, { ...options, ...own });
    t.true(found.layers.every((layer) => !('left' in layer)));
  }
});

test('a run without error correction chooses by what widths do alone, one with it by what is left of that', async (t) => {
  const folder = modelIn(t, { blocks: 1 });
  const found = await measureCheckpoint(folder, options);
  const sensitivity = { ...found, layers: found.layers.map((layer) => ({ ...layer, left: layer.group === null ? 1 : 0 })) }; // prettier-ignore
  const bitsOf = async (own: CheckpointOptions) => {
    const { budget } = await planCheckpoint(folder, `${folder}-out`, { ...options, ...own, targetBits: 4, sensitivity }); // prettier-ignore
    return new Map(budget!.overrides.flatMap(({ layers, bits }) => layers.map((name) => [name.split('.').at(-2)!, bits!]))); // prettier-ignore
  };
  const corrected = await bitsOf({});
  const alone = await bitsOf({ errorCorrection: false });
  // Nothing is left of what these do: they get the fewest bits there are.
  const names = ['q_proj', 'k_proj', 'v_proj', 'gate_proj', 'up_proj'];
  for (const name of names) t.is(corrected.get(name), 2, name);
  t.true(names.some((name) => alone.get(name)! > 2));
  t.true(corrected.get('down_proj')! > alone.get('down_proj')!);
});

test('a size is met, with less divergence than one width of that size has; its overrides give the same bytes', async (t) => {
  const folder = modelIn(t);
  const [uniform, mixed, again] = ['uniform', 'mixed', 'again'].map((name) => `${folder}-${name}`) as [string, string, string]; // prettier-ignore
  const { bytes } = await quantizeCheckpoint(folder, uniform, { ...options, bits: 3 });
  const targetSize = bytes.after;
  const progress: Progress[] = [];
  const report = await quantizeCheckpoint(folder, mixed, { ...options, targetSize, onProgress: (one) => progress.push(one) }); // prettier-ignore
  t.true(report.bytes.after <= targetSize && report.bytes.after > 0.99 * targetSize);
  t.is(report.bytes.after, statSync(join(mixed, 'model.safetensors')).size);
  t.true(
    progress.some(({ stage }) => stage === 'weigh') && progress.some(({ stage }) => stage === 'quantize'),
  );
  const { overrides, gap, change, target } = report.budget!;
  t.deepEqual(target, { bytes: targetSize, of: 'files' });
  t.is(gap, 0);
  t.true(overrides.length > 1);
  const { checkpoints } = await evaluateCheckpoint(folder, [uniform, mixed], { data: ids(40, 2) });
  const [before, after] = checkpoints.map(({ klDivergence }) => klDivergence.mean) as [number, number];
  t.true(after < 0.85 * before, `${after} and ${before}`);
  t.true(change > after / 3 && change < 3 * after);
  t.deepEqual((await verifyCheckpoint(mixed, folder)).faults, []);
  await quantizeCheckpoint(folder, again, { ...options, overrides });
  t.deepEqual((await readAll(again)).tensors, (await readAll(mixed)).tensors);
});

test('issue 21 item 3: the smallest folder that keeps to a divergence', async (t) => {
  const folder = modelIn(t);
  const out = `${folder}-out`;
  const { budget, bytes } = await quantizeCheckpoint(folder, out, { ...options, targetError: 0.01 });
  t.true(budget!.change <= 0.01 && budget!.change > 0.005);
  t.is(budget!.bytes, bytes.after);
  t.true(budget!.overrides.length > 1);
  const { checkpoints } = await evaluateCheckpoint(folder, [out], { data: ids(40, 2) });
  const { mean } = checkpoints[0]!.klDivergence;
  t.true(mean < 0.02 && mean > 0.002, String(mean));
});

test('mean bits, from a sensitivity that was kept, in a plan', async (t) => {
  const folder = modelIn(t);
  const sensitivity = await measureCheckpoint(folder, options);
  const file = `${folder}.json`;
  writeFileSync(file, JSON.stringify(sensitivity));
  const rest: CheckpointOptions = { groupSize: 32, threads: 2 };
  const plan = await planCheckpoint(folder, `${folder}-out`, { ...rest, targetBits: 4, sensitivity: file });
  t.true(plan.bitsPerWeight! <= 4 && plan.bitsPerWeight! > 3.96);
  t.deepEqual(plan.budget!.target.of, 'weights');
  t.is(new Set(plan.tensors.filter(({ action }) => action === 'quantize').map(({ bits }) => bits)).size > 1, true); // prettier-ignore
  const other = modelIn(t, { blocks: 1 });
  await t.throwsAsync(planCheckpoint(other, `${folder}-out`, { ...rest, targetBits: 4, sensitivity }), {
    code: 'ERR_VERTEXQ_SENSITIVITY',
    message: /is of another network/,
  });
  await t.throwsAsync(
    planCheckpoint(folder, `${folder}.gguf`, { format: 'gguf', targetBits: 5, sensitivity }),
    {
      message: /for the format "compressed-tensors", and the output's is "gguf"/,
    },
  );
  await t.throwsAsync(planCheckpoint(folder, `${folder}-out`, { ...rest, targetBits: 2, sensitivity }), {
    code: 'ERR_VERTEXQ_BUDGET',
  });
});

test('a GGUF file of a size: a type for each tensor, as blockType says it', async (t) => {
  const folder = modelIn(t);
  const out = `${folder}.gguf`;
  const report = await quantizeCheckpoint(folder, out, { calibration, method: 'gptq', format: 'gguf', targetSize: 80_000 }); // prettier-ignore
  t.is(report.bytes.after, statSync(out).size);
  t.true(report.bytes.after <= 80_000 && report.bytes.after > 79_200);
  const { overrides } = report.budget!;
  await GgufFile.with(out, (file) => {
    t.false(file.header.metadata.has('general.file_type'));
    for (const { layers, blockType } of overrides)
      for (const name of layers) t.is(file.tensor(name).dtype, blockType!);
    return Promise.resolve();
  });
  const again = `${folder}-again.gguf`;
  // The other matrices as there: without a mix of its own a file has those of q4_k.
  await quantizeCheckpoint(folder, again, { calibration, method: 'gptq', format: 'gguf:q4_k_s', overrides }); // prettier-ignore
  const dataOf = (path: string) => GgufFile.with(path, (file) => Promise.resolve([...file.tensors].map(([name, { dtype }]) => [name, dtype]))); // prettier-ignore
  t.deepEqual(await dataOf(again), await dataOf(out));
  t.false(readFileSync(again).equals(readFileSync(out)));
});

test('targets that say too much or too little are refused before anything is run', async (t) => {
  const folder = modelIn(t);
  const to = (own: CheckpointOptions) => quantizeCheckpoint(folder, `${folder}-out`, own);
  const cases: [CheckpointOptions, RegExp][] = [
    [{ targetSize: 1e6 }, /needs to know what widths do to the network: give "calibration"/],
    [{ targetSize: 1e6, targetBits: 4, calibration }, /"targetSize" and "targetBits" exclude each other/],
    [{ targetBits: 4, bits: 4, calibration }, /"bits" option is for all layers alike/],
    [{ sensitivity: 'x.json' }, /no target is given/],
    [{ targetSize: 1e6, format: 'float', calibration }, /as many bytes in every width/],
    [{ targetSize: 1e6, format: 'onnx', calibration }, /takes no target/],
    [{ format: 'gguf' }, /chooses a type for each tensor by a target/],
    [
      { overrides: [{ layers: '*', blockType: 'Q4_K' }] },
      /overrides\[0\].blockType" option is for GGUF files/,
    ],
    [{ targetSize: 0.5, calibration }, /whole number 1 or more/],
  ];
  for (const [own, message] of cases) await t.throwsAsync(to(own), { instanceOf: RangeError, message });
  t.false(existsSync(`${folder}-out`));
  const controller = new AbortController();
  const aborted = to({ ...options, targetSize: 170_000, signal: controller.signal, onProgress: ({ stage }) => stage === 'capture' && controller.abort(new Error('enough')) }); // prettier-ignore
  await t.throwsAsync(aborted, { message: 'enough' });
  t.false(existsSync(`${folder}-out`));
});
