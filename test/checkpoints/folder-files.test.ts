import test from 'ava';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { inspectCheckpoint, quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { writeSmall } from './gguf/models';
import { bytesOf, fileOf, numbers, smallModel, writeFolder } from './make';
import { typescript } from '../typescript';

const repository = join(__dirname, '..', '..');
const posix = process.platform === 'win32' ? test.skip : test;
const secret = 'root:x:0:0:a secret';

test('trust 5: config.json and the index as links out of the folder are refused, and nothing of what they lead to is told', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'secret'), secret);
  writeFileSync(join(folder, 'secret.json'), '{"model_type":"llama","secret":"s3cret"}');
  mkdirSync(join(folder, 'away'));
  for (const name of ['config.json', 'model.safetensors.index.json'])
    for (const target of ['secret', 'secret.json', 'away/moved']) {
      const input = join(folder, 'in');
      writeFolder(input, smallModel());
      if (target === 'away/moved') renameSync(join(input, name), join(folder, target));
      else rmSync(join(input, name));
      // A chain of links is one too.
      symlinkSync(join(folder, target), join(input, 'step'));
      symlinkSync('step', join(input, name));
      for (const call of [
        () => quantizeCheckpoint(input, join(folder, 'out')),
        () => inspectCheckpoint(input),
      ]) {
        const error = await t.throwsAsync(call(), {
          code: 'ERR_VERTEXQ_FILE',
          message: /is a link to .*out of that folder/,
        });
        t.notRegex(error.message, /s3cret|root:x/);
      }
      t.false(existsSync(join(folder, 'out')));
      rmSync(input, { recursive: true });
    }
});

test('trust 5: the tokenizer, its config and the chat template as links out of the folder are refused, and nothing of them is told or written', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output, chats] = ['in', 'out', 'chats.jsonl'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const messages = [{ role: 'user', content: 'the cat sat on the mat' }];
  writeFileSync(chats, `${JSON.stringify({ messages })}\n`.repeat(8));
  writeFileSync(join(folder, 'secret'), `${secret} {{ no template`);
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja', 'tokenizer.model']) {
    writeSmall(input, 'llama');
    rmSync(join(input, name === 'tokenizer.model' ? 'tokenizer.json' : name), { force: true });
    symlinkSync(join(folder, 'secret'), join(input, name));
    for (const options of [
      { format: 'gguf:f16' as const },
      { calibration: chats, sequenceLength: 8, method: 'gptq' as const },
    ]) {
      const error = await t.throwsAsync(
        quantizeCheckpoint(input, join(folder, options.format ? 'out.gguf' : 'out'), options),
        { code: 'ERR_VERTEXQ_FILE', message: /is a link to .*out of that folder/ },
        `${name} ${JSON.stringify(options)}`,
      );
      t.notRegex(error.message, /root:x/);
    }
    t.false(existsSync(output));
    rmSync(input, { recursive: true });
  }
});

posix('trust 5: pipes and devices in the folder neither hang nor fill memory', (t) => {
  const folder = temporaryFolder(t);
  for (const [name, kind] of [
    ['config.json', 'pipe'],
    ['model.safetensors.index.json', 'pipe'],
    ['model-00001-of-00002.safetensors', 'pipe'],
    ['config.json', '/dev/zero'],
    ['model.safetensors.index.json', '/dev/zero'],
    ['config.json', 'folder'],
  ] as const) {
    const input = join(folder, 'in');
    writeFolder(input, smallModel());
    rmSync(join(input, name));
    if (kind === 'pipe') t.is(spawnSync('mkfifo', [join(input, name)]).status, 0);
    else if (kind === 'folder') mkdirSync(join(input, name));
    else symlinkSync(kind, join(input, name));
    const { stdout, signal } = spawnSync(
      process.execPath,
      [typescript, join(__dirname, '..', 'children', 'quantize.ts'), input, join(folder, 'out')],
      { cwd: repository, encoding: 'utf8', timeout: 60_000, killSignal: 'SIGKILL' },
    );
    t.is(signal, null, `${name}, ${kind}`);
    t.regex(
      stdout,
      /^ERR_VERTEXQ_(FILE|SAFETENSORS): .*(not a regular file|out of that folder)/,
      `${name}, ${kind}`,
    );
    t.false(existsSync(join(folder, 'out')));
    rmSync(input, { recursive: true });
  }
});

test('trust 5: files that go with the weights: in the folder, regular, and what is left is said', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel());
  writeFileSync(join(folder, 'secret'), secret);
  symlinkSync(join(folder, 'secret'), join(input, 'vocab.json'));
  symlinkSync('tokenizer.json', join(input, 'same.json'));
  symlinkSync('nothing', join(input, 'nowhere.json'));
  mkdirSync(join(input, 'original'));
  if (process.platform !== 'win32') spawnSync('mkfifo', [join(input, 'pipe.json')]);
  const { warnings } = await quantizeCheckpoint(input, output, { format: 'float' });
  t.true(
    warnings.some((text) =>
      /Not copied from .*"nowhere\.json" \(a link to nothing\).*"vocab\.json" \(a link to .*secret, out of the folder\)/.test(
        text,
      ),
    ),
  );
  t.deepEqual(
    readdirSync(output).filter((name) => !name.includes('safetensors')),
    ['config.json', 'same.json', 'tokenizer.json', 'vertexq.manifest.json'],
  );
  t.is(readFileSync(join(output, 'same.json'), 'utf8'), '{}');
});

test('trust 5: a config.json beyond all models is refused; the links of a Hugging Face cache are followed', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel());
  writeFileSync(join(input, 'config.json'), `{"model_type":"llama"${' '.repeat(2 ** 24)}}`);
  await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'out')), {
    code: 'ERR_VERTEXQ_FILE',
    message: /config\.json cannot be read: it has \d+ bytes, and at most 16777216/,
  });
  const cache = join(folder, 'models--a--b');
  const snapshot = join(cache, 'snapshots', '0123');
  writeFolder(snapshot, smallModel());
  mkdirSync(join(cache, 'blobs'));
  for (const [i, name] of readdirSync(snapshot).entries()) {
    renameSync(join(snapshot, name), join(cache, 'blobs', `${i}`));
    symlinkSync(join('..', '..', 'blobs', `${i}`), join(snapshot, name));
  }
  const { warnings } = await quantizeCheckpoint(snapshot, join(folder, 'out'), { bits: 4 });
  t.deepEqual(
    warnings.filter((text) => text.startsWith('Not copied')),
    [],
  );
  t.true(existsSync(join(folder, 'out', 'tokenizer.json')));
  // What they lead to is the input all the same.
  const blob = readdirSync(join(cache, 'blobs')).find(
    (name) => readFileSync(join(cache, 'blobs', name)).length > 1000,
  )!;
  const [shard] = readdirSync(snapshot).filter((name) =>
    readFileSync(join(snapshot, name)).equals(readFileSync(join(cache, 'blobs', blob))),
  );
  await t.throwsAsync(quantizeCheckpoint(join(snapshot, shard!), join(cache, 'blobs', blob)), {
    instanceOf: RangeError,
    message: /The output .* is the input/,
  });
});

test('trust 13: a file called .vertexq in the input folder is left, with a warning', async (t) => {
  const folder = temporaryFolder(t);
  for (const format of ['compressed-tensors', 'float'] as const) {
    const [input, output] = [join(folder, `in-${format}`), join(folder, format)];
    writeFolder(input, smallModel());
    writeFileSync(join(input, '.vertexq'), 'a file');
    // Nor what a killed run left there.
    writeFileSync(join(input, '.vertexq-0123456789abcdef.tmp'), 'left over');
    const { warnings } = await quantizeCheckpoint(input, output, { format });
    t.true(warnings.some((text) => /Not copied from .*"\.vertexq" \(a name of vertexq's own\)/.test(text)));
    t.deepEqual(
      readdirSync(output).filter((name) => name.startsWith('.')),
      [],
    );
    t.true(existsSync(join(output, 'model.safetensors.index.json')));
  }
});

const layer = 'model.layers.0.self_attn.q_proj.weight';
const rows = (count: number, seed: number) =>
  fileOf({ [layer]: { dtype: 'F32', shape: [count, 64], data: bytesOf(numbers(count * 64, seed), 'F32') } });

test('trust 14: recorded inputs that are written over, cut short or touched during the run are noticed', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel());
  const recorded = join(folder, 'recorded.safetensors');
  for (const [what, change] of [
    ['other bytes', () => writeFileSync(recorded, rows(300, 2))],
    ['longer', () => writeFileSync(recorded, rows(400, 2))],
    ['touched', () => utimesSync(recorded, 1e9, 1e9)],
  ] as const)
    for (const after of [0, 3]) {
      writeFileSync(recorded, rows(300, 1));
      const output = join(folder, `${what} ${after}`);
      let calls = 0;
      await t.throwsAsync(
        quantizeCheckpoint(input, output, {
          ...{ activations: recorded, threads: 1, method: 'gptq' },
          onProgress: () => {
            if (calls++ === after) change();
          },
        }),
        { code: 'ERR_VERTEXQ_FILE', message: /recorded\.safetensors.* was changed while it was read/ },
        `${what}, ${after}`,
      );
      t.false(existsSync(join(output, 'model.safetensors.index.json')));
      t.false(existsSync(join(output, 'model-00001-of-00002.safetensors')));
    }
});

/** Where files may be of any time: ext4 knows only those up to 2446. */
const anyTime = ['/dev/shm', '/tmp'].find((folder) => {
  const path = join(folder, `vertexq-time-${process.pid}`);
  try {
    writeFileSync(path, '');
    utimesSync(path, 9e12, 9e12);
    const { stdout } = spawnSync('stat', ['-c', '%Y', path], { encoding: 'utf8' });
    rmSync(path);
    return stdout.trim() === '9000000000000';
  } catch {
    return false;
  }
});

(anyTime ? test : test.skip)(
  'trust 17: files of a time that no date can be, in the far future or past',
  async (t) => {
    const folder = join(anyTime!, `vertexq-times-${process.pid}`);
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const recorded = join(folder, 'recorded.safetensors');
    for (const [i, time] of ['9000000000000', '-9000000000000', '-1', '253402300800'].entries()) {
      const input = join(folder, `in${i}`);
      writeFolder(input, smallModel());
      writeFileSync(recorded, rows(10, 1));
      for (const name of [join(input, 'model-00001-of-00002.safetensors'), recorded])
        t.is(spawnSync('touch', ['-d', `@${time}`, name]).status, 0);
      const output = join(folder, `out${i}`);
      const stopped = quantizeCheckpoint(input, output, {
        activations: recorded,
        onProgress: ({ done }) => {
          if (done > 0) throw new Error('stop');
        },
      });
      await t.throwsAsync(stopped, { message: 'stop' }, time);
      // And what is done is gone on with.
      const { layers } = await quantizeCheckpoint(input, output, { activations: recorded, resume: true });
      t.is(layers.length, 12, time);
    }
  },
);
