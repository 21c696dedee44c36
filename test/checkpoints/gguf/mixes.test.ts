import test from 'ava';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { unpacked } from '../../../lib/encodings/gguf/blocks';
import { ggufTypes } from '../../../lib/encodings/gguf/table';
import type { GgufTypeName } from '../../../lib/encodings/names';
import {
  type CheckpointOptions,
  type CheckpointReport,
  evaluateCheckpoint,
  quantizeCheckpoint,
} from '../../../lib/index';
import { temporaryFolder } from '../../files/temporary-folder';
import { smallModel, writeSmall } from './models';

const model = smallModel('llama', { hidden: 256, feedForward: 512, keyValueHeads: 4, headSize: 64 });
const ids = { data: BigInt64Array.from({ length: 1200 }, (_, i) => BigInt((i * i + 7 * i) % 250)), dims: [60, 20], type: 'int64' }; // prettier-ignore

/** What each tensor of block 1 is, and how far that is from the float one. */
async function written(folder: string, output: string, options: CheckpointOptions) {
  const { layers } = await quantizeCheckpoint(folder, output, options);
  const found: Record<string, [type: string, error: number, holdout: number | null]> = {};
  await GgufFile.with(output, async (file) => {
    for (const [part, module, shape] of [
      ['attn_v', 'self_attn.v_proj', [256, 256]],
      ['attn_output', 'self_attn.o_proj', [256, 256]],
      ['ffn_up', 'mlp.up_proj', [512, 256]],
      ['ffn_down', 'mlp.down_proj', [256, 512]],
    ] as const) {
      const name = `blk.1.${part}.weight`;
      const type = file.tensor(name).dtype as GgufTypeName;
      const values = await unpacked(ggufTypes[type], await file.read(name), shape);
      const original = model.weights[`model.layers.1.${module}.weight`]!.values;
      let [error, signal] = [0, 0];
      values.forEach((value, i) => {
        error += (value - original[i]!) ** 2;
        signal += original[i]! ** 2;
      });
      const report = layers.find((layer) => layer.name === `blk.1.${part}`)!;
      found[part] = [type, Math.sqrt(error / signal), report.error.holdout];
      if (Math.abs(found[part][1] - report.error.weight) > 1e-5)
        throw new Error(`${part}: not what its report says`);
    }
  });
  return found;
}

test('mixes: each tensor in its type, rounded or fitted, as its report says', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'BF16', model);
  const output = (name: string) => join(temporaryFolder(t), `${name}.gguf`);
  for (const [format, types, most] of [
    ['gguf:q4_k_m', ['Q6_K', 'Q4_K', 'Q4_K', 'Q6_K'], [0.03, 0.1, 0.1, 0.03]],
    ['gguf:q2_k', ['Q3_K', 'Q3_K', 'Q2_K', 'Q3_K'], [0.2, 0.2, 0.35, 0.2]],
    ['gguf:iq4_xs', ['IQ4_XS', 'IQ4_XS', 'IQ4_XS', 'IQ4_XS'], [0.1, 0.1, 0.1, 0.1]],
  ] as const) {
    const rounded = Object.values(await written(folder, output(format), { format }));
    t.deepEqual(
      rounded.map(([type]) => type),
      types,
    );
    t.true(
      rounded.every(([, error], i) => error < most[i]!),
      `${format} ${JSON.stringify(rounded)}`,
    );
  }
  const options = {
    format: 'gguf:q2_k',
    method: 'gptq',
    layers: ['blk.1.*'],
    calibration: { input_ids: ids },
  } as const;
  const fitted = Object.values(await written(folder, output('fitted'), options));
  t.deepEqual(
    fitted.map(([type]) => type),
    ['Q3_K', 'Q3_K', 'Q2_K', 'Q3_K'],
  );
  t.true(
    fitted.every(([, , holdout]) => holdout !== null && holdout < 0.35),
    JSON.stringify(fitted),
  );
});

test('the head is fitted to what it sees, unless it is the embedding too or has 8 bits', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F16', smallModel('llama', { hidden: 256, blocks: 1 }));
  const output = (own: string) => join(temporaryFolder(t), `${own}.gguf`);
  const data = { input_ids: ids };
  const options = {
    format: 'gguf:q6_k',
    method: 'gptq',
    layers: ['output.weight'],
    calibration: data,
  } as const;
  const [fitted, alone] = [output('fitted'), output('alone')];
  const methods = ({ layers }: CheckpointReport) => layers.map(({ name, method }) => [name, method]);
  t.deepEqual(methods(await quantizeCheckpoint(folder, fitted, options)), [['output', 'gptq']]);
  await quantizeCheckpoint(folder, alone, { format: 'gguf:q6_k', layers: options.layers });
  const { checkpoints } = await evaluateCheckpoint(folder, [fitted, alone], { data });
  const [own, other] = checkpoints.map(({ klDivergence }) => klDivergence.mean);
  t.true(own! < 0.8 * other!, `${own} ${other}`);

  const few = { ...options, layers: ['blk.0.attn_q*', 'output.weight', 'token_embd.weight'] };
  const wide = methods(await quantizeCheckpoint(folder, output('wide'), { ...few, format: 'gguf:q8_0' }));
  t.deepEqual(Object.fromEntries(wide), { 'blk.0.attn_q': 'gptq', output: 'msq', token_embd: 'msq' });
  const tied = join(temporaryFolder(t), 'tied');
  writeSmall(tied, 'qwen3', 'F16', smallModel('qwen3', { hidden: 256, blocks: 1 }));
  const made = methods(
    await quantizeCheckpoint(tied, output('tied'), {
      ...few,
      layers: ['blk.0.attn_q*', 'token_embd.weight'],
    }),
  );
  t.deepEqual(Object.fromEntries(made), { 'blk.0.attn_q': 'gptq', token_embd: 'msq' });
});
