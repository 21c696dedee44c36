import test from 'ava';
import { OutputErrorSum } from '../../lib/evaluate/output-error';
import { holdUps } from '../event-loop';
import type { ModelOutputs } from '../../lib/compare/types';

const outputs = (
  data: Float32Array | BigInt64Array | Uint16Array,
  dims: number[],
  type?: string,
): ModelOutputs => ({
  y: { data, dims, ...(type && { type }) },
});

async function errorOf(...pairs: [ModelOutputs, ModelOutputs][]) {
  const sum = new OutputErrorSum();
  for (const [wanted, got] of pairs) await sum.add(wanted, got);
  return sum.result();
}

test('by hand: over all feeds together, and the mean cosine of rows', async (t) => {
  const wanted = outputs(Float32Array.of(3, 4, 1, 0), [2, 2]);
  t.deepEqual(await errorOf([wanted, wanted]), { error: 0, cosine: 1, rows: 2 });
  const got = outputs(Float32Array.of(3, 4, 0, 1), [2, 2]);
  t.deepEqual(await errorOf([wanted, got]), { error: Math.sqrt(2 / 26), cosine: 0.5, rows: 2 });
  const more = [outputs(Float32Array.of(5), [1]), outputs(Float32Array.of(-5), [1])] as const;
  const both = await errorOf([wanted, got], [...more]);
  t.is(both!.error, Math.sqrt(102 / 51));
  t.is(both!.cosine, 0);
  t.is((await errorOf([outputs(Float32Array.of(2), []), outputs(Float32Array.of(3), [])]))!.error, 0.5);
});

test('zeros, infinities, other types, other shapes, nothing', async (t) => {
  const zeros = outputs(new Float32Array(4), [2, 2]);
  t.deepEqual(await errorOf([zeros, zeros]), { error: 0, cosine: null, rows: 2 });
  t.deepEqual(await errorOf([zeros, outputs(Float32Array.of(1, 0, 0, 0), [2, 2])]), {
    error: Infinity,
    cosine: 0,
    rows: 2,
  });
  const masked = outputs(Float32Array.of(-Infinity, 3, 4), [1, 3]);
  t.deepEqual(await errorOf([masked, masked]), { error: 0, cosine: 1, rows: 1 });
  t.is((await errorOf([masked, outputs(Float32Array.of(0, 3, 4), [1, 3])]))!.error, Infinity);
  t.is((await errorOf([zeros, outputs(new Float32Array(4), [4])]))!.error, Infinity);
  t.is((await errorOf([zeros, {}]))!.error, Infinity);
  const labels = outputs(BigInt64Array.of(1n), [1]);
  t.is(await errorOf([labels, labels]), null);
  t.is(await errorOf([outputs(new Float32Array(0), [0, 2]), outputs(new Float32Array(0), [0, 2])]), null);
  t.is(await errorOf(), null);
});

test('half precision counts as float does', async (t) => {
  const half = (...bits: number[]) => outputs(Uint16Array.from(bits), [1, bits.length], 'float16');
  const [one, two] = [0x3c00, 0x4000];
  t.deepEqual(await errorOf([half(one, two), half(one, two)]), { error: 0, cosine: 1, rows: 1 });
  t.is((await errorOf([half(two, 0), half(one, 0)]))!.error, 0.5);
  t.is((await errorOf([half(two), outputs(Float32Array.of(2, 0), [1, 2])]))!.error, Infinity);
});

test('large outputs leave the event loop free, be they many rows, one row or labels', async (t) => {
  const count = 2 ** 23;
  const data = new Float32Array(count).fill(1);
  const labels = new BigInt64Array(2 ** 20);
  for (const [values, dims] of [
    [data, [count]],
    [data, [count / 4, 4]],
    [labels, [labels.length]],
  ] as const) {
    const tensor = outputs(values, [...dims]);
    // The best of three: others have the cores now and then.
    let [share, loops] = [1, 0];
    for (; loops < 3 && share > 0.5; loops++) {
      const { longest, total } = await holdUps(() => errorOf([tensor, tensor]));
      share = Math.min(share, longest / total);
      if (total < 60) share = 0;
    }
    t.true(share <= 0.5, `${dims.join(' × ')}: held up for ${share} of the time`);
  }
});
