import test, { type ExecutionContext } from 'ava';
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../lib/index';
import { killAndResume } from '../../scripts/kills/kill-and-resume';
import { depth, networkRuns, products, width } from '../../scripts/kills/runs';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { formatNpz } from '../containers/npy/make-npz';
import { files, folder as folderOf, random } from './networks';
import { sameBytes } from '../files/same-bytes';

const model = products();

/** The network, data for it, and where its output goes. */
function setUp(t: ExecutionContext) {
  const { input, output } = files(t, model);
  const folder = dirname(input);
  const data = (seed: number) => {
    const path = join(folder, `data${seed}.npz`);
    writeFileSync(path, formatNpz(new Map([['x', { data: random(300 * width, seed), dims: [300, width] }]])));
    return path;
  };
  const options = { calibration: data(7), bits: 3, groupSize: 16, threads: 1 } as const;
  return { folder, input, output, data, options, work: `${output}.vertexq` };
}

/** What an undisturbed run writes. */
async function wholeOf(input: string, folder: string, options: ModelOptions): Promise<Buffer> {
  const path = join(folder, 'whole.onnx');
  await quantizeModel(input, path, options);
  const bytes = readFileSync(path);
  rmSync(path);
  return bytes;
}

/** A run that ends when as many layers are fitted. */
async function interrupted(input: string, output: string, options: ModelOptions, layers: number) {
  const controller = new AbortController();
  const done = new Set<number>();
  await quantizeModel(input, output, {
    ...options,
    signal: controller.signal,
    onProgress: ({ layerIndex }) => {
      if (layerIndex !== undefined) done.add(layerIndex);
      if (done.size > layers) controller.abort(new Error('stop'));
    },
  }).catch(() => {});
}

test('a network whose run is killed at any moment goes on, and has the same bytes', async (t) => {
  const runs = networkRuns(folderOf(t));
  const random = mulberry32(17);
  // `npm run kills` does more.
  for (const run of [runs[0]!, runs[1]!]) t.log(await killAndResume(run, 3, random));
  t.pass();
});

test('what an interrupted run has fitted is not fitted again, but what is damaged', async (t) => {
  const { folder, input, output, options, work } = setUp(t);
  const expected = await wholeOf(input, folder, options);
  for (const damage of ['none', 'journal', 'layers'] as const) {
    await interrupted(input, output, options, 3);
    t.false(existsSync(output));
    await t.throwsAsync(quantizeModel(input, output, options), {
      code: 'ERR_VERTEXQ_RESUME',
      message: /holds the work of an interrupted run: go on with it with "resume"/,
    });
    if (damage === 'journal') appendFileSync(join(work, 'journal'), '0123456789abcdef ["half a li');
    if (damage === 'layers') {
      const path = join(work, 'layers.part');
      truncateSync(path, statSync(path).size / 3 + 10);
    }
    const { resumed, layers } = await quantizeModel(input, output, { ...options, resume: true });
    t.is(resumed, (damage === 'layers' ? 1 : 3) * width * width * 4, damage);
    t.is(layers.length, depth);
    sameBytes(t, readFileSync(output), expected, damage);
    t.false(existsSync(work));
    rmSync(output);
  }
});

test('a run of something else is not gone on with; what changes no bytes may change', async (t) => {
  const { folder, input, output, data, options, work } = setUp(t);
  const expected = await wholeOf(input, folder, options);
  await interrupted(input, output, options, 2);
  const other = data(8);
  for (const [changes, what] of [
    [{ bits: 4 }, /its options\.bits was 3 and is now 4/],
    [{ calibration: other }, /its data\.calibration was/],
    [{ holdout: 0.3 }, /its data\.calibration was|its options\.holdout/],
    [{ batchSize: 7 }, /its data\.calibration was|its options\.batchSize/],
  ] as const)
    await t.throwsAsync(quantizeModel(input, output, { ...options, ...changes, resume: true }), {
      code: 'ERR_VERTEXQ_RESUME',
      message: what,
    });
  // The work of other kernels.
  const manifest = join(work, 'manifest.json');
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replace(/"simd": "[^"]*"/, '"simd": "abacus"'));
  await t.throwsAsync(quantizeModel(input, output, { ...options, resume: true }), {
    code: 'ERR_VERTEXQ_RESUME',
    message: /computed by other kernels: its kernels\.simd was "abacus"/,
  });
  const { warnings, resumed } = await quantizeModel(input, output, {
    ...options,
    ...{ resume: true, otherKernels: true, threads: 2, memory: 0 },
  });
  t.is(resumed, 2 * width * width * 4);
  t.regex(warnings.join('\n'), /computed by other kernels/);
  sameBytes(t, readFileSync(output), expected);
});

test('two runs to one output: the second is refused, whatever they write', async (t) => {
  const { input, output, options, work } = setUp(t);
  const first = quantizeModel(input, output, options);
  while (!existsSync(work)) await new Promise((resolve) => setTimeout(resolve, 1));
  const outcomes = await Promise.allSettled([first, quantizeModel(input, output, options)]);
  const [one, two] = outcomes.map((outcome) =>
    outcome.status === 'rejected' ? (outcome.reason as { code: string }).code : 'done',
  );
  t.deepEqual([one, two], ['done', 'ERR_VERTEXQ_LOCKED']);
});

test('a run that had fitted nothing leaves nothing, and one that was killed then is begun anew', async (t) => {
  const { folder, input, output, options, work } = setUp(t);
  await t.throwsAsync(
    quantizeModel(input, output, {
      ...options,
      onProgress: () => {
        throw new Error('at once');
      },
    }),
  );
  t.deepEqual(readdirSync(folder).sort(), ['data7.npz', 'in.onnx']);
  await interrupted(input, output, options, 2);
  writeFileSync(join(work, 'journal'), '');
  const { resumed } = await quantizeModel(input, output, { ...options, bits: 4 });
  t.is(resumed, 0);
  t.false(existsSync(work));
});
