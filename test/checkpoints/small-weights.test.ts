import test, { type ExecutionContext } from 'ava';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, planCheckpoint, quantizeCheckpoint } from '../../lib/index';
import type { FloatDtype } from '../../lib/containers/safetensors/dtypes';
import { temporaryFolder } from '../files/temporary-folder';
import { fileOf, numbers, tensor, type Tensors, writeFolder } from './make';
import { readAll } from './unpack';
import { typescript } from '../typescript';
import { sameBytes } from '../files/same-bytes';

const repository = join(__dirname, '..', '..');
const dtypes: readonly FloatDtype[] = ['F32', 'BF16', 'F16', 'F64'];

/** Many small weights of several dtypes, heights and widths, with tensors between that are copied, of every alignment. */
function mixed(count: number): Tensors {
  const tensors: Tensors = {};
  for (let i = 0; i < count; i++) {
    const dtype = dtypes[(i % 7) % 4]!;
    const shape = [8 * (1 + (i % 5)) + (i % 11 === 0 ? 3 : 0), 8 * (1 + (i % 3))];
    tensors[`layers.${i}.proj.weight`] = tensor(dtype, shape, i);
    if (i % 4 === 1) tensors[`layers.${i}.norm.weight`] = tensor('BF16', [1 + (i % 6)], i);
    if (i % 9 === 2)
      tensors[`layers.${i}.mask`] = { dtype: 'U8', shape: [i % 5], data: Buffer.alloc(i % 5, i) };
    if (i % 50 === 3)
      tensors[`layers.${i}.steps`] = { dtype: 'I64', shape: [2], data: new Uint8Array(16).fill(i) };
    // Larger than those that are done together.
    if (i % 200 === 4) tensors[`layers.${i}.wide.weight`] = tensor('BF16', [64, 1024], i);
    if (i % 200 === 5) tensors[`layers.${i}.table`] = tensor('F32', [40_000], i);
  }
  return tensors;
}

/** The same in files of so few tensors that each is done by itself. */
function shardsOf(tensors: Tensors): Tensors[] {
  const entries = Object.entries(tensors);
  const shards: Tensors[] = [];
  for (let i = 0; i < entries.length; i += 400) shards.push(Object.fromEntries(entries.slice(i, i + 400)));
  return shards;
}

const cases: Record<string, CheckpointOptions> = {
  symmetric: { bits: 4 },
  'with zero points, in groups': { bits: 3, grid: 'asymmetric', groupSize: 8, scale: 'max' },
  'with other bits for some': { bits: 8, overrides: [{ layers: '*7.proj', bits: 2, groupSize: 'channel' }] },
  gptq: { format: 'gptq', bits: 4, groupSize: 8 },
  gptq_v2: { format: 'gptq_v2', bits: 4 },
  'on a grid': { format: 'float', grid: 'zero-free', levels: 4 },
};

for (const [name, options] of Object.entries(cases))
  test(`trust 16: many small weights are done together and become what each becomes by itself: ${name}`, async (t) => {
    const folder = temporaryFolder(t);
    const at = (own: string) => join(folder, own);
    const tensors = mixed(600);
    writeFileSync(at('in.safetensors'), fileOf(tensors));
    writeFolder(at('in'), shardsOf(tensors));
    let [together, alone] = [0, 0];
    const one = await quantizeCheckpoint(at('in.safetensors'), at('out.safetensors'), {
      ...options,
      onProgress: () => together++,
    });
    const many = await quantizeCheckpoint(at('in'), at('out'), { ...options, onProgress: () => alone++ });
    t.true(together < 30, String(together));
    t.true(alone > 600, String(alone));
    const got = await readAll(at('out.safetensors'));
    const expected = await readAll(at('out'));
    t.deepEqual([...got.tensors.keys()].sort(), [...expected.tensors.keys()].sort());
    for (const [tensorName, { dtype, shape, bytes }] of expected.tensors) {
      const found = got.tensors.get(tensorName)!;
      t.deepEqual([found.dtype, found.shape], [dtype, shape], tensorName);
      sameBytes(t, found.bytes, bytes, tensorName);
    }
    t.true(one.layers.length > 400);
    // In one file tensors of wider elements come first.
    const sorted = <Named extends { name: string }>(list: readonly Named[]) =>
      [...list].sort((x, y) => (x.name < y.name ? -1 : 1));
    const facts = ({ layers }: typeof one) => sorted(layers).map((layer) => ({ ...layer, seconds: 0 }));
    t.deepEqual(facts(one), facts(many));
    t.deepEqual(sorted(one.skipped), sorted(many.skipped));
    t.deepEqual([one.copied, one.bytes.weightsAfter], [many.copied, many.bytes.weightsAfter]);
    t.true(one.layers.every(({ seconds }) => seconds > 0));
    const { bytes } = await planCheckpoint(at('in.safetensors'), at('other.safetensors'), options);
    t.deepEqual(bytes, one.bytes);
  });

// A guard: 0.1.0 passes it.
test('trust 16: of many small weights that are done together the error names the one that is not finite', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  for (const [format, dtype, bad] of [
    ['compressed-tensors', 'F32', [0, 0, 0xc0, 0x7f]],
    ['gptq', 'F16', [0, 0x7c]],
    ['float', 'BF16', [0x80, 0xff]],
  ] as const) {
    const tensors = mixed(600);
    const broken = tensor(dtype, [16, 8], 1);
    broken.data.set(bad, 40);
    tensors['layers.301.proj.weight'] = broken;
    writeFileSync(input, fileOf(tensors));
    await t.throwsAsync(quantizeCheckpoint(input, output, { format, groupSize: 8 }), {
      code: 'ERR_VERTEXQ_NOT_FINITE',
      message:
        /in\.safetensors: tensor "layers\.301\.proj\.weight": weight of neuron \d+, input \d+ is (NaN|infinite)/,
    });
    rmSync(`${output}.vertexq`, { recursive: true, force: true });
    t.false(existsSync(output));
  }
});

/** Small weights that take more pieces of work than are on their way at a time. */
function writeMany(t: ExecutionContext): Record<'input' | 'whole' | 'output', string> {
  const folder = temporaryFolder(t);
  const at = (name: string) => join(folder, `${name}.safetensors`);
  const names = Array.from(
    { length: 700 },
    (_, i) => [`a.${i}.weight`, tensor('F32', [64, 96 - (i % 2) * 32], i)] as const,
  );
  writeFileSync(at('in'), fileOf(Object.fromEntries(names)));
  return { input: at('in'), whole: at('whole'), output: at('out') };
}

const told = ({ layers }: Awaited<ReturnType<typeof quantizeCheckpoint>>) =>
  layers.map(({ name, error, bytes }) => ({ name, error, bytes }));

test('trust 16: a run that stopped between such pieces goes on, and one whose journal was cut off within one', async (t) => {
  const { input, whole, output } = writeMany(t);
  const expected = await quantizeCheckpoint(input, whole);
  for (const cut of [0, 1, 3000]) {
    let pieces = 0;
    const controller = new AbortController();
    const stopped = quantizeCheckpoint(input, output, {
      signal: controller.signal,
      onProgress: () => {
        if (++pieces === 4) controller.abort(new Error('stop'));
      },
    });
    await t.throwsAsync(stopped, { message: 'stop' });
    const journal = join(`${output}.vertexq`, 'journal');
    const { length } = readFileSync(journal);
    t.true(length > 3000, String(length));
    truncateSync(journal, length - cut);
    const report = await quantizeCheckpoint(input, output, { resume: true });
    t.true(report.resumed > 0 && report.resumed < 700 * 64 * 96 * 4, String(report.resumed));
    t.deepEqual(told(report), told(expected));
    sameBytes(t, readFileSync(output), readFileSync(whole));
    rmSync(output);
  }
});

// A guard: 0.1.0 passes it.
test('trust 16: a run that is killed while it does many small weights together is resumed to the same bytes', async (t) => {
  const { input, whole, output } = writeMany(t);
  const expected = await quantizeCheckpoint(input, whole, { threads: 1 });
  for (const wait of [0, 20, 60, 120]) {
    const child = join(__dirname, '..', 'children', 'quantize.ts');
    const args = [typescript, child, input, output, JSON.stringify({ threads: 1, resume: true })];
    const run = spawn(process.execPath, args, { cwd: repository });
    run.stdout.once('data', () => setTimeout(() => run.kill('SIGKILL'), wait));
    await new Promise((resolve) => run.on('close', resolve));
    t.true(existsSync(`${output}.vertexq`) || existsSync(output));
    if (existsSync(output)) sameBytes(t, readFileSync(output), readFileSync(whole));
  }
  const report = await quantizeCheckpoint(input, output, { threads: 1, resume: true });
  t.deepEqual(told(report), told(expected));
  sameBytes(t, readFileSync(output), readFileSync(whole));
});

test('trust 16: a run of a version that cut the work into other pieces is not gone on with', async (t) => {
  const { input, output } = writeMany(t);
  for (const units of [undefined, 1, 4]) {
    const fail = () => {
      throw new Error('stop');
    };
    await t.throwsAsync(quantizeCheckpoint(input, output, { onProgress: fail }), { message: 'stop' });
    const file = join(`${output}.vertexq`, 'manifest.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    t.is(manifest['units'], 5);
    writeFileSync(file, JSON.stringify({ ...manifest, vertexq: '0.1.0', units }));
    await t.throwsAsync(quantizeCheckpoint(input, output, { resume: true }), {
      code: 'ERR_VERTEXQ_RESUME',
      message:
        /was of another version of vertexq \(0\.1\.0\), .* cannot be gone on with\. Remove that folder to start anew/,
    });
    rmSync(`${output}.vertexq`, { recursive: true });
  }
});

test('trust 16: 30,000 small weights take little memory each', (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  const one = { dtype: 'F32', shape: [4, 4], data: new Uint8Array(numbers(16, 1).buffer) };
  const tensors: Tensors = {};
  for (let i = 0; i < 30_000; i++) tensors[`layers.${i}.proj.weight`] = one;
  writeFileSync(input, fileOf(tensors));
  // What the report holds is within this, and what it does not is most of it.
  const child = join(__dirname, '..', 'children', 'quantize.ts');
  const args = ['--max-old-space-size=80', typescript, child, input, output, JSON.stringify({ bits: 8 })];
  const { stdout, stderr, signal } = spawnSync(process.execPath, args, { cwd: repository, encoding: 'utf8' });
  t.is(signal, null, stderr.slice(-300));
  t.regex(stdout, /"layers":30000/);
});

test('trust 16: copies of some size, and of several dtypes in turn, are a few pieces too', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  for (const [of, length, most] of [
    [['F32'], 20_000, 6],
    [['F32', 'BF16', 'F64'], 64, 3],
  ] as const) {
    const tensors: Tensors = { 'a.weight': tensor('F32', [4, 8], 0) };
    for (let i = 0; i < 600; i++) tensors[`b.${i}.norm.weight`] = tensor(of[i % of.length]!, [length], i);
    writeFileSync(input, fileOf(tensors));
    let pieces = 0;
    await quantizeCheckpoint(input, output, { onProgress: () => pieces++ });
    t.true(pieces <= most, String(pieces));
    const after = await readAll(output);
    for (const [name, { data }] of Object.entries(tensors).slice(1))
      sameBytes(t, after.tensors.get(name)!.bytes, data, name);
  }
});

test('trust 16: the index of very many tensors is written as a small one is', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  const one = tensor('F32', [1, 4], 1);
  const shard = (own: string) =>
    Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`${own}.${i}.proj.weight`, one]));
  writeFolder(input, [shard('b'), shard('a')]);
  const file = join(input, 'model.safetensors.index.json');
  const index = JSON.parse(readFileSync(file, 'utf8')) as { weight_map: Record<string, string> };
  const names = Object.keys(index.weight_map);
  const after = names.flatMap((name) =>
    ['packed', 'scale', 'shape'].map((part): [string, string] => [
      `${name}_${part}`,
      index.weight_map[name]!,
    ]),
  );
  const expected = Object.fromEntries(after.sort(([a], [b]) => (a < b ? -1 : 1)));
  const size = names.length * (4 + 4 + 16);
  for (const [newLine, step] of [
    ['', 0],
    ['\n', 2],
    ['\r\n', 4],
  ] as const) {
    const written = (map: object, total: number) =>
      JSON.stringify(
        { metadata: { total_size: total, '@': '@@' }, weight_map: map, made: 'by "hand"' },
        null,
        step,
      ).replaceAll('\n', newLine);
    writeFileSync(file, written(index.weight_map, 7));
    await quantizeCheckpoint(input, output, { bits: 4 });
    t.is(readFileSync(join(output, 'model.safetensors.index.json'), 'utf8'), written(expected, size));
    rmSync(output, { recursive: true });
  }
});
