// The development models, with real inputs.
import sharp from 'sharp';
import type { Feeds } from '../../lib';
import { brownSentences } from '../../scripts/models/brown-corpus';
import { loadMnist, pixelsPerImage } from '../../scripts/models/mnist';
import {
  lineBatches,
  ocrClassifierPath,
  ocrDetectorPath,
  ocrRecognizerPath,
  type TextLine,
  textLines,
} from '../../scripts/models/ocr';
import { sentenceBatches, sentenceEncoderPath } from '../../scripts/models/sentence-encoder';
import { fixture } from '../networks/fixtures';

export interface DevelopmentModel {
  name: string;
  path: string;
  feeds: Feeds[];
}

export async function developmentModels(): Promise<DevelopmentModel[]> {
  const sentences = brownSentences({ limit: 64 });
  const lines = await textLines(sentences.slice(0, 16));
  return [
    ...digitModels(),
    { name: 'sentence encoder', path: await sentenceEncoderPath(), feeds: sentenceBatches(sentences, 32) },
    {
      name: 'OCR recognizer',
      path: ocrRecognizerPath,
      feeds: lineBatches(lines, 8).map(({ feeds }) => feeds),
    },
    { name: 'OCR detector', path: ocrDetectorPath, feeds: [await page(lines)] },
    { name: 'OCR classifier', path: ocrClassifierPath, feeds: [crops(lines)] },
  ];
}

/** Networks that are in the repository. */
export function digitModels(): DevelopmentModel[] {
  return [
    { name: 'MNIST, mlp', path: fixture('mnist-mlp.onnx'), feeds: [digits([pixelsPerImage])] },
    { name: 'MNIST, cnn', path: fixture('mnist-cnn.onnx'), feeds: [digits([1, 28, 28])] },
  ];
}

function digits(shape: readonly number[]): Feeds {
  const count = 256;
  const data = loadMnist().test.images.subarray(0, count * pixelsPerImage);
  return { image: { data, dims: [count, ...shape] } };
}

/** Lines under each other on a page, as the detector gets pictures: (x/255 − mean)/std by channel. */
async function page(lines: readonly TextLine[]): Promise<Feeds> {
  const [height, width] = [640, 960];
  const shown = lines.slice(0, 12).map(({ pixels, width: wide }, i) => ({
    input: Buffer.from(pixels),
    raw: { width: wide, height: pixels.length / wide, channels: 1 as const },
    top: 20 + 50 * i,
    left: 20,
  }));
  const fitting = shown.filter(({ raw }) => raw.width + 40 <= width);
  const grey = await sharp({ create: { width, height, channels: 3, background: '#e8e8e8' } })
    .composite(fitting)
    .removeAlpha()
    .raw()
    .toBuffer();
  const [mean, std] = [
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
  ];
  const size = height * width;
  const data = new Float32Array(3 * size);
  for (let i = 0; i < size; i++)
    for (let c = 0; c < 3; c++) data[c * size + i] = (grey[3 * i + c]! / 255 - mean[c]!) / std[c]!;
  return { x: { data, dims: [1, 3, height, width] } };
}

/** The beginnings of lines, as wide as the classifier takes them. */
function crops(lines: readonly TextLine[]): Feeds {
  const [height, width] = [48, 192];
  const wide = lines.filter((line) => line.width >= width);
  const data = new Float32Array(wide.length * 3 * height * width);
  for (const [n, line] of wide.entries())
    for (let c = 0; c < 3; c++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++)
          data[((n * 3 + c) * height + y) * width + x] = (line.pixels[y * line.width + x]! / 255 - 0.5) / 0.5;
  return { x: { data, dims: [wide.length, 3, height, width] } };
}
