import test, { type ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckpointOptions } from '../../lib/checkpoints/types';
import type { ModelOptions } from '../../lib/models/types';
import type { JobOptions, WarningOptions } from '../../lib/types';
import { temporaryFolder } from '../files/temporary-folder';
import { runFake } from './fake';

function withFile(t: ExecutionContext, content: unknown) {
  const folder = temporaryFolder(t);
  const file = join(folder, 'vertexq.config.json');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  const run = (...flags: string[]) =>
    runFake(['quantize', 'in.onnx', '-o', 'out.onnx', '--config', file, ...flags]);
  const options = async (...flags: string[]): Promise<Partial<ModelOptions>> => {
    const { code, stderr, calls } = await run(...flags);
    if (code !== 0) throw new Error(stderr);
    return withoutHooks(calls[0]!.options!);
  };
  return { folder, file, run, options };
}

/** What a checkpoint's run gets from a file. */
function forCheckpoint(t: ExecutionContext, content: unknown) {
  const { folder, file } = withFile(t, content);
  const run = (...flags: string[]) =>
    runFake(['quantize', 'in.safetensors', '-o', 'out', '--config', file, ...flags]);
  const options = async (...flags: string[]): Promise<CheckpointOptions> => {
    const { code, stderr, calls } = await run(...flags);
    if (code !== 0) throw new Error(stderr);
    return withoutHooks(calls[0]!.checkpoint!);
  };
  return { folder, run, options };
}

const withoutHooks = <Options extends JobOptions & WarningOptions>({
  signal: _signal,
  onProgress: _progress,
  onWarning: _warning,
  ...options
}: Options) => options;

test('options of the file; those of the command line win; paths are relative to the file', async (t) => {
  const overrides = [{ layers: '*head*', bits: 8 }];
  const { folder, options } = withFile(t, {
    ...{
      calibration: ['a.npz', '/b.npz'],
      holdout: 'c.npz',
      tokenizer: 'tokenizer.json',
      bits: 4,
      groupSize: 64,
    },
    ...{ overrides, image: { order: 'bgr', mean: 0.5 }, layers: 'x*' },
  });
  const own = {
    calibration: [join(folder, 'a.npz'), '/b.npz'],
    holdout: join(folder, 'c.npz'),
    tokenizer: join(folder, 'tokenizer.json'),
    groupSize: 64,
    overrides,
  };
  t.deepEqual(await options(), { ...own, bits: 4, layers: 'x*', image: { order: 'bgr', mean: 0.5 } });
  t.deepEqual(
    await options(
      '--levels',
      '3',
      '--calibration',
      'd.npz',
      '--image-order',
      'rgb',
      '--layers',
      'y*',
      '--threads',
      '2',
    ),
    {
      ...own,
      ...{ calibration: 'd.npz', levels: 3, layers: ['y*'], image: { order: 'rgb', mean: 0.5 }, threads: 2 },
    },
  );
  const flagged = withFile(t, { levels: 3, holdout: 0.2, calibration: 'a.npz' });
  t.deepEqual(await flagged.options('--bits', '2'), {
    calibration: join(flagged.folder, 'a.npz'),
    holdout: 0.2,
    bits: 2,
  });
  t.deepEqual(await withFile(t, {}).options(), {});
});

test('--override comes after those of the file, for both kinds of input', async (t) => {
  const overrides = [{ layers: '*head*', bits: 8 }];
  const flags = ['--override', 'a*=bits:3', '--override', 'b=group-size:16'];
  const all = [...overrides, { layers: 'a*', bits: 3 }, { layers: 'b', groupSize: 16 }];
  t.deepEqual(await withFile(t, { overrides }).options(...flags), { overrides: all });
  t.deepEqual(await forCheckpoint(t, { overrides }).options(...flags), { overrides: all });
  t.deepEqual(await withFile(t, {}).options('--override', 'a=bits:3'), {
    overrides: [{ layers: 'a', bits: 3 }],
  });
  const { calls } = await runFake(['quantize', 'in.onnx', '-o', 'out.onnx', '--override', 'a=bits:3']);
  t.deepEqual(calls[0]!.options!.overrides, [{ layers: 'a', bits: 3 }]);
  // A flag that is wrong is no fault of the file.
  for (const { run } of [withFile(t, { overrides }), forCheckpoint(t, { overrides })]) {
    const { code, stderr } = await run('--override', 'a=bits:9');
    t.is(code, 2);
    t.regex(stderr, /^vertexq: overrides\[1\]: Expected the "bits" option/);
  }
});

test('options of a checkpoint in a file', async (t) => {
  const content = {
    ...{
      activations: ['a.safetensors', '/b.safetensors'],
      holdout: 0.2,
      bits: 4,
      groupSize: 64,
      resume: true,
    },
    ...{ overrides: [{ layers: '*down_proj*', bits: 8, method: 'gptq' }], memory: 2 ** 30, format: 'gptq' },
  };
  const { folder, options } = forCheckpoint(t, content);
  const own = { ...content, activations: [join(folder, 'a.safetensors'), '/b.safetensors'] };
  t.deepEqual(await options(), own);
  const unsized = Object.fromEntries(Object.entries(own).filter(([name]) => name !== 'bits'));
  t.deepEqual(
    await options('--levels', '3', '--format', 'float', '--activations', 'c.safetensors', '--threads', '2'),
    { ...unsized, levels: 3, format: 'float', activations: ['c.safetensors'], threads: 2 },
  );
  const single = forCheckpoint(t, { activations: 'a.safetensors' });
  t.deepEqual(await single.options('--dry-run'), { activations: join(single.folder, 'a.safetensors') });
  for (const [wrong, message] of [
    [{ bitz: 4 }, /config\.json: Unknown option "bitz": did you mean "bits"\?/],
    [{ bits: 4, levels: 3 }, /config\.json: .*contradict each other/],
    [{ onProgress: 4 }, /config\.json: Unknown option "onProgress"/],
    [{ method: 'gptq' }, /config\.json: The method "gptq" needs calibration data/],
    [
      { activations: {} },
      /config\.json: Expected the "activations" option to be the path of a file, or an array/,
    ],
    [{ activations: '' }, /config\.json: Expected the "activations" option/],
    [{ format: 'qdq' }, /config\.json: Expected the "format" option to be one of "compressed-tensors"/],
    [{ overrides: { a: { bits: 3 } } }, /config\.json: Expected the "overrides" option to be an array/],
    [{ overrides: [{ layers: '*', effort: 3 }] }, /config\.json: overrides\[0\]: Unknown option "effort"/],
    [null, /config\.json: Expected the options to be an object, not null/],
  ] as [unknown, RegExp][]) {
    const { code, stderr, calls } = await forCheckpoint(t, wrong).run();
    t.deepEqual([code, calls], [2, []], JSON.stringify(wrong));
    t.regex(stderr, message);
  }
});

test('options of the other kind of input are refused', async (t) => {
  for (const [option, message] of [
    [{ batchAxis: 'n' }, /"batchAxis" option is for ONNX models, and the input is a checkpoint/],
    [
      { bits: 4, operators: ['MatMul'] },
      /"operators" option is for ONNX models, and the input is a checkpoint/,
    ],
    [{ typo: 1, externalData: true }, /"externalData" option is for ONNX models/],
  ] as [object, RegExp][]) {
    const { code, stderr, calls } = await forCheckpoint(t, option).run();
    t.deepEqual([code, calls], [2, []]);
    t.regex(stderr, /^vertexq: [^ ]*config\.json: The /);
    t.regex(stderr, message);
  }
  for (const name of ['activations', 'allowQuantized']) {
    const { code, stderr, calls } = await withFile(t, { [name]: 'a' }).run();
    t.deepEqual([code, calls], [2, []]);
    t.regex(stderr, new RegExp(`config\\.json: The "${name}" option is for checkpoints, and .* ONNX model`));
  }
});

test('what is wrong in the file is told with its name, and the place in it', async (t) => {
  for (const [content, message] of [
    [{ bitz: 4 }, /config\.json: Unknown option "bitz": did you mean "bits"\?/],
    [{ onProgress: 4 }, /config\.json: Unknown option "onProgress"/],
    [{ bits: 9 }, /config\.json: Expected the "bits" option to be a whole number from 1 to 8, not 9/],
    [{ bits: null }, /config\.json: Expected the "bits" option to be a number, not null/],
    [{ bits: 4, levels: 3 }, /config\.json: .*contradict each other/],
    [{ method: 'gptq' }, /config\.json: The method "gptq" needs calibration data/],
    [
      {
        calibration: 'a.npz',
        overrides: [
          { layers: '*', bits: 3 },
          { layers: '*', bits: 0 },
        ],
      },
      /config\.json: overrides\[1\]: Expected the "bits" option/,
    ],
    [
      { overrides: [{ layers: '*', bist: 3 }] },
      /config\.json: overrides\[0\]: Unknown option "bist": did you mean "bits"/,
    ],
    [{ overrides: {} }, /config\.json: Expected the "overrides" option to be an array/],
    [{ image: { sizes: [1, 1] } }, /config\.json: Unknown image option "sizes": did you mean "size"/],
    [
      { calibration: { x: [1] } },
      /config\.json: Expected the "calibration" option to be the path of a file, or an array of such, not a Object/,
    ],
    [{ calibration: [] }, /config\.json: Expected the "calibration" option/],
    [
      { calibration: 'a.npz', holdout: {} },
      /config\.json: Expected the "holdout" option .*, or a fraction, not a Object/,
    ],
    [{ tokenizer: 5 }, /config\.json: Expected the "tokenizer" option/],
    [[], /config\.json: Expected the options to be an object, not an array/],
    ['null', /config\.json: Expected the options to be an object, not null/],
  ] as [unknown, RegExp][]) {
    const { code, stderr, stdout, calls } = await withFile(t, content).run();
    t.deepEqual([code, stdout, calls], [2, '', []], JSON.stringify(content));
    t.regex(stderr, message);
    t.regex(stderr, /^vertexq: [^\n]*\n$/);
  }
  // A flag that is wrong by itself is no fault of the file.
  const { stderr } = await withFile(t, { calibration: 'a.npz' }).run('--bits', '9');
  t.regex(stderr, /^vertexq: Expected the "bits" option/);
});

test('files that are no configuration: exit code 3', async (t) => {
  for (const [content, message] of [
    ['{"bits": 4', /config\.json is no JSON: .*\[ERR_VERTEXQ_CONFIG\]/],
    ['', /is no JSON/],
    ['{"bits": 4,}', /is no JSON/],
  ] as const) {
    const { code, stderr, calls } = await withFile(t, content).run();
    t.deepEqual([code, calls], [3, []]);
    t.regex(stderr, message);
  }
  const folder = temporaryFolder(t);
  const args = ['quantize', 'in.onnx', '-o', 'out.onnx', '--config'];
  const absent = await runFake([...args, join(folder, 'none.json')]);
  t.is(absent.code, 1);
  t.regex(absent.stderr, /none\.json cannot be read: ENOENT.*\[ERR_VERTEXQ_FILE\]/);
  mkdirSync(join(folder, 'sub'));
  const isFolder = await runFake([...args, join(folder, 'sub')]);
  t.regex(isFolder.stderr, /is not a regular file but a folder/);
});

test('whose fault a wrong option is goes by who gave the options that it is about', async (t) => {
  for (const [content, flags, isOfFile, message] of [
    // Of the file alone, whatever the flags say besides.
    [{ bits: 9 }, ['--threads', '2'], true, /"bits" option/],
    [{ image: { std: 0 } }, ['--image-order', 'bgr'], true, /"image.std" option/],
    [{ method: 'msq', effort: 2 }, [], true, /"effort" option belongs/],
    [{ maxLength: 3 }, [], true, /"maxLength" option is about text/],
    [{ format: 'qdq', grid: 'integer' }, ['--bits', '1'], true, /One bit has no "integer" grid/],
    // Of both: the file has a part in it.
    [{ method: 'msq' }, ['--effort', '2'], true, /"effort" option belongs/],
    [{ calibration: 'a.npz', effort: 2 }, ['--method', 'gptq'], true, /"effort" option belongs/],
    // Of the flags alone, whatever the file says besides.
    [{ bits: 3 }, ['--method', 'gptq'], false, /needs calibration data/],
    [{ threads: 2 }, ['--max-length', '3'], false, /"maxLength" option is about text/],
    [{ bits: 3 }, ['--grid', 'integer', '--levels', '4'], false, /odd number of levels/],
    [{ bits: 9 }, ['--bits', '0'], false, /"bits" option.*not 0/],
    [{ image: { order: 'bgr' } }, ['--image-std', '0'], false, /"image.std" option/],
    [
      { overrides: [{ layers: 'a', bits: 3 }] },
      ['--override', 'b=levels:4,grid:integer'],
      false,
      /^vertexq: overrides\[1\]: .*odd/,
    ],
    [
      { overrides: [{ layers: 'a', bits: 9 }] },
      ['--override', 'b=bits:3'],
      true,
      /overrides\[0\]: .*"bits" option/,
    ],
  ] as [object, string[], boolean, RegExp][]) {
    const { file, run } = withFile(t, content);
    const { code, stderr } = await run(...flags);
    const what = `${JSON.stringify(content)} ${flags.join(' ')}`;
    t.is(code, 2, what);
    t.regex(stderr, message, what);
    t.is(stderr.startsWith(`vertexq: ${file}: `), isOfFile, `${what}: ${stderr}`);
  }
});
