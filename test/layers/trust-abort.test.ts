import test from 'ava';
import { type Method, preprocess, quantizeLayer, VertexqError } from '../../lib/index';
import { normals } from './data';

const n = 2500;

/** Entries that fall off along the diagonal, as of a sequence; less `below` in the direction of all ones. */
function sequenceGram(below = 0): Float64Array {
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) gram[i * n + j] = gram[j * n + i] = 0.999 ** (i - j) - below;
  return gram;
}

/** Of 400 float32 rows, rounded as sums of float32 products are. */
function roundedGram(): Float64Array {
  const gram = sequenceGram();
  // Inputs in pairs of the same: half of the eigenvalues are 0 but for rounding.
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) gram[i * n + j] = gram[(i & ~1) * n + (j & ~1)]!;
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++)
      gram[i * n + j] = gram[j * n + i] = gram[i * n + j]! * (1 + 1e-7 * Math.sin(i * 7919 + j * 104729));
  return gram;
}

const grams = {
  'a Gram matrix': sequenceGram(),
  'one that float32 sums have bent': roundedGram(),
  'one that is none': sequenceGram(0.9),
};

/** Processor time of this process, in seconds, until its threads have been idle for a while. */
async function timeUntilIdle(from: NodeJS.CpuUsage): Promise<number> {
  for (;;) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 700));
    const { user, system } = process.cpuUsage(before);
    if (user + system > 20_000) continue;
    const all = process.cpuUsage(from);
    return (all.user + all.system) / 1e6;
  }
}

const everyMethod = ['preprocess', 'maly-saab', 'msq', 'vertex', 'gptq', 'gpfq'] as const;

for (const [name, gram] of Object.entries(grams))
  // The others look at a matrix as these do.
  for (const method of name === 'a Gram matrix' ? everyMethod : (['maly-saab', 'vertex'] as const))
    test.serial(`trust 20: ${method} lets go of ${name} within a second of an abort`, async (t) => {
      const layer = { weight: normals(64 * n, 3), outFeatures: 64, inFeatures: n, gram };
      for (const delay of [250, 1500]) {
        const abort = new AbortController();
        const { signal } = abort;
        const run =
          method === 'preprocess'
            ? preprocess(layer, { signal })
            : quantizeLayer(layer, { method: method satisfies Method, signal });
        const done = run.then(
          () => null,
          (error: unknown) => error,
        );
        await new Promise((resolve) => setTimeout(resolve, delay));
        // What else runs on the machine is none of ours.
        const before = process.cpuUsage();
        abort.abort();
        const error = await done;
        const seconds = await timeUntilIdle(before);
        t.true(seconds < 1, `${seconds} s after ${delay} ms`);
        if (error instanceof VertexqError) t.is(error.code, 'ERR_VERTEXQ_GRAM');
        else if (error !== null) t.is((error as Error).name, 'AbortError');
      }
    });
