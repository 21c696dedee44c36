import test from 'ava';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../lib/index';
import { model } from './children/network';
import { files } from './networks';
import { typescript } from '../typescript';

const repository = join(__dirname, '..', '..');
const library = JSON.stringify(join(repository, 'lib', 'index.ts'));
const options = (bits: 2 | 4): ModelOptions => ({ method: 'msq', bits, externalData: true });

/** A run in a process of its own that waits between its two renames, until `go` or the signal that ends it. */
async function heldUp(input: string, output: string) {
  const script = `
    const promises = require('node:fs/promises');
    const { rename } = promises;
    promises.rename = async (from, to) => {
      await rename(from, to);
      if (!to.endsWith('_data')) return;
      console.log('between');
      await new Promise((resolve) => process.stdin.once('data', resolve));
    };
    const { quantizeModel } = require(${library});
    quantizeModel(...${JSON.stringify([input, output, options(2)])}).then(
      () => console.log('done'),
      (error) => console.log(error.code + ' ' + error.message),
    ).finally(() => process.stdin.destroy());`;
  const child = spawn(process.execPath, [typescript, '-e', script], {
    cwd: repository,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let printed = '';
  child.stdout.on('data', (text: Buffer) => (printed += text.toString()));
  const closed = once(child, 'close');
  while (!printed.includes('between') && child.exitCode === null) await once(child.stdout, 'data');
  return {
    go: async () => {
      child.stdin.write('go\n');
      await closed;
      return printed.trim().split('\n').at(-1);
    },
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** The bytes of the network and of its data. */
const state = (output: string) => [readFileSync(output), readFileSync(`${output}_data`)];

test('trust 6: a second run to an output with external data is refused while one gives its files their names', async (t) => {
  const { input, output } = files(t, model);
  const folder = dirname(output);
  await quantizeModel(input, join(folder, 'two.onnx'), options(2));
  // A model names its data: the whole ones have the output's own name.
  await quantizeModel(input, output, options(2));
  const two = state(output);
  await quantizeModel(input, output, options(4));
  const four = state(output);
  symlinkSync('.', join(folder, 'same'));
  for (const other of [output, join(folder, 'same', 'out.onnx')]) {
    const first = await heldUp(input, output);
    const second = await quantizeModel(input, other, options(4)).then(
      () => 'done',
      (error: Error & { code?: string }) => error.code,
    );
    t.is(await first.go(), 'done');
    const found = state(output);
    const whole = [two, four].some(
      ([network, data]) => network!.equals(found[0]!) && data!.equals(found[1]!),
    );
    t.true(whole, 'the network and its data are of one run');
    t.is(second, 'ERR_VERTEXQ_LOCKED');
    await quantizeModel(input, other, options(4));
    t.deepEqual(state(output), four);
  }
  t.deepEqual(readdirSync(folder).sort(), [
    'in.onnx',
    'out.onnx',
    'out.onnx_data',
    'same',
    'two.onnx',
    'two.onnx_data',
  ]);
});

test('trust 6: a run that was killed between its renames leaves no lock; another output is free', async (t) => {
  const { input, output } = files(t, model);
  await quantizeModel(input, output, options(4));
  const four = state(output);
  const first = await heldUp(input, output);
  const other = join(dirname(output), 'other.onnx');
  await quantizeModel(input, other, options(4));
  t.true(existsSync(other));
  // A single file is whole by itself.
  await quantizeModel(input, join(dirname(output), 'single.onnx'), { method: 'msq', bits: 4 });
  await t.throwsAsync(quantizeModel(input, output, options(4)), {
    code: 'ERR_VERTEXQ_LOCKED',
    message: /Another run is writing this output: .* is locked/,
  });
  await first.kill();
  await quantizeModel(input, output, options(4));
  t.deepEqual(state(output), four);
});

test('of runs at once with external data in one process one is done, or each after the other', async (t) => {
  const { input, output } = files(t, model);
  const outcomes = await Promise.allSettled(
    ([2, 4, 2, 4] as const).map((bits) => quantizeModel(input, output, options(bits))),
  );
  const errors = outcomes
    .filter((one) => one.status === 'rejected')
    .map(({ reason }) => reason as { code: string });
  t.true(errors.length < 4);
  for (const { code } of errors) t.is(code, 'ERR_VERTEXQ_LOCKED');
  const found = state(output);
  const expected: Buffer[][] = [];
  for (const bits of [2, 4] as const) {
    await quantizeModel(input, output, options(bits));
    expected.push(state(output));
  }
  t.true(expected.some(([network, data]) => network!.equals(found[0]!) && data!.equals(found[1]!)));
  t.deepEqual(readdirSync(dirname(output)).sort(), ['in.onnx', 'out.onnx', 'out.onnx_data']);
});

test('trust 6: a run whose output has the name of the data of another is refused while that is at work, and the other way round', async (t) => {
  const { input, output } = files(t, model);
  const first = await heldUp(input, output);
  for (const name of [`${output}_data`, `${output}_data_2`])
    await t.throwsAsync(quantizeModel(input, name, { method: 'msq', bits: 4 }), {
      code: 'ERR_VERTEXQ_LOCKED',
      message: /^Another run is writing .*out\.onnx: .*out\.onnx_data.* may be the name of its data/,
    });
  t.is(await first.go(), 'done');
  t.deepEqual(readdirSync(dirname(output)).sort(), ['in.onnx', 'out.onnx', 'out.onnx_data']);
  const whole = state(output);
  const named = await heldUp(input, join(dirname(output), 'x_data'));
  await t.throwsAsync(quantizeModel(input, join(dirname(output), 'x'), options(4)), {
    code: 'ERR_VERTEXQ_LOCKED',
    message: /x_data: that may be the name of the data of /,
  });
  // Whose run was killed is in nobody's way.
  await named.kill();
  await quantizeModel(input, join(dirname(output), 'x'), options(4));
  t.deepEqual(state(output), whole);
});

test('trust 6: something else of the name of the work folder is none, and stays', async (t) => {
  const { input, output } = files(t, model);
  const work = `${output}.vertexq`;
  const makers: [string, () => void][] = [
    ['a file', () => writeFileSync(work, 'mine')],
    ['a folder with something in it', () => mkdirSync(join(work, 'mine'), { recursive: true })],
    ['a link to nothing', () => symlinkSync('nothing', work)],
    ['a lock that is a folder', () => mkdirSync(join(work, 'lock'), { recursive: true })],
  ];
  if (process.platform !== 'win32') makers.push(['a pipe', () => spawnSync('mkfifo', [work])]);
  for (const [what, make] of makers) {
    make();
    await t.throwsAsync(quantizeModel(input, output, options(4)), { code: 'ERR_VERTEXQ_FILE' }, what);
    t.true(readdirSync(dirname(output)).includes('out.onnx.vertexq'), what);
    rmSync(work, { recursive: true });
  }
});

test('trust 2: what comes to lie where the output or its data go is not removed, and the older output stays', async (t) => {
  for (const name of ['out.onnx_data', 'out.onnx']) {
    const { input, output } = files(t, model);
    const folder = dirname(output);
    if (name === 'out.onnx_data') writeFileSync(output, 'older');
    await t.throwsAsync(
      quantizeModel(input, output, {
        ...options(2),
        onProgress: ({ stage }) => {
          if (stage !== 'write' || existsSync(join(folder, name, 'mine'))) return;
          mkdirSync(join(folder, name));
          writeFileSync(join(folder, name, 'mine'), 'mine');
        },
      }),
      { code: 'ERR_VERTEXQ_FILE' },
    );
    t.is(readFileSync(join(folder, name, 'mine'), 'utf8'), 'mine');
    if (name === 'out.onnx_data') t.is(readFileSync(output, 'utf8'), 'older');
    t.deepEqual(
      readdirSync(folder).filter((one) => one.startsWith('.')),
      [],
    );
  }
});
