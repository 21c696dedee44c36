import test, { type ExecutionContext } from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, planCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { fileOf, tensor } from './make';

function sample(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const [input, activations] = [join(folder, 'in.safetensors'), join(folder, 'seen.safetensors')];
  const names = ['a', 'b', 'c', 'lm_head'];
  writeFileSync(
    input,
    fileOf(Object.fromEntries(names.map((name, i) => [`${name}.weight`, tensor('F32', [8, 64], i)]))),
  );
  // Nothing of c.
  writeFileSync(activations, fileOf({ a: tensor('F32', [100, 64], 5), b: tensor('F32', [100, 64], 6) }));
  const plan = async (options: CheckpointOptions) => {
    const { tensors } = await planCheckpoint(input, join(folder, 'out.safetensors'), options);
    return Object.fromEntries(tensors.map((planned) => [planned.name.replace('.weight', ''), planned]));
  };
  return { plan, activations };
}

test('later ones win, option by option; what a method does not take goes', async (t) => {
  const { plan, activations } = sample(t);
  const { a, b, c, lm_head } = await plan({
    ...{ activations, levels: 16, effort: 2, scale: 'search' },
    overrides: [
      { layers: ['a', 'b.weight'], bits: 3, groupSize: 16, method: 'gptq' },
      { layers: '?', groupSize: 32 },
      { layers: 'b', levels: 5, method: 'maly-saab' },
      { layers: 'c', method: 'gptq', bits: 8 },
    ],
  });
  t.like(a, { method: 'gptq', bits: 3, groupSize: 32 });
  t.like(b, { method: 'maly-saab', bits: 3, groupSize: 32 });
  t.like(c, { method: 'msq', bits: 8, groupSize: 32 });
  t.like(lm_head, { action: 'copy' });
});

test('overrides that fit no weight, or contradict each other, say so before any work', async (t) => {
  const { plan } = sample(t);
  for (const [overrides, message] of [
    [
      [
        { layers: '*', bits: 3 },
        { layers: ['a', 'd*'], bits: 3 },
      ],
      /The pattern "d\*" of the "overrides\[1\]\.layers" option matches no tensor of .*in\.safetensors/,
    ],
    [
      [{ layers: 'lm_head', bits: 8 }],
      /"lm_head" of the "overrides\[0\]\.layers" option matches no weight of .* "lm_head\.weight" is not \(a head\)/,
    ],
    [
      [
        { layers: '?', bits: 1 },
        { layers: 'b', grid: 'asymmetric' },
      ],
      /^tensor "b\.weight", of overrides\[0\] and overrides\[1\]: The "asymmetric" grid needs 3 levels/,
    ],
  ] as [NonNullable<CheckpointOptions['overrides']>, RegExp][])
    await t.throwsAsync(plan({ format: 'float', overrides }), { instanceOf: RangeError, message });
});
