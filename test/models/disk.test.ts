import test, { type ExecutionContext } from 'ava';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspectModel, quantizeModel } from '../../lib/index';
import { model, writeNetwork } from './children/network';
import { files, folder } from './networks';
import { typescript } from '../typescript';
import { sameBytes } from '../files/same-bytes';

// What the world does to a file while it is written: full disks, permissions, the process's end.

const repository = join(__dirname, '..', '..');
const library = JSON.stringify(join(repository, 'lib', 'index.ts'));
const posix = process.platform === 'win32' ? test.skip : test;

interface Outcome {
  status: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

function node(args: string[], before: string[] = []): Outcome {
  const [program, ...rest] = [...before, process.execPath, typescript, ...args] as [string, ...string[]];
  const env = { ...process.env, TSX_DISABLE_CACHE: '1' };
  const options = { cwd: repository, encoding: 'utf8', env, timeout: 120_000 } as const;
  const { status, signal, stdout, stderr } = spawnSync(program, rest, options);
  return { status, signal, stdout, stderr };
}

const child = (name: string, ...args: string[]) =>
  node([join(repository, 'test', 'models', 'children', name), ...args]);

/** Runs `body`, with `attempt(input, output)` that prints how quantizing ends, as a program of its own. */
const script = (body: string, before?: string[]): Outcome =>
  node(
    [
      '-e',
      `const fs = require('node:fs');
      const { quantizeModel } = require(${library});
      let progress = 0;
      const attempt = async (input, output, options = {}) => {
        progress = 0;
        const result = await quantizeModel(input, output, { method: 'msq', onProgress: () => progress++, ...options })
          .then(({ layers }) => layers.length + ' layers', (error) => error.code + ' ' + error.message);
        console.log(result);
      };
      (async () => { ${body} })();`,
    ],
    before,
  );

const lines = ({ stdout, stderr }: Outcome): string[] => [
  ...stdout.trim().split('\n'),
  ...(stderr ? [stderr] : []),
];

posix('no permission: a read-only folder, a closed one, a model that may not be read', (t) => {
  const path = folder(t);
  const at = (...names: string[]) => join(path, ...names);
  chmodSync(path, 0o777);
  writeNetwork(at('in.onnx'));
  for (const [name, mode] of Object.entries({
    readonly: 0o555,
    closed: 0o000,
    unlisted: 0o333,
    open: 0o777,
  })) {
    mkdirSync(at(name));
    if (name === 'readonly') writeFileSync(at(name, 'out.onnx'), 'old');
    chmodSync(at(name), mode);
  }
  t.teardown(() => {
    for (const name of ['readonly', 'closed', 'unlisted']) chmodSync(at(name), 0o777);
  });
  writeFileSync(at('secret.onnx'), '');
  chmodSync(at('secret.onnx'), 0);
  const root = process.getuid?.() === 0;
  // Root may do everything: it becomes nobody, once all that it needs is loaded.
  const drop = 'process.setgroups([]); process.setgid(65534); process.setuid(65534);';
  const paths = JSON.stringify({ input: at('in.onnx'), path });
  const outcome = script(`
    const { input, path } = ${paths};
    await attempt(input, path + '/warm.onnx');
    ${root ? drop : ''}
    for (const to of ['readonly/out.onnx', 'readonly/new.onnx', 'closed/out.onnx']) {
      await attempt(input, path + '/' + to);
      console.log(progress + ' calls of onProgress');
    }
    await attempt(path + '/secret.onnx', path + '/open/secret.onnx');
    await attempt(input, path + '/unlisted/out.onnx');
    await attempt(input, path + '/open/out.onnx');`);
  const printed = lines(outcome);
  t.log(root ? 'as nobody' : 'as the user', printed);
  t.is(printed.length, 10, printed.join('\n'));
  t.is(printed[0], '2 layers');
  for (const at of [1, 3, 5]) {
    t.regex(
      printed[at]!,
      /^ERR_VERTEXQ_FILE .*\.onnx cannot be written: the folder .* is not writable: EACCES/,
    );
    t.is(printed[at + 1], '0 calls of onProgress');
  }
  t.regex(printed[7]!, /^ERR_VERTEXQ_FILE .*secret\.onnx cannot be read: EACCES/);
  t.deepEqual(printed.slice(8), ['2 layers', '2 layers']);
  for (const name of ['closed', 'unlisted']) chmodSync(at(name), 0o777);
  t.deepEqual(readdirSync(at('readonly')), ['out.onnx']);
  t.is(readFileSync(at('readonly', 'out.onnx'), 'utf8'), 'old');
  t.deepEqual(readdirSync(at('closed')), []);
  t.deepEqual(readdirSync(at('open')), ['out.onnx']);
  t.deepEqual(readdirSync(at('unlisted')), ['out.onnx']);
});

/** How to run a program that may mount, if there is a way. */
const mounting = [
  ['unshare', '-m'],
  ['unshare', '-Urm'],
].find(
  ([program, ...rest]) =>
    spawnSync(program!, [...rest, 'sh', '-c', 'mount -t tmpfs -o size=64k none /tmp']).status === 0,
);

(mounting ? test : test.skip)(
  `a full disk, a read-only one: an error with the file, and what was there stays${mounting ? '' : ' (no permission to mount)'}`,
  (t) => {
    const { input } = files(t, model);
    const path = folder(t);
    const mount = (commands: string) => [...mounting!, 'sh', '-c', `${commands} && exec "$0" "$@"`];
    const paths = JSON.stringify({ input, path });
    const body = `
      const { input, path } = ${paths};
      for (const format of ['float', 'matmulnbits']) {
        await attempt(input, path + '/out.onnx', { format, bits: 8 });
        console.log(fs.readdirSync(path).join() + ' ' + fs.readFileSync(path + '/out.onnx').length);
      }`;
    const tmpfs = `mount -t tmpfs -o size=32k,mode=777 none '${path}' && printf old > '${path}/out.onnx'`;
    const full = lines(script(body, mount(tmpfs)));
    t.is(full.length, 4, full.join('\n'));
    for (const at of [0, 2]) {
      t.regex(full[at]!, /^ERR_VERTEXQ_FILE .*out\.onnx cannot be written: ENOSPC/);
      t.is(full[at + 1], 'out.onnx 3');
    }
    const readOnly = lines(script(body, mount(`${tmpfs} && mount -o remount,bind,ro '${path}'`)));
    t.regex(readOnly[0]!, /^ERR_VERTEXQ_FILE .*out\.onnx cannot be written: .*EROFS/);
    t.is(readOnly[1], 'out.onnx 3');
  },
);

/** The bytes of the output for these bits. */
async function whole(t: ExecutionContext, bits: number): Promise<Buffer> {
  const { input, output } = files(t, model);
  await quantizeModel(input, output, { method: 'msq', bits });
  return readFileSync(output);
}

/** Dies at a step of writing a file in the workspace, the model's if `name` says no other, and its last one of these. */
const dyingAt = (step: string, name: string) => `
  const promises = require('node:fs/promises');
  const { open, rename, rm } = promises;
  const die = (at) => { if (at === '${step}') process.kill(process.pid, 'SIGKILL'); };
  promises.open = async (...args) => {
    const handle = await open(...args);
    if (args[1] !== 'wx+' || !args[0].endsWith('${name}')) return handle;
    die('open');
    const { write, sync } = handle;
    handle.write = async (bytes, start, length, position) => {
      const part = await write.call(handle, bytes, start, Math.min(length, 10_000), position);
      die('write');
      return part;
    };
    handle.sync = async () => { die('sync'); await sync.call(handle); };
    return handle;
  };
  let renamed = false;
  promises.rename = async (from, to) => {
    if (to.endsWith('${name}')) die('rename');
    await rename(from, to);
    if (to.endsWith('${name}')) { renamed = true; die('renamed'); }
  };
  promises.rm = async (path, ...rest) => { if (renamed) die('end'); await rm(path, ...rest); };`;

/** What is beside a model: at most the work folder of one that was cut off, which the next run takes up. */
function leftOver(t: ExecutionContext, output: string): void {
  for (const name of readdirSync(dirname(output)).filter((other) => !/\.onnx(_data)?$/.test(other)))
    t.is(name, 'out.onnx.vertexq');
}

posix('SIGKILL at each step of writing: the old file or the new one, and the next run works', async (t) => {
  const expected = await whole(t, 2);
  const { input, output } = files(t, model);
  const paths = `${JSON.stringify(input)}, ${JSON.stringify(output)}`;
  for (const [step, survives] of [
    ['open', true],
    ['write', true],
    ['sync', true],
    ['rename', true],
    ['renamed', false],
    ['end', false],
  ] as const) {
    writeFileSync(output, 'old');
    const outcome = script(`${dyingAt(step, 'out.onnx')} await attempt(${paths}, { bits: 2 });`);
    t.is(outcome.signal, 'SIGKILL', `${step}: ${lines(outcome).join('\n')}`);
    sameBytes(t, readFileSync(output), survives ? Buffer.from('old') : expected, step);
    leftOver(t, output);
    await quantizeModel(input, output, { method: 'msq', bits: 2 });
    sameBytes(t, readFileSync(output), expected);
  }
});

posix('SIGKILL while external data is published: no model, or one with its own data', async (t) => {
  const { input, output } = files(t, model);
  const paths = `${JSON.stringify(input)}, ${JSON.stringify(output)}`;
  const options = { method: 'msq', externalData: true } as const;
  const state = () => (existsSync(output) ? [readFileSync(output), readFileSync(`${output}_data`)] : null);
  await quantizeModel(input, output, { ...options, bits: 2 });
  const next = state();
  for (const [name, step, expected] of [
    ['out.onnx_data', 'write', 'old'],
    ['out.onnx_data', 'renamed', null],
    ['out.onnx', 'rename', null],
    ['out.onnx', 'renamed', 'new'],
  ] as const) {
    await quantizeModel(input, output, { ...options, bits: 4 });
    const old = state();
    const outcome = script(
      `${dyingAt(step, name)} await attempt(${paths}, { bits: 2, externalData: true });`,
    );
    t.is(outcome.signal, 'SIGKILL', `${name} ${step}: ${lines(outcome).join('\n')}`);
    t.deepEqual(state(), expected && (expected === 'old' ? old : next), `${name} ${step}`);
    leftOver(t, output);
  }
});

posix('SIGKILL at any moment: never a part of a file under the name of the output', async (t) => {
  const [two, eight] = [await whole(t, 2), await whole(t, 8)];
  const { input, output } = files(t, model);
  for (const delay of [0, 3, 11, 29]) {
    const outcome = script(`
      const at = ${JSON.stringify([input, output])};
      await quantizeModel(...at, { method: 'msq', bits: 2 });
      const { Worker } = require('node:worker_threads');
      new Worker('setTimeout(() => process.kill(process.pid, "SIGKILL"), ${delay})', { eval: true });
      for (;;) for (const bits of [8, 2]) await quantizeModel(...at, { method: 'msq', bits });`);
    t.is(outcome.signal, 'SIGKILL');
    const found = readFileSync(output);
    t.true(found.equals(two) || found.equals(eight), `${delay} ms: ${found.length} bytes`);
  }
});

test('process.exit and an uncaught error while a model is quantized end the process, and leave no part', (t) => {
  for (const [how, delay, status] of [
    ['exit', 0, 7],
    ['exit', 30, 7],
    ['throw', 60, 1],
  ] as const) {
    const { input, output } = files(t, model);
    const outcome = child('exit.ts', input, output, how, String(delay));
    t.deepEqual([outcome.status, outcome.signal], [status, null], outcome.stderr);
    t.is(outcome.stdout, '');
    t.deepEqual(
      readdirSync(dirname(input)).filter((name) => name !== 'out.onnx.vertexq'),
      ['in.onnx'],
    );
  }
});

test('models in workers: two at once, others ended mid-job', async (t) => {
  const { input, output } = files(t, model);
  const { status, signal, stdout, stderr } = child('workers.ts', input, output);
  t.deepEqual({ status, signal, stdout, stderr }, { status: 0, signal: null, stdout: 'done\n', stderr: '' });
  t.is((await inspectModel(output)).operators['MatMulNBits'], 2);
});
