// Checkpoints for readers: a small model shaped like Llama, in float32, float16 and bfloat16.
import { join } from 'node:path';
import { type CheckpointOptions, type Grid, quantizeCheckpoint } from '../../../lib';
import type { FloatDtype } from '../../../lib/containers/safetensors/dtypes';
import { makeCheckpoint } from '../../checkpoint/make';
import { type Answer, Answers, type Choice } from './answers';
import { ask, compressedReaders, gptqReaders, type Reader } from './environments';

/** Logits of sums of float32 in another order; of weights whose dequantized values a reader rounds to their own type. */
const tolerances: Partial<Record<FloatDtype, number>> = { F32: 1e-4, F16: 2e-3, BF16: 1e-2 };
const shape = { hidden: 256, intermediate: 704, layers: 2, vocabulary: 1000, giant: null };

type Width = NonNullable<CheckpointOptions['bits']>;

interface Way {
  choice: Choice;
  dtype: FloatDtype;
  options: CheckpointOptions;
}

/** All of float32; of what else there is, those that most take. */
const widthsOf = (
  formats: readonly string[],
  dtype: FloatDtype,
  groupSize: number | 'channel',
): readonly Width[] => {
  if (formats.includes('gptq')) return groupSize === 'channel' ? [4, 8] : [2, 3, 4, 8];
  return dtype === 'F32' ? [1, 2, 3, 4, 5, 6, 7, 8] : [4, 8];
};

function ways(
  formats: readonly ('compressed-tensors' | 'gptq' | 'gptq_v2')[],
  dtypes: readonly FloatDtype[],
): Way[] {
  const list: Way[] = [];
  for (const format of formats)
    for (const dtype of dtypes)
      for (const grid of ['integer', 'full-range', 'asymmetric'] as const satisfies Grid[])
        for (const groupSize of [32, 'channel'] as const)
          for (const bits of widthsOf(formats, dtype, groupSize))
            list.push({
              choice: {
                words: [...(formats.length > 1 ? [format] : []), dtype, grid, String(groupSize)],
                bits,
                tolerance: tolerances[dtype]!,
              },
              ...{ dtype, options: { format, grid, groupSize, bits, method: 'msq' } },
            });
  return list;
}

/** All ways of writing in all readers, which compute in `computed` where they are asked. A way that is refused before work is left out. */
async function attempt(
  folder: string,
  all: readonly Way[],
  readers: readonly Reader[],
  computed: 'float32' | 'bfloat16',
): Promise<Answers> {
  const answers = new Answers();
  const jobs: { choice: Choice; folder: string; reference: string; dtype: string }[] = [];
  for (const { choice, dtype, options } of all) {
    const input = join(folder, dtype);
    if (!jobs.some(({ choice: { words } }) => words.includes(dtype)))
      await makeCheckpoint(input, shape, dtype);
    const place = join(folder, `${jobs.length}`);
    try {
      await quantizeCheckpoint(input, place, options);
    } catch (error) {
      if (error instanceof RangeError) continue;
      throw error;
    }
    await quantizeCheckpoint(input, `${place}-float`, { ...options, format: 'float' });
    jobs.push({ choice, folder: place, reference: `${place}-float`, dtype: computed });
  }
  for (const reader of readers)
    for (const [i, answer] of ask<Answer>(reader, jobs).entries())
      answers.note(jobs[i]!.choice, reader.title, answer, reader.tolerance);
  return answers;
}

export const tryCompressed = (folder: string): Promise<Answers> =>
  attempt(folder, ways(['compressed-tensors'], ['F32', 'F16', 'BF16']), compressedReaders, 'float32');

export const tryGptq = (folder: string): Promise<Answers> =>
  attempt(folder, ways(['gptq', 'gptq_v2'], ['F16']), gptqReaders, 'bfloat16');
