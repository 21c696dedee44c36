import test from 'ava';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { brownSentences } from '../../scripts/models/brown-corpus';
import {
  type LineBatch,
  lineBatches,
  lineHeight,
  ocrClasses,
  ocrDetectorPath,
  ocrRecognizerPath,
  readingScore,
  readTexts,
  textLines,
} from '../../scripts/models/ocr';

const sentences = brownSentences({ limit: 120 });
let session: InferenceSession;

test.before(async () => {
  session = await InferenceSession.create(ocrRecognizerPath, { logSeverityLevel: 3 });
});

async function read({ x: { data, dims } }: LineBatch): Promise<string[]> {
  const [output] = Object.values(await session.run({ x: new Tensor('float32', data, dims) }));
  return readTexts(output as { data: Float32Array; dims: readonly number[] });
}

test('the float recognizer errs on about a tenth of the characters', async (t) => {
  const batches = lineBatches(await textLines(sentences), 16);
  const got: string[] = [];
  for (const { feeds } of batches) got.push(...(await read(feeds)));
  const wanted = batches.flatMap(({ texts }) => texts);
  t.is(wanted.length, 120);
  const { characterError, linesRight } = readingScore(wanted, got);
  t.log(characterError, linesRight);
  t.true(characterError > 0.05 && characterError < 0.16, `${characterError}`);
  t.true(linesRight > 0.45 && linesRight < 0.75, `${linesRight}`);
});

test('a line depends on its sentence alone, and what is read on no other line of the batch', async (t) => {
  const lines = await textLines(sentences.slice(0, 24));
  const others = await textLines([...sentences.slice(12, 24), ...sentences.slice(0, 12)]);
  t.deepEqual([...others.slice(12), ...others.slice(0, 12)], lines);
  for (const [i, { text, width, pixels }] of lines.entries()) {
    t.true(sentences[i]!.includes(text) && text.length > 0);
    t.true(width % 32 === 0 && pixels.length === lineHeight * width);
  }
  const together: [string, string][] = [];
  for (const { feeds, texts } of lineBatches(lines, 24))
    for (const [i, text] of (await read(feeds)).entries()) together.push([texts[i]!, text]);
  const alone: [string, string][] = [];
  for (const { feeds, texts } of lineBatches(lines, 1)) alone.push([texts[0]!, (await read(feeds))[0]!]);
  t.deepEqual(together, alone);
});

test('batches hold lines of one width, each once, as −1 to 1 in three colours', async (t) => {
  const lines = await textLines(sentences.slice(0, 30));
  const batches = lineBatches(lines, 3);
  t.deepEqual(batches.flatMap(({ texts }) => texts).sort(), lines.map(({ text }) => text).sort());
  for (const { feeds, texts } of batches) {
    const { data, dims } = feeds.x;
    t.true(texts.length <= 3);
    t.deepEqual(dims.slice(0, 3), [texts.length, 3, lineHeight]);
    const size = lineHeight * dims[3];
    for (const [i, text] of texts.entries()) {
      const { pixels } = lines.find((line) => line.text === text && line.width === dims[3])!;
      for (let color = 0; color < 3; color++)
        for (const pixel of [0, 777, size - 1])
          t.true(Math.abs(data[(3 * i + color) * size + pixel]! - (pixels[pixel]! / 127.5 - 1)) < 1e-6);
    }
  }
});

test('of equal classes in a row the first is read, and nothing stands for nothing', (t) => {
  const classes = ocrClasses();
  t.is(classes.length, 6625);
  t.true([...' !"\'09AZaz-.,;:?()&%$'].every((character) => classes.includes(character)));
  const steps = ['', 'a', 'a', '', 'a', 'b', ' ', ' ', 'c', ''];
  const data = new Float32Array(2 * steps.length * classes.length);
  for (const [step, character] of steps.entries())
    data[step * classes.length + classes.indexOf(character)] = 0.9;
  t.deepEqual(readTexts({ data, dims: [2, steps.length, classes.length] }), ['aab c', '']);
  t.throws(() => readTexts({ data, dims: [2, 50, 2650] }), { instanceOf: RangeError });
});

test('the score counts characters to change, over all lines', (t) => {
  t.deepEqual(readingScore(['abcd', 'efghij'], ['abd', 'efghij']), { characterError: 0.1, linesRight: 0.5 });
  t.deepEqual(readingScore(['ab'], ['xxxxxx']), { characterError: 3, linesRight: 0 });
});

test('the detector runs on a picture', async (t) => {
  const detector = await InferenceSession.create(ocrDetectorPath, { logSeverityLevel: 3 });
  const x = new Tensor('float32', new Float32Array(3 * 64 * 96).fill(0.5), [1, 3, 64, 96]);
  const [map] = Object.values(await detector.run({ x }));
  t.deepEqual(map!.dims, [1, 1, 64, 96]);
});
