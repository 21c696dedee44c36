import test, { type ExecutionContext } from 'ava';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { fileOf, smallModel, type Tensors, writeFolder } from './make';
import { typescript } from '../typescript';

const repository = join(__dirname, '..', '..');
const posix = process.platform === 'win32' ? test.skip : test;

/** A folder with the checkpoints `in` and `in.safetensors`, and the way to what is in it. */
function place(t: ExecutionContext): (...names: string[]) => string {
  const folder = temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  writeFolder(at('in'), smallModel());
  writeFileSync(at('in.safetensors'), fileOf(smallModel()[0]!));
  return at;
}

/** All that is in a folder, with the contents of files. */
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

/** A run in a process of its own, which a pipe can only make wait for `seconds`. */
function runFor(seconds: number, input: string, output: string, options: object, before: string[] = []) {
  const child = [typescript, join(__dirname, '..', 'children', 'quantize.ts'), input, output];
  const [program, ...rest] = [...before, process.execPath, ...child, JSON.stringify(options)];
  const { stdout, stderr, signal } = spawnSync(program, rest, {
    ...{ cwd: repository, encoding: 'utf8', timeout: seconds * 1000, killSignal: 'SIGKILL' },
  });
  return { last: stdout.trim().split('\n').at(-1)!, stderr, signal };
}

test('trust 2: an input in what would be the work folder is neither taken over nor removed', async (t) => {
  const at = place(t);
  const refused = async (input: string, output: string, message: RegExp) => {
    const before = contents(at());
    for (const resume of [false, true])
      await t.throwsAsync(quantizeCheckpoint(input, output, { resume }), { instanceOf: RangeError, message });
    t.deepEqual(contents(at()), before);
  };
  mkdirSync(at('out'));
  renameSync(at('in'), at('out', '.vertexq'));
  await refused(at('out', '.vertexq'), at('out'), /The (output|work folder) .* (is|holds) the input/);
  mkdirSync(at('one.safetensors.vertexq'));
  renameSync(at('in.safetensors'), at('one.safetensors.vertexq', 'in.safetensors'));
  await refused(
    at('one.safetensors.vertexq', 'in.safetensors'),
    at('one.safetensors'),
    /The work folder .* holds the input/,
  );
  // By another way, and further down.
  symlinkSync(at('one.safetensors.vertexq'), at('way'));
  await refused(at('way', 'in.safetensors'), at('one.safetensors'), /The work folder .* holds the input/);
  mkdirSync(at('two', '.vertexq', 'a', 'b'), { recursive: true });
  renameSync(at('out', '.vertexq'), at('two', '.vertexq', 'a', 'b', 'in'));
  await refused(at('two', '.vertexq', 'a', 'b', 'in'), at('two'), /holds the input/);
});

test('trust 2: recorded inputs in the work folder stay', async (t) => {
  const at = place(t);
  mkdirSync(at('out.safetensors.vertexq'));
  const recorded = at('out.safetensors.vertexq', 'recorded.safetensors');
  writeFileSync(
    recorded,
    fileOf({
      'model.layers.0.self_attn.q_proj.weight': {
        dtype: 'F32',
        shape: [4, 64],
        data: new Uint8Array(1024).fill(60),
      },
    }),
  );
  await t.throwsAsync(
    quantizeCheckpoint(at('in.safetensors'), at('out.safetensors'), { activations: recorded }),
    {
      instanceOf: RangeError,
      message: /The work folder .* holds the recorded inputs/,
    },
  );
  t.true(existsSync(recorded));
});

test('trust 2: a folder, a link or a file of that name which is not ours is refused, and stays', async (t) => {
  const at = place(t);
  mkdirSync(at('elsewhere'));
  writeFileSync(at('elsewhere', 'mine.txt'), 'mine');
  mkdirSync(at('empty'));
  const makers: [string, (path: string) => void][] = [
    ['a folder', (path) => (mkdirSync(path), writeFileSync(join(path, 'mine.txt'), 'mine'))],
    ['a folder in it', (path) => mkdirSync(join(path, 'lock', 'mine'), { recursive: true })],
    ['a journal of another', (path) => (mkdirSync(path), writeFileSync(join(path, 'journal'), 'dear diary'))],
    [
      "another's manifest",
      (path) => (mkdirSync(path), writeFileSync(join(path, 'manifest.json'), '{"name":"x"}')),
    ],
    ['a link', (path) => symlinkSync(at('elsewhere'), path)],
    ['a link to an empty folder', (path) => symlinkSync(at('empty'), path)],
    ['a file', (path) => writeFileSync(path, 'mine')],
  ];
  for (const [what, make] of makers)
    for (const [input, output, work] of [
      ['in', at('out'), at('out', '.vertexq')],
      ['in.safetensors', at('out.safetensors'), at('out.safetensors.vertexq')],
    ] as const) {
      rmSync(output, { recursive: true, force: true });
      if (input === 'in') mkdirSync(output);
      make(work);
      const before = contents(at());
      for (const resume of [false, true])
        await t.throwsAsync(
          quantizeCheckpoint(at(input), output, { resume }),
          { code: 'ERR_VERTEXQ_FILE' },
          what,
        );
      t.deepEqual(contents(at()), before, what);
      t.true(existsSync(at('empty')));
      rmSync(work, { recursive: true });
    }
});

test('trust 2: what others put into a work folder of ours stays when the run ends', async (t) => {
  const at = place(t);
  await t.throwsAsync(
    quantizeCheckpoint(at('in'), at('out'), {
      onProgress: ({ done }) => {
        if (done > 0) throw new Error('stop');
      },
    }),
    { message: 'stop' },
  );
  t.true(existsSync(at('out', '.vertexq', 'manifest.json')));
  writeFileSync(at('out', '.vertexq', 'holiday.part'), 'mine');
  mkdirSync(at('out', '.vertexq', 'notes'));
  writeFileSync(at('out', '.vertexq', 'notes', 'today'), 'mine');
  await quantizeCheckpoint(at('in'), at('out'), { resume: true });
  t.deepEqual(readdirSync(at('out', '.vertexq')), ['holiday.part', 'notes']);
  t.is(readFileSync(at('out', '.vertexq', 'notes', 'today'), 'utf8'), 'mine');
});

test('trust 2: a file that an interrupted run left is not written through where it became a link', async (t) => {
  const at = place(t);
  // One file of more pieces than are on their way at a time: it is not complete when the run stops.
  writeFolder(at('in'), [Object.assign({}, ...smallModel()) as Tensors]);
  const stop = () =>
    quantizeCheckpoint(at('in'), at('out'), {
      onProgress: ({ done }) => {
        if (done > 0) throw new Error('stop');
      },
    }).catch(() => {});
  await stop();
  const part = readdirSync(at('out', '.vertexq')).find((name) => name.endsWith('.part'))!;
  for (const link of [linkSync, symlinkSync])
    for (const name of [part, 'journal', 'lock']) {
      rmSync(at('out', '.vertexq', name));
      writeFileSync(at('mine'), 'mine');
      link(at('mine'), at('out', '.vertexq', name));
      const error = await t.throwsAsync(quantizeCheckpoint(at('in'), at('out'), { resume: true }));
      t.is((error as { code?: string }).code, 'ERR_VERTEXQ_FILE', name);
      t.is(readFileSync(at('mine'), 'utf8'), 'mine', name);
      rmSync(at('out'), { recursive: true });
      await stop();
    }
});

posix('trust 18: a pipe as the lock, the journal or the manifest of a work folder does not hang', (t) => {
  const at = place(t);
  for (const name of ['lock', 'journal', 'manifest.json']) {
    const work = at(`${name}.safetensors.vertexq`);
    mkdirSync(work);
    if (name !== 'manifest.json') writeFileSync(join(work, 'manifest.json'), '{"vertexq":"0.1.0"}');
    t.is(spawnSync('mkfifo', [join(work, name)]).status, 0);
    const { last, signal } = runFor(60, at('in.safetensors'), at(`${name}.safetensors`), { resume: true });
    t.is(signal, null, name);
    t.regex(last, /^ERR_VERTEXQ_(FILE|RESUME): /, name);
    t.deepEqual(
      readdirSync(work).sort(),
      [...new Set([name, 'manifest.json', 'lock'])].filter((one) => existsSync(join(work, one))).sort(),
    );
  }
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
  'trust 18: few inodes: what could not begin is not called an interrupted run',
  (t) => {
    const at = place(t);
    mkdirSync(at('disk'));
    // The folder of the disk itself is one.
    for (const [input, output] of [
      ['in', 'out'],
      ['in.safetensors', 'out.safetensors'],
    ] as const)
      for (const inodes of [2, 3, 4, 5]) {
        const mount = `mount -t tmpfs -o nr_inodes=${inodes},mode=777 none '${at('disk')}' && "$@"; ls -A '${at('disk')}'`;
        const { last, stderr, signal } = runFor(60, at(input), at('disk', output), { bits: 4 }, [
          ...mounting!,
          ...['sh', '-c', mount, 'sh'],
        ]);
        t.is(signal, null, stderr);
        // The last line that is printed is the error: nothing is left on the disk.
        t.regex(last, /^ERR_VERTEXQ_FILE: .*ENOSPC/, `${output}, ${inodes} inodes`);
      }
  },
);
