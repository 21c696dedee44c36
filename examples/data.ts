// Makes the data of the examples, as files that the command line takes too: npx tsx examples/data.ts
import { existsSync } from 'node:fs';
import { copyFile, mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { brownSentences } from '../scripts/models/brown-corpus';
import { loadMnist, pixelsPerImage } from '../scripts/models/mnist';
import { lineHeight, ocrRecognizerPath, textLines } from '../scripts/models/ocr';
import { sentenceBatches, sentenceEncoderPath } from '../scripts/models/sentence-encoder';

export const folder = join(__dirname, '..', '.cache', 'examples');

/** Sentences as the encoder takes them, one a line: for the fit, and others to judge by. */
async function sentences(): Promise<void> {
  const all = brownSentences({ limit: 960 });
  for (const [name, own] of [
    ['sentences.jsonl', all.filter((_, i) => i % 6 !== 0)],
    ['other-sentences.jsonl', all.filter((_, i) => i % 6 === 0)],
  ] as const) {
    const lines = sentenceBatches(own, 1).map(({ ids, mask }) =>
      JSON.stringify({ ids: Array.from(ids.data, Number), mask: Array.from(mask.data) }),
    );
    await writeFile(join(folder, name), `${lines.join('\n')}\n`);
  }
  await copyFile(await sentenceEncoderPath(), join(folder, 'sentence-encoder.onnx'));
}

/** Digits as a NumPy array [images, 784] of float32. */
async function digits(): Promise<void> {
  const { train, test } = loadMnist();
  for (const [name, { images }, count] of [
    ['digits.npy', train, 2048],
    ['other-digits.npy', test, 2000],
  ] as const) {
    const shape = `{'descr': '<f4', 'fortran_order': False, 'shape': (${count}, ${pixelsPerImage}), }`;
    const header = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${shape.padEnd(117)}\n`, 'latin1');
    const data = Float32Array.from(images.subarray(0, count * pixelsPerImage));
    await writeFile(join(folder, name), Buffer.concat([header, Buffer.from(data.buffer)]));
  }
  await copyFile(join(__dirname, '..', 'test', 'fixtures', 'mnist-mlp.onnx'), join(folder, 'mnist.onnx'));
}

/** Lines of text as pictures. */
async function lines(): Promise<void> {
  const rendered = await textLines(brownSentences({ limit: 72 }));
  for (const [i, { pixels, width }] of rendered.entries()) {
    const own = join(folder, i % 3 === 0 ? 'other-lines' : 'lines');
    await mkdir(own, { recursive: true });
    const raw = { width, height: lineHeight, channels: 1 as const };
    await sharp(pixels, { raw })
      .png()
      .toFile(join(own, `${String(i).padStart(3, '0')}.png`));
  }
  await copyFile(ocrRecognizerPath, join(folder, 'ocr.onnx'));
}

/** Resolves to the folder, with all in it. */
export async function exampleData(): Promise<string> {
  const finished = join(folder, 'finished');
  if (existsSync(finished)) return folder;
  await mkdir(folder, { recursive: true });
  for (const make of [sentences, digits, lines]) await make();
  await writeFile(`${finished}.tmp`, '');
  await rename(`${finished}.tmp`, finished);
  return folder;
}

if (require.main === module) void exampleData().then(console.log);
