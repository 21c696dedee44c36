import test from 'ava';
import { join } from 'node:path';
import { LanguageModel } from '../../lib/evaluate/language/language-model';
import { Workspace } from '../../lib/runs/workspace';
import { Heads } from '../../lib/tuning/head';
import { PartRunner } from '../../lib/tuning/part-runner';
import { scaledParts } from '../../lib/tuning/scaled-parts';
import { storedScales } from '../../lib/tuning/stored-scales';
import { ids, models } from './models';

// Derivatives of the divergence by factors of scales, against differences of it.

const feeds = [ids(2, 9), ids(3, 7, 5)];
const batches = [...feeds.keys()];
/** A factor goes up and down by this. Experts are not among the models: a change, however small, may send a token to another one. */
const step = 0.004;

for (const name of ['llama', 'gemma3', 'qwen3', 'phi3', 'gpt2'])
  test(`${name}: in a random direction of the scales of each block`, async (t) => {
    // GPT-2's weights lie transposed, which the format gptq alone holds.
    const format = name === 'gpt2' ? { format: 'gptq_v2' as const, bits: 4, groupSize: 8 } : { bits: 3 };
    const { folder, float, quantized } = await models(t, name, format);
    const opened = [await LanguageModel.open(float, {}), await LanguageModel.open(quantized, {})] as const;
    const workspace = new Workspace(join(folder, 'x'));
    try {
      const [teacher, student] = [opened[0].decoder(9), opened[1].decoder(9)];
      const { checkpoint, packed } = opened[1].stored!;
      const { tunables } = await storedScales(checkpoint, packed, student, undefined);
      const parts = { float: scaledParts(teacher, new Map()), quantized: scaledParts(student, tunables) };
      const options = { workspace, memory: 2 ** 24, signal: undefined };
      const of = {
        float: new PartRunner(teacher, parts.float.slice(0, -1), feeds, options, 'float'),
        quantized: new PartRunner(student, parts.quantized.slice(0, -1), feeds, options, 'quantized'),
      };
      await of.float.forward(
        batches,
        parts.float.map(() => []),
        false,
      );
      const stages = { float: parts.float.at(-1)!.stage, quantized: parts.quantized.at(-1)!.stage };
      const heads = await Heads.load(teacher, student, stages);
      const judge = async (batch: number) =>
        heads.judge(await of.float.hidden(batch), await of.quantized.hidden(batch));
      const divergenceAt = async (factors: readonly (readonly Float32Array[])[]) => {
        await of.quantized.forward(batches, factors, false);
        let sum = 0;
        for (const batch of batches) sum += (await judge(batch)).divergence;
        return sum;
      };
      const ones = of.quantized.parts.map(({ tunables: own }) =>
        own.map(({ shape, groups }) => new Float32Array(shape[0] * groups).fill(1)),
      );
      await of.quantized.forward(batches, ones, true);
      const judged = [await judge(0), await judge(1)];
      t.deepEqual(
        judged.map(({ places }) => places),
        [18, 21],
      );
      const gradients = await of.quantized.back(batches, ones, (batch) => judged[batch]!.cotangent);
      let checked = 0;
      for (const [i, own] of ones.entries()) {
        if (own.length === 0) continue;
        const signs = own.map((one, j) =>
          one.map((_, k) => ((((k + 1) * 2654435761 + j) >>> 7) & 1 ? 1 : -1)),
        );
        const moved = (by: number) =>
          ones.map((all, at) =>
            at === i ? all.map((one, j) => one.map((x, k) => x + by * signs[j]![k]!)) : all,
          );
        const difference =
          ((await divergenceAt(moved(step))) - (await divergenceAt(moved(-step)))) / (2 * step);
        const derivative = gradients[i]!.reduce(
          (sum, one, j) => sum + one.reduce((part, slope, k) => part + slope * signs[j]![k]!, 0),
          0,
        );
        const size = Math.sqrt(
          gradients[i]!.reduce((sum, one) => sum + one.reduce((part, x) => part + x * x, 0), 0),
        );
        t.true(
          Math.abs(difference - derivative) <= 0.02 * size,
          `block ${i}: ${difference} against ${derivative} of ${size}`,
        );
        checked++;
      }
      t.true(checked > 1);
      await heads.release();
    } finally {
      await workspace.end();
      for (const model of opened) await model.close();
    }
  });
