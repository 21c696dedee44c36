import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { preprocess, type Grid, type Preprocessed, type PreprocessOptions } from '../../lib/index';
import { integers, norm, normals, outputNorm, product, random } from './data';

interface Layer {
  x: Float64Array;
  w: Float64Array;
  inFeatures: number;
  outFeatures: number;
  /** At least rank(X), known from how X was made. */
  rank: number;
}

const kinds = ['random', 'low rank', 'twins', 'zeros', 'tall', 'one sample', 'scaled', 'constant'] as const;

function makeLayer(
  kind: (typeof kinds)[number],
  seed: number,
  inFeatures: number,
  outFeatures: number,
): Layer {
  const next = random(seed);
  const n = inFeatures;
  let samples = 1 + Math.floor(next() * n);
  if (kind === 'tall') samples = n + 1 + Math.floor(next() * 20);
  if (kind === 'one sample') samples = 1;
  let x = normals(samples * n, seed + 1);
  let rank = Math.min(samples, n);
  if (kind === 'low rank') {
    rank = Math.min(rank, 1 + Math.floor(next() * 4));
    x = product(integers(samples * rank, 4, seed + 2), integers(rank * n, 4, seed + 3), samples, rank, n);
  }
  if (kind === 'twins') {
    const source = Array.from({ length: n }, () => Math.floor((next() * n) / 2));
    x = x.map((_, k) => x[k - (k % n) + source[k % n]!]!);
    rank = Math.min(rank, new Set(source).size);
  }
  if (kind === 'zeros') {
    const kept = Array.from({ length: n }, () => next() < 0.6);
    x = x.map((value, k) => (kept[k % n]! ? value : 0));
    rank = Math.min(rank, kept.filter(Boolean).length);
  }
  if (kind === 'scaled') {
    const scales = Array.from({ length: n }, () => 10 ** (-8 * next()));
    x = x.map((value, k) => value * scales[k % n]!);
  }
  if (kind === 'constant') x.fill(1, 0, n);
  // A third of the layers have ties: weights from a few values, the largest included.
  const w = next() < 0.33 ? integers(outFeatures * n, 2, seed + 4) : normals(outFeatures * n, seed + 4);
  return { x, w, inFeatures, outFeatures, rank };
}

const layers = fc
  .record({
    kind: fc.constantFrom(...kinds),
    seed: fc.nat(),
    inFeatures: fc.oneof(fc.constantFrom(1, 2, 3, 13, 31, 61), fc.integer({ min: 4, max: 48 })),
    outFeatures: fc.integer({ min: 1, max: 5 }),
  })
  .map(({ kind, seed, inFeatures, outFeatures }) => makeLayer(kind, seed, inFeatures, outFeatures));

const alphabets: fc.Arbitrary<{ bits?: number; levels?: number; grid?: Grid }> = fc.constantFrom(
  { bits: 1 },
  { bits: 2 },
  { bits: 3 },
  { bits: 4 },
  { levels: 3 },
  { bits: 2, grid: 'integer' as const },
  { bits: 4, grid: 'integer' as const },
  { bits: 8, grid: 'zero-free' as const },
  { bits: 2, grid: 'asymmetric' as const },
  { bits: 4, grid: 'asymmetric' as const },
);
const groupSizes = fc.constantFrom<number | 'channel'>('channel', 1, 3, 5, 7, 16, 100);

function run(layer: Layer, options: PreprocessOptions): Promise<Preprocessed> {
  const { x, w, inFeatures, outFeatures } = layer;
  return preprocess({ weight: w, activations: x, inFeatures, outFeatures }, { threads: 1, ...options });
}

const row = (values: Float64Array, neuron: number, width: number) =>
  values.subarray(neuron * width, (neuron + 1) * width);

/** The levels of each of an answer's alphabets, ascending. */
function levelsOf(done: Preprocessed, grid: Grid): number[][] {
  const bits = Math.ceil(Math.log2(done.levels));
  const least = grid === 'asymmetric' ? -(2 ** (bits - 1)) : -Math.floor(done.levels / 2);
  return Array.from(done.scales, (scale, k) =>
    Array.from({ length: done.levels }, (_, i) => {
      if (i === 0) return done.lowest[k]!;
      return i === done.levels - 1 ? done.highest[k]! : (least + i - done.zeroPoints[k]!) * scale;
    }),
  );
}

function gridOf(options: PreprocessOptions): Grid {
  return (options.grid as Grid | undefined) ?? (options.levels === 3 ? 'integer' : 'zero-free');
}

/** What holds whatever the box and the alphabet. */
function checkWalk(layer: Layer, options: PreprocessOptions, done: Preprocessed): void {
  const { x, w, inFeatures: n, outFeatures, rank } = layer;
  let [moved, signal] = [0, 0];
  const groups = Math.ceil(n / done.groupSize);
  const alphabet = levelsOf(done, gridOf(options));
  if (done.rank > rank) throw new Error(`rank ${done.rank}, not at most ${rank}`);
  for (let neuron = 0; neuron < outFeatures; neuron++) {
    const [before, after] = [row(w, neuron, n), row(done.weight, neuron, n)];
    const [change, size] = [outputNorm(x, after, before), outputNorm(x, before)];
    moved = Math.hypot(moved, change);
    signal = Math.hypot(signal, size);
    if (size > 1e-3 * norm(x) * norm(before) && change > 1e-9 * size)
      throw new Error(`neuron ${neuron} moved by ${change / size}`);
    const free = new Set(done.free[neuron]);
    let inside = 0; // on a level that is not ±c: by chance, and only in the last basis
    if (free.size > rank) throw new Error(`${free.size} free entries at rank ${rank}`);
    const rounded = after.map((value, i) => {
      const levels = alphabet[neuron * groups + Math.floor(i / done.groupSize)]!;
      const start = i - (i % done.groupSize);
      const c = Math.max(...before.subarray(start, start + done.groupSize).map(Math.abs));
      if (gridOf(options) !== 'asymmetric' && Math.abs(value) > c)
        throw new Error(`${value} is beyond ±${c}`);
      if (value < levels[0]! || value > levels.at(-1)!) throw new Error(`${value} is out of the alphabet`);
      if (levels.includes(value) === free.has(i))
        throw new Error(`"free" is wrong about ${value} (input ${i})`);
      if (options.box === 'cell') {
        const below = levels.findLast((level) => level <= before[i]!) ?? NaN;
        const above = levels.find((level) => level >= before[i]!) ?? NaN;
        if (!(value >= below && value <= above)) throw new Error(`${value} left [${below}, ${above}]`);
      } else if (gridOf(options) !== 'asymmetric' && !free.has(i) && Math.abs(value) !== c) {
        inside++;
      }
      return levels.reduce((best, level) =>
        Math.abs(level - value) < Math.abs(best - value) ? level : best,
      );
    });
    if (free.size + inside > rank)
      throw new Error(`${free.size} + ${inside} entries are not ±c at rank ${rank}`);
    const error = outputNorm(x, before, rounded);
    const slack = 1e-12 * norm(x) * norm(before);
    if (!(error <= done.bound[neuron]! + slack))
      throw new Error(`error ${error}, bound ${done.bound[neuron]}`);
  }
  if (signal > 1e-6 * norm(x) * norm(w) && moved > 1e-9 * signal)
    throw new Error(`layer moved by ${moved / signal}`);
  if (Math.abs(done.residual! * signal - moved) > 1e-11 * norm(x) * norm(w))
    throw new Error(`residual ${done.residual}, not ${moved / signal}`);
}

async function holds(
  t: ExecutionContext,
  box: 'saturate' | 'cell',
  groups: typeof groupSizes,
  numRuns: number,
) {
  await fc.assert(
    fc.asyncProperty(layers, alphabets, groups, async (layer, alphabet, groupSize) => {
      const options: PreprocessOptions = { ...alphabet, box, groupSize };
      checkWalk(layer, options, await run(layer, options));
    }),
    { numRuns },
  );
  t.pass();
}

test('saturate: outputs stay, at most rank(X) entries are free, the bound holds', (t) =>
  holds(t, 'saturate', fc.constant<'channel'>('channel'), 600));
test('saturate in groups', (t) => holds(t, 'saturate', groupSizes, 400));
test('cell: outputs stay, each weight stays between its two levels, the bound holds', (t) =>
  holds(t, 'cell', fc.constant<'channel'>('channel'), 600));
test('cell in groups', (t) => holds(t, 'cell', groupSizes, 400));

test('with saturate all entries but rank(X) are ±c bit for bit', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      layers,
      fc.constantFrom({ bits: 1 }, { levels: 3 }, { bits: 4 }),
      async (layer, alphabet) => {
        const done = await run(layer, alphabet);
        const n = layer.inFeatures;
        for (let neuron = 0; neuron < layer.outFeatures; neuron++) {
          const c = Math.max(...row(layer.w, neuron, n).map(Math.abs));
          const others = row(done.weight, neuron, n).filter((value) => Math.abs(value) !== c).length;
          if (others > layer.rank) throw new Error(`${others} entries are not ±${c} at rank ${layer.rank}`);
        }
      },
    ),
    { numRuns: 400 },
  );
  t.pass();
});

test('Float32 inputs give what their Float64 copies give', async (t) => {
  await fc.assert(
    fc.asyncProperty(layers, alphabets, async ({ x, w, inFeatures, outFeatures }, alphabet) => {
      const [weight, activations] = [Float32Array.from(w), Float32Array.from(x)];
      const single = await preprocess({ weight, activations, inFeatures, outFeatures }, alphabet);
      const twice = await preprocess(
        {
          weight: Float64Array.from(weight),
          activations: Float64Array.from(activations),
          inFeatures,
          outFeatures,
        },
        alphabet,
      );
      t.deepEqual(single, twice);
    }),
    { numRuns: 100 },
  );
});

test('a limited rank leaves at most so many entries free, and the bound still holds', async (t) => {
  await fc.assert(
    fc.asyncProperty(layers, fc.nat(8), async (layer, limit) => {
      const { x, w, inFeatures: n, outFeatures } = layer;
      const done = await run(layer, { rank: limit, bits: 1 });
      if (done.rank > limit) throw new Error(`rank ${done.rank} of at most ${limit}`);
      for (let neuron = 0; neuron < outFeatures; neuron++) {
        const free = done.free[neuron]!.length;
        if (free > limit) throw new Error(`${free} free entries of at most ${limit}`);
        const [before, after] = [row(w, neuron, n), row(done.weight, neuron, n)];
        const c = Math.max(...before.map(Math.abs));
        const error = outputNorm(
          x,
          before,
          after.map((value) => (value > 0 ? c : -c)),
        );
        if (!(error <= done.bound[neuron]! + 1e-12 * norm(x) * norm(before)))
          throw new Error(`error ${error}, bound ${done.bound[neuron]}`);
      }
    }),
    { numRuns: 200 },
  );
  t.pass();
});

test('by hand: one sample (1, 1, 0), weights (½, −¾, 1)', async (t) => {
  const done = await preprocess(
    {
      weight: Float64Array.of(0.5, -0.75, 1),
      activations: Float64Array.of(1, 1, 0),
      inFeatures: 3,
      outFeatures: 1,
    },
    { bits: 1 },
  );
  // ŵ₁ + ŵ₂ = −¼ and one of them is ±1: of (¾, −1), a step of ¼ away, and (−1, ¾) the walk takes the nearer.
  t.deepEqual([...done.weight], [0.75, -1, 1]);
  t.deepEqual(
    done.free.map((indices) => [...indices]),
    [[0]],
  );
  t.is(done.rank, 1);
  t.is(done.residual, 0);
  t.deepEqual([...done.scales], [2]);
  t.deepEqual([...done.zeroPoints], [-0.5]);
  t.deepEqual([...done.lowest, ...done.highest], [-1, 1]);
  t.deepEqual([...done.bound], [1]); // half a step, 1, times ‖x₁‖ = 1
  t.is(done.levels, 2);
  t.is(done.groupSize, 3);
});
