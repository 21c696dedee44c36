import test from 'ava';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { quantizeCheckpoint, verifyCheckpoint } from '../../../lib/index';
import { fusedExperts } from '../../decoders/tiny';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { smallModel, writeSmall } from './models';

const text = 'the cat sat on the mat and then there was another hat in a tree, '.repeat(30);

for (const name of ['mixtral', 'qwen2moe', 'qwen3moe'] as const)
  test(`${name}: experts are fitted each by itself, and lie in one tensor of each kind`, async (t) => {
    const folder = join(temporaryFolder(t), 'in');
    const to = temporaryFolder(t);
    const [fitted, plain, float, again] = ['fitted', 'plain', 'float', 'again'].map((own) => join(to, `${own}.gguf`)) as [string, string, string, string]; // prettier-ignore
    writeSmall(folder, name, 'F16');
    const calibration = temporaryFile(t, 'a.txt', text);
    const layers = ['blk.1.ffn_*_exps'];
    const options = { format: 'gguf:q4_0', method: 'gptq', calibration, layers } as const;
    const report = await quantizeCheckpoint(folder, fitted, options);
    const parts = ['gate', 'up', 'down'].flatMap((part) =>
      [0, 1, 2, 3].map((i) => `blk.1.ffn_${part}_exps.${i}`),
    );
    t.deepEqual(report.layers.map((layer) => layer.name).sort(), parts.sort());
    for (const { name: layer, method, expert, samples } of report.layers) {
      t.is(method, 'gptq', layer);
      t.truthy(expert, layer);
      t.true(samples > 0, layer);
    }
    const of = (file: string) =>
      GgufFile.with(file, async ({ header: { metadata }, tensors }) => {
        const arch = name === 'mixtral' ? 'llama' : name;
        t.is(metadata.get('general.architecture'), arch);
        t.is(metadata.get(`${arch}.expert_count`), 4);
        t.is(metadata.get(`${arch}.expert_used_count`), 2);
        t.is(metadata.get(`${arch}.expert_feed_forward_length`), name === 'mixtral' ? undefined : 32);
        return Promise.resolve(tensors.get('blk.1.ffn_down_exps.weight')!);
      });
    t.deepEqual((await of(fitted)).shape, [4, 64, name === 'mixtral' ? 96 : 32]);
    t.is((await of(fitted)).dtype, 'Q4_0');
    t.deepEqual((await verifyCheckpoint(fitted, folder)).faults, []);
    // Fitted to what they see, they are farther from the weights, and nearer in what they give.
    await quantizeCheckpoint(folder, plain, { format: 'gguf:q4_0', layers });
    const error = async (file: string) =>
      (await verifyCheckpoint(file, folder)).weights.find(
        ({ name: own }) => own === 'blk.1.ffn_up_exps.weight',
      )!.error!;
    t.true((await error(fitted)) > (await error(plain)));
    // From a GGUF file of the same numbers, and from a folder that has them in one tensor.
    await quantizeCheckpoint(folder, float, { format: 'gguf:f16' });
    await quantizeCheckpoint(float, again, options);
    const tensor = (file: string) => GgufFile.with(file, (own) => own.read('blk.1.ffn_gate_exps.weight'));
    t.deepEqual(await tensor(again), await tensor(fitted));
    const { config, weights } = smallModel(name);
    const together = join(temporaryFolder(t), 'together');
    writeSmall(together, name, 'F16', { config, weights: fusedExperts(weights) });
    await quantizeCheckpoint(together, again, { format: 'gguf:f16' });
    for (const part of ['gate', 'up', 'down']) {
      const read = (file: string) => GgufFile.with(file, (own) => own.read(`blk.0.ffn_${part}_exps.weight`));
      t.deepEqual(await read(again), await read(float), part);
    }
  });

test('experts that GGUF files do not tell of are refused with what it is', async (t) => {
  const refused = async (change: (config: Record<string, unknown>) => void, message: RegExp) => {
    const folder = join(temporaryFolder(t), 'in');
    const { config, weights } = smallModel('qwen3moe');
    change(config);
    writeSmall(folder, 'qwen3moe', 'F16', { config, weights });
    await t.throwsAsync(
      quantizeCheckpoint(folder, join(temporaryFolder(t), 'a.gguf'), { format: 'gguf:q4_0' }),
      {
        code: 'ERR_VERTEXQ_DECODER',
        message,
      },
    );
  };
  await refused((config) => (config['norm_topk_prob'] = false), /weights of a token's experts do not add up to 1, which GGUF files of "qwen3moe"/); // prettier-ignore
});
