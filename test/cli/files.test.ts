import test, { type ExecutionContext } from 'ava';
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { formatNpz } from '../containers/npy/make-npz';
import { quantizeModel } from '../../lib/index';
import { writeSmall } from '../checkpoints/gguf/models';
import { fileOf, smallModel, tensor, writeFolder } from '../checkpoints/make';
import { temporaryFolder } from '../files/temporary-folder';
import { runWhole } from './library';

// What a run reads is never what it writes, whatever the paths are called. The whole program, in this process.

const posix = process.platform === 'win32' ? test.skip : test;
const network = join(__dirname, '..', 'fixtures', 'mnist-mlp.onnx');

const vertexq = (args: readonly string[]) => runWhole(args);

/** All that is in a folder, by name: the contents of files. */
function contents(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => [
        join(parentPath, name),
        readFileSync(join(parentPath, name), 'latin1'),
      ]),
  );
}

/** Wrong usage: exit code 2, one line that names both, and not a byte has changed; nor with --overwrite, where a file that is there stops the run first. */
async function refused(t: ExecutionContext, folder: string, args: readonly string[], ...said: RegExp[]) {
  const before = contents(folder);
  let { code, stderr } = await vertexq(args);
  const call = args.join(' ');
  if (code === 4) {
    t.deepEqual(contents(folder), before, call);
    ({ code, stderr } = await vertexq([...args, '--overwrite']));
  }
  t.is(code, 2, `${call}: ${stderr}`);
  for (const message of [/^vertexq: The [^\n]* (is|is in|holds) the [^\n]*\n$/, ...said])
    t.regex(stderr, message, call);
  t.deepEqual(contents(folder), before, call);
}

/** A folder with a model, one with external data, samples, a configuration. */
async function modelPlace(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  writeFileSync(at('in.onnx'), readFileSync(network));
  await quantizeModel(at('in.onnx'), at('apart.onnx'), {
    format: 'float',
    method: 'msq',
    bits: 8,
    externalData: true,
  });
  const data = Float32Array.from({ length: 64 * 784 }, (_, i) => ((i * 7919) % 255) / 255);
  writeFileSync(at('data.npz'), formatNpz(new Map([['image', { data, dims: [64, 784] }]])));
  writeFileSync(at('tokenizer.json'), '{}');
  writeFileSync(at('config.json'), JSON.stringify({ bits: 8, method: 'msq' }));
  writeFileSync(at('with-data.json'), JSON.stringify({ bits: 8, method: 'msq', calibration: 'data.npz' }));
  return at;
}

test('trust 3: a report is no other file of a model, by whatever path', async (t) => {
  const at = await modelPlace(t);
  symlinkSync('.', at('same'));
  symlinkSync('data.npz', at('link.json'));
  linkSync(at('in.onnx'), at('hard.json'));
  const apart = [
    'quantize',
    at('apart.onnx'),
    '-o',
    at('out.onnx'),
    '--external-data',
    '--bits',
    '8',
    '--method',
    'msq',
  ];
  const plain = ['quantize', at('in.onnx'), '-o', at('out.onnx'), '--bits', '8', '--method', 'msq'];
  for (const [args, report, said] of [
    [apart, 'apart.onnx_data', /The report .* is the input's data/],
    [apart, 'out.onnx_data', /The report .* is the output/],
    [apart, 'out.onnx_data_1', /The report .* is the output/],
    [apart, join('same', 'out.onnx_data_12'), /The report .* is the output/],
    [apart, 'out.onnx', /The report .* is the output/],
    [[...plain, '--config', at('config.json')], 'config.json', /is the configuration file/],
    [[...plain, '--config', at('with-data.json')], 'data.npz', /is the input/],
    [[...plain, '--calibration', at('data.npz')], 'data.npz', /is the input/],
    [[...plain, '--calibration', at('data.npz')], 'link.json', /is the input/],
    [
      [...plain, '--calibration', at('data.npz'), '--holdout', at('data.npz')],
      join('same', 'data.npz'),
      /is the input/,
    ],
    [
      [...plain, '--calibration', at('data.npz'), '--tokenizer', at('tokenizer.json')],
      'tokenizer.json',
      /is the tokenizer/,
    ],
    [plain, 'hard.json', /is the input/],
  ] as const)
    await refused(t, at(), [...args, '--report', at(report)], said);
  const { code } = await vertexq([...apart, '--report', at('out.onnx_report.json'), '-q']);
  t.is(code, 0);
});

test('trust 3: an output is no input, whatever that is for', async (t) => {
  const at = await modelPlace(t);
  mkdirSync(at('folder'));
  symlinkSync(at(), at('folder', 'up'));
  symlinkSync('/proc/self/cwd', at('cwd'));
  const options = ['--bits', '8', '--method', 'msq', '--calibration', at('data.npz')];
  for (const [output, more, said] of [
    ['tokenizer.json', ['--tokenizer', at('tokenizer.json')], /The output .* is the tokenizer/],
    ['config.json', ['--config', at('config.json')], /The output .* is the configuration file/],
    [join('folder', 'up', 'data.npz'), [], /The output .* is the input/],
    [relative(process.cwd(), at('in.onnx')), [], /The output .* is the input/],
  ] as const)
    await refused(
      t,
      at(),
      ['quantize', at('in.onnx'), '-o', output.startsWith('..') ? output : at(output), ...options, ...more],
      said,
    );
  if (process.platform === 'linux') {
    const around = `/proc/self/root${at('in.onnx')}`;
    await refused(
      t,
      at(),
      ['quantize', at('in.onnx'), '-o', around, ...options],
      /The output .* is the input/,
    );
    await refused(
      t,
      at(),
      ['quantize', around, '-o', at('out.onnx'), ...options, '--report', at('in.onnx')],
      /The report .* is the input/,
    );
  }
  // The name of the output's data.
  linkSync(at('in.onnx'), at('x.onnx_data'));
  await refused(
    t,
    at(),
    ['quantize', at('x.onnx_data'), '-o', at('x.onnx'), '--external-data', ...options],
    /The output .*x\.onnx_data is the input/,
  );
});

test('trust 3: no output and no report in a folder of calibration images, nor where its links lead', async (t) => {
  const at = await modelPlace(t);
  mkdirSync(at('photos', 'more'), { recursive: true });
  mkdirSync(at('album'));
  for (const name of ['photos/a.png', 'photos/more/b.png', 'c.png', 'album/d.png'])
    writeFileSync(at(name), name);
  symlinkSync('../c.png', at('photos', 'c.png'));
  symlinkSync('../album', at('photos', 'album'));
  const base = ['quantize', at('in.onnx'), '--bits', '8', '--method', 'msq', '--calibration', at('photos')];
  for (const [path, said] of [
    ['photos/a.png', /is in the input .*photos/],
    ['photos/more/b.png', /is in the input .*photos/],
    ['photos/new.onnx', /is in the input .*photos/],
    ['photos', /is the input/],
    ['c.png', /is the input .*c\.png/],
    ['album/d.png', /is in the input .*album/],
  ] as const) {
    await refused(t, at(), [...base, '-o', at(path)], said);
    if (path !== 'photos')
      await refused(t, at(), [...base, '-o', at('out.onnx'), '--report', at(path)], said);
  }
  await refused(t, at(), [...base.slice(0, -1), at('c.png'), '-o', at('c.png')], /is the input/);
});

test('trust 3: the plot of compare is no file that it reads', async (t) => {
  const at = await modelPlace(t);
  const base = [
    'compare',
    at('apart.onnx'),
    '--calibration',
    at('data.npz'),
    '--methods',
    'msq',
    '--bits',
    '8',
  ];
  linkSync(at('apart.onnx_data'), at('data.svg'));
  symlinkSync('apart.onnx', at('model.svg'));
  for (const name of ['data.svg', 'model.svg'])
    await refused(t, at(), [...base, '--plot', at(name)], /The plot .* is the input/);
});

test('trust 3: what sensitivity writes is no file that it reads', async (t) => {
  const at = await modelPlace(t);
  linkSync(at('data.npz'), at('data.json'));
  const args = ['sensitivity', at('apart.onnx'), '--calibration', at('data.npz'), '-o'];
  for (const name of ['data.npz', 'data.json', 'apart.onnx', 'apart.onnx_data'])
    await refused(t, at(), [...args, at(name)], /The output .* is the input/);
  const texts = at('texts.txt');
  writeFileSync(texts, 'the cat sat on the mat\n'.repeat(8));
  writeSmall(at('llama'), 'llama');
  for (const name of ['texts.txt', 'llama/model.safetensors', 'llama/tokenizer.json'])
    await refused(t, at(), ['sensitivity', at('llama'), '--calibration', texts, '-o', at(name)]);
});

/** A folder with checkpoints, recorded inputs, a configuration. */
function checkpointPlace(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  writeFolder(at('in'), smallModel());
  writeFileSync(at('one.safetensors'), fileOf(smallModel()[0]!));
  writeFileSync(
    at('recorded.safetensors'),
    fileOf({ 'model.layers.0.self_attn.q_proj.weight': tensor('F32', [100, 64], 1) }),
  );
  writeFileSync(at('config.json'), JSON.stringify({ activations: 'recorded.safetensors', bits: 8 }));
  return at;
}

test('trust 3: a report is no file of a checkpoint, neither read nor written', async (t) => {
  const at = checkpointPlace(t);
  const folder = ['quantize', at('in'), '-o', at('out')];
  const file = ['quantize', at('one.safetensors'), '-o', at('out.safetensors')];
  mkdirSync(at('out'));
  mkdirSync(at('out.safetensors.vertexq'));
  symlinkSync('out', at('way'));
  linkSync(at('in', 'config.json'), at('hard.json'));
  for (const [args, report, said] of [
    [folder, 'in/model-00001-of-00002.safetensors', /is in the input/],
    [folder, 'in/config.json', /is in the input/],
    [folder, 'in/new.json', /is in the input/],
    [folder, 'hard.json', /is the input's file/],
    [folder, 'out/config.json', /is the output's file/],
    [folder, 'way/tokenizer.json', /is the output's file/],
    [folder, 'out/model-00002-of-00002.safetensors', /is the output's file/],
    [folder, 'out/model.safetensors.index.json', /is the output's file/],
    [[...folder, '--format', 'gptq'], 'out/quantize_config.json', /is the output's file/],
    [folder, 'out/.vertexq', /is the work folder/],
    [
      [...folder, '--activations', at('recorded.safetensors')],
      'recorded.safetensors',
      /is the recorded inputs/,
    ],
    [[...folder, '--config', at('config.json')], 'recorded.safetensors', /is the recorded inputs/],
    [[...folder, '--config', at('config.json')], 'config.json', /is the configuration file/],
    [file, 'one.safetensors', /is the input/],
    [file, 'out.safetensors', /is the output/],
    [file, 'out.safetensors.vertexq/lock', /The work folder .* holds the report/],
    [file, 'out.safetensors.vertexq/report.json', /The work folder .* holds the report/],
  ] as const)
    for (const more of [[], ['--dry-run']])
      await refused(t, at(), [...args, '--report', at(report), ...more], said);
  const { code } = await vertexq([...folder, '--report', at('report.json'), '-q']);
  t.is(code, 0);
});

test('trust 3: outputs of checkpoints hold no input and lie in none', async (t) => {
  const at = checkpointPlace(t);
  mkdirSync(at('around'));
  writeFolder(at('around', 'model'), smallModel());
  symlinkSync('in', at('way'));
  for (const [input, output, said] of [
    ['in', 'in', /The output .* is the input/],
    ['in', 'way', /The output .* is the input/],
    ['way', 'in', /The output .* is the input/],
    ['in', 'in/out', /The output .* is in the input/],
    ['in', 'way/deep', /The output .* is in the input/],
    ['around/model', 'around', /The output .* holds the input/],
    ['around/model/model.safetensors.index.json', 'around/model', /The output .* holds the input/],
    ['one.safetensors', 'one.safetensors', /The output .* is the input/],
  ] as const)
    for (const more of [[], ['--dry-run'], ['--resume']])
      await refused(t, at(), ['quantize', at(input), '-o', at(output), ...more], said);
  for (const [output, more, said] of [
    ['recorded.safetensors', ['--activations', at('recorded.safetensors')], /is the recorded inputs/],
    ['config.json', ['--config', at('config.json')], /is the configuration file/],
  ] as const)
    await refused(t, at(), ['quantize', at('one.safetensors'), '-o', at(output), ...more], said);
  // Recorded inputs, or a configuration, in a folder that will be the output's.
  mkdirSync(at('full'));
  writeFileSync(at('full', 'r.safetensors'), readFileSync(at('recorded.safetensors')));
  await refused(
    t,
    at(),
    ['quantize', at('in'), '-o', at('full'), '--activations', at('full', 'r.safetensors')],
    /The output .* holds the recorded inputs/,
  );
  rmSync(at('full'), { recursive: true });
});

posix(
  'names that differ in case alone are two files where the folder tells them apart, else one',
  async (t) => {
    const path = temporaryFolder(t);
    // Where none can be mounted, this folder's own way is tried.
    const mounted = spawnSync('sh', [
      '-c',
      `mount -t tmpfs -o casefold,size=8m none '${path}' && mkdir '${path}/blind' && chattr +F '${path}/blind'`,
    ]);
    const at = (...names: string[]) => join(path, ...(mounted.status === 0 ? ['blind'] : []), ...names);
    t.teardown(() => spawnSync('umount', [path]));
    writeFileSync(at('in.onnx'), readFileSync(network));
    const blind =
      readdirSync(dirname(at('x'))).includes('in.onnx') &&
      spawnSync('test', ['-e', at('IN.ONNX')]).status === 0;
    const args = [
      'quantize',
      at('in.onnx'),
      '-o',
      at('Out.onnx'),
      '--bits',
      '8',
      '--method',
      'msq',
      '--report',
      at('OUT.ONNX'),
    ];
    t.log(blind ? 'blind' : 'telling', basename(path));
    if (blind) return refused(t, at(), args, /The report .* is the output/);
    t.is((await vertexq([...args, '-q'])).code, 0);
    t.deepEqual(readdirSync(at()).sort(), ['OUT.ONNX', 'Out.onnx', 'in.onnx']);
  },
);
