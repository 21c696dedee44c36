import test, { type ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { inFolder, run } from './run';
import { cases, weightsIn, writeModel } from './tiny';

const options: CheckpointOptions = { bits: 4, groupSize: 16 };
const [vocabulary, more] = [40, 8];

/** The network that is written, and the folder of what its weights stand for. */
async function bothOf(t: ExecutionContext, name: string): Promise<[network: string, float: string]> {
  const { config, ...golden } = cases.find((one) => one.name === name)!;
  const folder = temporaryFolder(t);
  const at = (part: string) => join(folder, part);
  mkdirSync(at('model'));
  writeModel(at('model'), config, weightsIn({ config, ...golden }));
  writeFileSync(join(at('model'), 'tokenizer.json'), '{}');
  await quantizeCheckpoint(at('model'), at('network'), { ...options, format: 'onnx' });
  // Its grid is the network's.
  await quantizeCheckpoint(at('model'), at('float'), { ...options, format: 'float', grid: 'asymmetric' });
  return [at('network'), at('float')];
}

for (const name of ['llama', 'gemma3', 'qwen3', 'gpt2'])
  test.serial(
    `transformers.js loads the network, and goes on with texts as the quantized weights do: ${name}`,
    async (t) => {
      const { AutoModelForCausalLM, Tensor } = await import('@huggingface/transformers');
      const [network, float] = await bothOf(t, name);
      const model = await AutoModelForCausalLM.from_pretrained(network, { local_files_only: true });
      t.teardown(() => model.dispose());
      // One begins with padding.
      const given = [
        [0, 10, 34, 32, 4],
        [0, 0, 15, 39, 37],
      ];
      const begins = [0, 2];
      const all = (of: (text: number, place: number) => number) =>
        new Tensor(
          'int64',
          BigInt64Array.from(given.flatMap((ids, text) => ids.map((_, place) => BigInt(of(text, place))))),
          [given.length, given[0]!.length],
        );
      const input_ids = all((text, place) => given[text]![place]!);
      const attention_mask = all((text, place) => Number(place >= begins[text]!));
      const { logits } = (await model({ input_ids, attention_mask })) as { logits: { data: Float32Array } };
      const made = (await model.generate({
        inputs: input_ids,
        ...{ attention_mask, max_new_tokens: more, do_sample: false, eos_token_id: vocabulary },
      })) as { data: BigInt64Array; dims: number[] };
      t.deepEqual(made.dims, [given.length, given[0]!.length + more]);

      for (const [text, begin] of begins.entries()) {
        const length = given[text]!.length;
        const tokens = [...made.data].slice(text * (length + more), (text + 1) * (length + more)).map(Number);
        const ids = tokens.slice(begin);
        const own = await inFolder(float, ids.length, run([ids]));
        const range = Math.max(...own) - Math.min(...own);
        for (let place = begin; place < length + more; place++) {
          const row = own.subarray((place - begin) * vocabulary, (place - begin + 1) * vocabulary);
          if (place < length) {
            const at = (text * length + place) * vocabulary;
            const worst = row.reduce((most, x, i) => Math.max(most, Math.abs(x - logits.data[at + i]!)), 0);
            t.true(worst <= 1e-3 * range, `text ${text}, place ${place}: off by ${worst} of ${range}`);
          }
          // The likeliest token follows.
          if (place >= length - 1 && place + 1 < length + more)
            t.is(tokens[place + 1], row.indexOf(Math.max(...row)), `text ${text}, place ${place}`);
        }
      }
    },
  );
