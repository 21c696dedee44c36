import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluateModel, quantizeModel, VertexqError } from '../../../lib/index';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../../lib/containers/onnx/onnx_pb';
import { temporaryFolder } from '../../files/temporary-folder';
import { files, float, network, random } from '../networks';
import { tokenizerJson } from './tokenizer';

const past = (
  name: string,
  dims: ModelInput['dims'] = ['batch', 2, 'past', 8],
  type = 'float32',
): ModelInput => ({
  name,
  type,
  dims,
});
const tokens = (name: string, type = 'int64'): ModelInput => ({ name, type, dims: ['batch', 'sequence'] });
const decoder = [
  tokens('input_ids'),
  tokens('attention_mask'),
  tokens('position_ids'),
  past('past_key_values.0.key'),
  past('past_key_values.0.value'),
];
const ids = (samples: number, length: number) => ({
  data: BigInt64Array.from({ length: samples * length }, (_, i) => BigInt(i % 12)),
  dims: [samples, length],
});

test('a feed of ids alone gets a mask, positions and empty caches', async (t) => {
  const { fit } = await prepareCalibrationSet([{ input_ids: ids(3, 4) }], { inputs: decoder, holdout: 0 });
  t.deepEqual(fit, [
    {
      input_ids: { ...ids(3, 4), type: 'int64' },
      attention_mask: { data: new BigInt64Array(12).fill(1n), dims: [3, 4], type: 'int64' },
      position_ids: { data: BigInt64Array.of(0n, 1n, 2n, 3n, 0n, 1n, 2n, 3n, 0n, 1n, 2n, 3n), dims: [3, 4], type: 'int64' },
      'past_key_values.0.key': { data: new Float32Array(0), dims: [3, 2, 0, 8], type: 'float32' },
      'past_key_values.0.value': { data: new Float32Array(0), dims: [3, 2, 0, 8], type: 'float32' },
    },
  ]); // prettier-ignore
  // Positions count what the mask shows, on whichever side it hides.
  const mask = { data: BigInt64Array.of(0n, 0n, 1n, 1n, 1n, 1n, 1n, 0n), dims: [2, 4] };
  const masked = await prepareCalibrationSet(
    { input_ids: ids(2, 4), attention_mask: mask },
    { inputs: decoder, holdout: 0 },
  );
  t.deepEqual([...(masked.fit[0]!['position_ids']!.data as BigInt64Array)], [0n, 0n, 0n, 1n, 0n, 1n, 2n, 3n]);
  const cut = await prepareCalibrationSet(
    { input_ids: ids(10, 4) },
    { inputs: decoder, batchSize: 4, holdout: 0.2 },
  );
  t.deepEqual(cut.fit.map((feeds) => feeds['past_key_values.0.key']!.dims), [[4, 2, 0, 8], [4, 2, 0, 8]]); // prettier-ignore
  t.deepEqual(cut.holdout[0]!['past_key_values.0.key']!.dims, [2, 2, 0, 8]);
});

test('where the dimensions of a cache are', async (t) => {
  const dimsOf = async (dims: ModelInput['dims'], type = 'float32', name = 'past_key_values.0.key') => {
    const inputs = [tokens('input_ids'), past(name, dims, type)];
    const { fit } = await prepareCalibrationSet({ input_ids: ids(3, 4) }, { inputs, holdout: 0 });
    t.is(fit[0]![name]!.type, type);
    return fit[0]![name]!.dims;
  };
  t.deepEqual(await dimsOf(['batch_size', 8, 'past_sequence_length', 64]), [3, 8, 0, 64]);
  t.deepEqual(await dimsOf([null, 8, null, 64], 'float16'), [3, 8, 0, 64]);
  t.deepEqual(await dimsOf([1, 8, 'past', 64]), [1, 8, 0, 64]);
  t.deepEqual(await dimsOf([2, 'batch', 12, 'past', 64], 'float32', 'past_0'), [2, 3, 12, 0, 64]);
  t.deepEqual(await dimsOf(['past', 'batch', 12, 64]), [0, 3, 12, 64]);
  t.deepEqual(await dimsOf(['b', 'past', 64], 'float32', 'cache.0.value'), [3, 0, 64]);
  for (const dims of [
    ['batch', 8, 16, 64],
    ['batch', 'heads', 'past', 64],
    [1, 8, 16, 64],
  ])
    await t.throwsAsync(dimsOf(dims), {
      instanceOf: VertexqError,
      message:
        /"past_key_values\.0\.key" \[.*\] looks like a cache, and an empty one cannot be made: .* Give it in the data/,
    });
});

test('a cache branch; caches from the data; other inputs are still missing', async (t) => {
  const branch: ModelInput = { name: 'use_cache_branch', type: 'bool', dims: [1] };
  const merged = await prepareCalibrationSet(
    { input_ids: ids(3, 4) },
    { inputs: [...decoder, branch], holdout: 0 },
  );
  t.deepEqual(merged.fit[0]!['use_cache_branch'], { data: Uint8Array.of(0), dims: [1], type: 'bool' });
  const cache = { data: new Float32Array(3 * 2 * 5 * 8), dims: [3, 2, 5, 8] };
  const given = { 'past_key_values.0.key': cache, 'past_key_values.0.value': cache };
  await t.throwsAsync(prepareCalibrationSet({ input_ids: ids(3, 4), ...given }, { inputs: decoder }), {
    message: /no data for the inputs "attention_mask", "position_ids"/,
  });
  const all = { ...given, input_ids: ids(3, 4), attention_mask: ids(3, 9), position_ids: ids(3, 4) };
  const { fit } = await prepareCalibrationSet([all], { inputs: decoder, holdout: 0 });
  t.is(fit[0]!['past_key_values.0.key']!.data, cache.data);
  await t.throwsAsync(
    prepareCalibrationSet(
      { input_ids: ids(3, 4) },
      { inputs: [...decoder, past('encoder_hidden_states', ['b', 's', 8])] },
    ),
    { message: /no data for the input "encoder_hidden_states"/ },
  );
  // Without caches nothing is made up.
  await t.throwsAsync(prepareCalibrationSet({ input_ids: ids(3, 4) }, { inputs: decoder.slice(0, 2) }), {
    message: /no data for the input "attention_mask"/,
  });
});

const int64 = (name: string) => valueInfo(name, DataType.INT64, ['batch', 'sequence']);

/** Looks up tokens, puts the cache before them, and takes a product of what is there: all inputs matter. */
const generator = network({
  nodes: [
    node('Gather', ['table', 'input_ids'], ['e']),
    node('Unsqueeze', ['e', 'one'], ['here']),
    node('Concat', ['past_key_values.0.key', 'here'], ['present.0.key'], { attributes: { axis: 2n } }),
    node('Cast', ['attention_mask'], ['m'], { attributes: { to: 1n } }),
    node('Unsqueeze', ['m', 'ends'], ['mask']),
    node('Mul', ['present.0.key', 'mask'], ['seen']),
    node('MatMul', ['seen', 'w'], ['logits']),
  ],
  constants: [
    tensor('table', [12, 32], random(12 * 32, 1)),
    tensor('one', [1], BigInt64Array.of(1n)),
    tensor('ends', [2], BigInt64Array.of(1n, 3n)),
    tensor('w', [32, 24], random(32 * 24, 2)),
  ],
  inputs: [
    int64('input_ids'),
    int64('attention_mask'),
    float('past_key_values.0.key', ['batch', 1, 'past', 32]),
  ],
  outputs: [float('logits'), float('present.0.key')],
});

test('a generation model is quantized and evaluated on text', async (t) => {
  const { input, output } = files(t, generator);
  const folder = temporaryFolder(t);
  const tokenizer = join(folder, 'tokenizer.json');
  writeFileSync(tokenizer, JSON.stringify(tokenizerJson()));
  const text = join(folder, 'text.txt');
  const words = ['a', 'b', 'c', 'd', 'ab', 'the', 'cat'];
  const lines = random(60, 3).map((value, i) => Math.abs(Math.round(value * 5)) + (i % 7));
  writeFileSync(
    text,
    Array.from(lines, (n, i) =>
      words
        .slice(0, n)
        .concat(words[i % 7]!)
        .join(' '),
    ).join('\n'),
  );
  const report = await quantizeModel(input, output, {
    calibration: text,
    tokenizer,
    layers: 'logits',
    method: 'gptq',
  });
  t.is(report.layers.length, 1);
  t.true(report.layers[0]!.samples > 60 && report.layers[0]!.error.holdout! < 0.2);
  const { outputs, samples } = await evaluateModel(input, output, { data: text, tokenizer, runs: 2 });
  t.is(samples, 60);
  t.true(outputs[0]!.name === 'logits' && outputs[0]!.cosine! > 0.98 && outputs[0]!.error! > 0);
  t.like(outputs[1], { name: 'present.0.key', error: 0 });
});
