import test from 'ava';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatNpz } from '../containers/npy/make-npz';
import { temporaryFolder } from '../files/temporary-folder';
import { typescript } from '../typescript';
import { untimed } from './fake';

// The program as a process of its own, with the library behind it.

const root = join(__dirname, '..', '..');
const program = [typescript, join('lib', 'cli', 'main.ts')];
const network = join('test', 'fixtures', 'mnist-mlp.onnx');

function vertexq(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** Images that are noise: enough for a network to run on. */
function noise(samples: number): Uint8Array {
  const data = new Float32Array(samples * 784);
  for (let i = 0, state = 1; i < data.length; i++)
    data[i] = (state = (state * 48271) % 2147483647) / 2147483647;
  return formatNpz(new Map([['image', { data, dims: [samples, 784] }]]));
}

test('help and version load neither onnxruntime nor the addon', (t) => {
  const script = `
    const { run } = require('./lib/cli/main.ts');
    const silent = { write() {} };
    const context = { stdout: silent, stderr: silent, env: {}, signal: new AbortController().signal };
    (async () => {
      for (const args of [['--help'], ['--version'], ['quantize', '--help'], ['quantize', '--bits', 'x']]) await run(args, context);
      console.log(JSON.stringify(Object.keys(require.cache)));
    })();`;
  const { stdout, stderr } = spawnSync(process.execPath, [typescript, '-e', script], {
    cwd: root,
    encoding: 'utf8',
  });
  t.is(stderr, '');
  const loaded = JSON.parse(stdout) as string[];
  t.true(loaded.some((file) => /commander/.test(file)));
  t.deepEqual(
    loaded.filter((file) => /onnxruntime|\.node$|binding|quantize-model/.test(file)),
    [],
  );
});

test('exit codes and streams', (t) => {
  t.like(vertexq('--help'), { status: 0, stderr: '' });
  const usage = vertexq('quantize', network);
  t.like(usage, { status: 2, stdout: '' });
  const absent = vertexq('inspect', 'absent.onnx');
  t.like(absent, { status: 1, stdout: '' });
  t.regex(
    absent.stderr,
    /^vertexq: absent\.onnx .*\[ERR_VERTEXQ_FILE\]\n"vertexq explain ERR_VERTEXQ_FILE" says what to do\n$/,
  );
  const found = vertexq('inspect', network, '--json');
  t.like(found, { status: 0, stderr: '' });
  t.is((JSON.parse(found.stdout) as { layers: unknown[] }).layers.length, 3);
});

test('stdout that cannot be written: exit code 1 and one line; stdout that nobody reads: none', async (t) => {
  if (process.platform === 'win32') {
    t.pass();
    return;
  }
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(process.execPath, [...program, 'inspect', network, '--json'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', full, 'pipe'],
  });
  closeSync(full);
  t.is(status, 1);
  t.regex(stderr, /^vertexq: stdout cannot be written: ENOSPC[^\n]*\n$/);

  const child = spawn(process.execPath, [...program, 'inspect', network, '--json'], { cwd: root });
  child.stdout.destroy();
  let printed = '';
  child.stderr.on('data', (text: Buffer) => (printed += text.toString()));
  t.is(await new Promise((resolve) => child.on('close', resolve)), 0);
  t.is(printed, '');
});

test('a network is quantized', (t) => {
  const folder = temporaryFolder(t);
  const [data, output, report] = ['data.npz', 'out.onnx', 'report.json'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  writeFileSync(data, noise(60));
  const args = [
    'quantize',
    network,
    '-o',
    output,
    '--calibration',
    data,
    '--effort',
    '0',
    '--report',
    report,
    '--json',
  ];
  const { status, stdout, stderr } = vertexq(...args);
  t.is(status, 0, stderr);
  // Where it takes long, what is warned of is told on the way.
  const told = untimed(stderr).replace(/^warning: .*\n/gm, '');
  t.regex(told, /^layer 1\/3: .*\nlayer 2\/3: .*\nlayer 3\/3: .*\n3 layers: /);
  t.is(readFileSync(report, 'utf8'), stdout);
  const { layers } = JSON.parse(stdout) as { layers: { samples: number }[] };
  t.deepEqual(
    layers.map(({ samples }) => samples),
    [54, 54, 54],
  );
  t.deepEqual(readdirSync(folder).sort(), ['data.npz', 'out.onnx', 'report.json']);
});

test('data that does not fit is told by its file', (t) => {
  const folder = temporaryFolder(t);
  const data = join(folder, 'data.npz');
  writeFileSync(data, formatNpz(new Map([['images', { data: new Float32Array(784), dims: [1, 784] }]])));
  const { status, stderr } = vertexq(
    'quantize',
    network,
    '-o',
    join(folder, 'out.onnx'),
    '--calibration',
    data,
  );
  t.is(status, 3);
  t.regex(
    stderr,
    /data\.npz: the network has no input "images": did you mean "image"\?.*\[ERR_VERTEXQ_CALIBRATION\]\n.*\n$/,
  );
  t.deepEqual(readdirSync(folder), ['data.npz']);
});

const endings = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
for (const [name, expected] of Object.entries(endings) as [keyof typeof endings, number][])
  test(`${name}: exit code ${expected}, and nothing is left`, async (t) => {
    if (process.platform === 'win32') {
      t.pass();
      return;
    }
    const folder = temporaryFolder(t);
    const [data, output] = ['data.npz', 'out.onnx'].map((name) => join(folder, name)) as [string, string];
    writeFileSync(data, noise(3000));
    const child = spawn(
      process.execPath,
      [...program, 'quantize', network, '-o', output, '--calibration', data],
      { cwd: root },
    );
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => {
      if (stderr === '') child.kill(name);
      stderr += text.toString();
    });
    const code = await new Promise((resolve) =>
      child.on('close', (status, signal) => resolve(status ?? signal)),
    );
    t.is(code, expected, stderr);
    t.true(stderr.endsWith('vertexq: interrupted\n'), stderr);
    t.false(existsSync(output));
    t.deepEqual(readdirSync(folder), ['data.npz']);
  });
