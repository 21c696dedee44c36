// Small language models of every architecture, quantized, in transformers: its logits beside those of our own forward of the same weights as floats.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../../lib';
import { inFolder, run } from '../../../test/decoders/run';
import { cases, fusedExperts, weightsIn, writeModel } from '../../../test/decoders/tiny';
import { type Answer, Answers, type Choice } from './answers';
import { ask, compressedReaders } from './environments';

const options = { bits: 4, groupSize: 8, grid: 'integer', method: 'msq' } as const;
/** Of the logits' range. */
const tolerance = 1e-4;

/** Configs as transformers has written them: JavaScript would write 2.0 as 2, which transformers takes for another type. */
function configTexts(): string[] {
  const goldens = join(__dirname, '..', '..', '..', 'test', 'decoders', 'goldens.json');
  const parts = readFileSync(goldens, 'utf8').split('"config":').slice(1);
  return parts.map((part) => part.slice(0, part.indexOf(',"tensors":')));
}

/** Every architecture in the newest transformers; experts as modules of their own and as one tensor. */
export async function tryDecoders(folder: string): Promise<Answers> {
  const answers = new Answers();
  const reader = compressedReaders.filter(({ title }) => title.startsWith('transformers')).at(-1)!;
  const configs = configTexts();
  const jobs: { choice: Choice; folder: string; ids: number[][]; logits: number[] }[] = [];
  for (const [i, golden] of cases.entries()) {
    const weights = weightsIn(golden);
    const [architecture] = golden.config['architectures'] as [string];
    const forms = [weights, ...(architecture.match(/moe|mixtral/i) ? [fusedExperts(weights)] : [])];
    for (const [j, form] of forms.entries()) {
      const input = join(folder, `${i}-${j}`);
      mkdirSync(input);
      writeModel(input, golden.config, form);
      writeFileSync(join(input, 'config.json'), configs[i]!);
      const words = [architecture, j === 0 ? 'as they are' : 'experts in one tensor'];
      const choice = { words, bits: options.bits, tolerance };
      try {
        await quantizeCheckpoint(input, `${input}-out`, options);
      } catch (error) {
        answers.note(choice, reader.title, { failure: (error as Error).message.replace(input, '…') });
        continue;
      }
      await quantizeCheckpoint(input, `${input}-float`, { ...options, format: 'float' });
      const { ids } = golden;
      const logits = [...(await inFolder(`${input}-float`, ids[0]!.length, run(ids)))];
      jobs.push({ choice, folder: `${input}-out`, ids, logits });
    }
  }
  for (const [i, answer] of ask<Answer>(reader, jobs).entries())
    answers.note(jobs[i]!.choice, reader.title, answer);
  return answers;
}
