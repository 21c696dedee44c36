import test from 'ava';
import { join } from 'node:path';
import { smallModel, type SmallModel, writeSmall } from '../checkpoints/gguf/models';
import { temporaryFolder } from '../files/temporary-folder';
import { inFolder, run } from './run';

const ids = [Array.from({ length: 20 }, (_, i) => (i * i + 3 * i) % 250)];

test('an expert that all tokens go to is a feed forward, weighted by the sigmoid of its own layer', async (t) => {
  const logitsOf = async (model: SmallModel) => {
    const folder = join(temporaryFolder(t), 'in');
    writeSmall(folder, 'qwen2moe', 'F32', model);
    return inFolder(folder, 20, run(ids));
  };
  const { config, weights } = smallModel('qwen2moe');
  const scaled = (factor: number, of: (name: string) => boolean) => {
    const entries = Object.entries(weights).map(([name, { shape, values }]) => [name, { shape, values: of(name) ? values.map((value) => factor * value) : values }] as const); // prettier-ignore
    return Object.fromEntries(entries);
  };
  const isRouted = (name: string) => /\.experts\.\d+\.down_proj/.test(name);
  const isShare = (name: string) => /shared_expert_gate/.test(name);
  const alone = scaled(0, (name) => isRouted(name) || isShare(name));
  const found = await logitsOf({ config, weights: alone });
  // The others give nothing, and the sigmoid of 0 is a half: what is left is the network without experts, its last layers halved.
  const dense: SmallModel['weights'] = {};
  for (const [name, weight] of Object.entries(weights)) {
    if (/\.experts\.|mlp\.gate\.|shared_expert_gate/.test(name)) continue;
    const isDown = name.includes('shared_expert.down_proj');
    dense[name.replace('shared_expert.', '')] = isDown ? { ...weight, values: weight.values.map((value) => value / 2) } : weight; // prettier-ignore
  }
  const wanted = await logitsOf({ config: { ...config, architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2' }, weights: dense }); // prettier-ignore
  t.true(wanted.some((value) => value !== 0));
  t.true(found.every((value, i) => Math.abs(value - wanted[i]!) <= 1e-5));
  // Both count where neither is nothing.
  const [whole, withoutShare, withoutRouted] = [await logitsOf({ config, weights }), await logitsOf({ config, weights: scaled(0, isShare) }), await logitsOf({ config, weights: scaled(0, isRouted) })]; // prettier-ignore
  for (const other of [withoutShare, withoutRouted])
    t.true(whole.some((value, i) => Math.abs(value - other[i]!) > 1e-2));
});
