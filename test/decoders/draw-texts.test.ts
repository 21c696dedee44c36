import test from 'ava';
import { drawTexts } from '../../lib/decoders/draw-texts';
import { run, withDecoder } from './run';
import { cases, type Golden, weightsIn } from './tiny';

const goldenOf = (name: string) => cases.find((golden) => golden.name === name)!;
const [count, length] = [5, 14];

interface Way {
  start?: number | null;
  texts?: number;
  most?: number;
  threads?: number;
}

const draw = (golden: Golden, { start = 1, texts = count, most, threads = 2 }: Way = {}) =>
  withDecoder(
    { config: golden.config, weights: weightsIn(golden), dtype: 'BF16' },
    length,
    async (decoder) => rowsOf(await drawTexts(decoder, start, [texts, length], { threads }, most)),
    true,
  );

function rowsOf(texts: BigInt64Array): number[][] {
  const ids = [...texts].map(Number);
  return Array.from({ length: ids.length / length }, (_, i) => ids.slice(i * length, (i + 1) * length));
}

const mask = 2n ** 64n - 1n;
/** SplitMix64 of a counter. */
function mixed(counter: bigint): bigint {
  let z = (counter * 0x9e3779b97f4a7c15n) & mask;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
  return z ^ (z >> 31n);
}

/** What is drawn from a row of logits for a text at a place. */
function drawnFrom(logits: Float32Array, text: number, place: number): number {
  const key = mixed((mixed(1n) + BigInt(text) + BigInt(place) * 2n ** 24n) & mask);
  const part = Number(mixed(key) >> 11n) / 2 ** 53;
  const most = Math.max(...logits);
  const shares = [...logits].map((value) => Math.exp(value - most));
  const sum = shares.reduce((all, share) => all + share, 0);
  let before = 0;
  return shares.findIndex((share) => (before += share) > part * sum);
}

for (const name of ['llama', 'gemma2', 'gpt2', 'mixtral', 'smollm3, windows, biases'])
  test(`each token is drawn from what the whole network says of it: ${name}`, async (t) => {
    const golden = goldenOf(name);
    const texts = await draw(golden);
    t.is(texts.length, count);
    const model = { config: golden.config, weights: weightsIn(golden), dtype: 'BF16' as const };
    const logits = await withDecoder(model, length, run(texts));
    const size = logits.length / (count * length);
    for (const [text, own] of texts.entries()) {
      t.is(own[0], 1);
      for (let place = 1; place < length; place++) {
        const at = (text * length + place - 1) * size;
        t.is(own[place], drawnFrom(logits.subarray(at, at + size), text, place - 1), `${text} ${place}`);
      }
    }
  });

test('the same texts whatever their number, the threads and the parts that the network is loaded in', async (t) => {
  const golden = goldenOf('llama');
  const texts = await draw(golden);
  t.deepEqual(await draw(golden, { texts: 2 }), texts.slice(0, 2));
  t.deepEqual(await draw(golden, { threads: 1 }), texts);
  t.deepEqual(await draw(golden, { most: 1 }), texts);
  t.true(new Set(texts.flat()).size > 10);
  const more = await draw(golden, { texts: 40 });
  t.deepEqual(more.slice(0, count), texts);
  t.true(new Set(more.map(String)).size > 20);
});

test('without a token that begins texts, each begins with one of all', async (t) => {
  const texts = await draw(goldenOf('llama'), { start: null, texts: 12 });
  t.true(new Set(texts.map(([first]) => first)).size > 6);
  t.true(texts.flat().every((token) => token >= 0 && token < 40));
});
