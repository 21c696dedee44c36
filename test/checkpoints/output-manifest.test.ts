import test, { type ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  type CheckpointOptions,
  quantizeCheckpoint,
  tuneCheckpoint,
  verifyCheckpoint,
} from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { smallModel, writeFolder } from './make';
import { textModel } from './sharded/folders';

interface Manifest {
  schemaVersion: number;
  files: Record<string, { bytes: number; pieces: { ranges: [number, number][]; xxh64: string }[] }>;
}

const name = 'vertexq.manifest.json';
const manifestIn = (folder: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as Manifest;

async function made(t: ExecutionContext, options: CheckpointOptions = { groupSize: 32 }) {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel('BF16', 128));
  await quantizeCheckpoint(input, output, options);
  return { input, output };
}

/** Throws where a file's checksums leave some of its bytes out, or have some twice. */
function requireAll(t: ExecutionContext, { files }: Manifest): void {
  for (const [file, { bytes, pieces }] of Object.entries(files)) {
    const ranges = pieces.flatMap((piece) => piece.ranges).sort(([a], [b]) => a - b);
    let at = 0;
    for (const [begin, end] of ranges) {
      t.is(begin, at, file);
      at = end;
    }
    t.is(at, bytes, file);
  }
}

for (const format of ['compressed-tensors', 'gptq', 'float'] as const)
  test(`every byte of every file of a folder has a checksum: ${format}`, async (t) => {
    const { input, output } = await made(t, { groupSize: 32, format });
    const manifest = manifestIn(output);
    requireAll(t, manifest);
    for (const file of ['config.json', 'tokenizer.json', 'model.safetensors.index.json'])
      t.true(file in manifest.files, file);
    const { faults, manifest: compared } = await verifyCheckpoint(output, input);
    t.deepEqual(faults, []);
    const bytes = Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
    t.deepEqual(compared, { files: Object.keys(manifest.files).length, bytes });
  });

test('any byte that is changed is found, and where; what is missing, longer or shorter too', async (t) => {
  const { output } = await made(t);
  const { files } = manifestIn(output);
  const names = Object.keys(files).filter((file) => /^model-.*safetensors$|config\.json$/.test(file));
  const places = fc
    .constantFrom(...names)
    .chain((file) =>
      fc.tuple(fc.constant(file), fc.nat(files[file]!.bytes - 1), fc.integer({ min: 1, max: 255 })),
    );
  await fc.assert(
    fc.asyncProperty(places, async ([file, at, change]) => {
      const path = join(output, file);
      const before = readFileSync(path);
      const after = Buffer.from(before);
      after[at]! ^= change;
      writeFileSync(path, after);
      const found = await verifyCheckpoint(output).then(
        ({ faults }) => faults.join(),
        // A header or a config that cannot be read is told as that.
        (error: unknown) => `${file} is not as it was written: ${(error as Error).message}`,
      );
      writeFileSync(path, before);
      return found.includes(`${file}`) && found.includes('is not as it was written');
    }),
    { numRuns: 40 },
  );
  const faultsAfter = async (change: () => void) => {
    change();
    return (await verifyCheckpoint(output)).faults;
  };
  const tokenizer = join(output, 'tokenizer.json');
  const { bytes } = files['tokenizer.json']!;
  t.deepEqual(await faultsAfter(() => appendFileSync(tokenizer, ' ')), [
    `"tokenizer.json" has ${bytes + 1} bytes, and was written with ${bytes}`,
  ]);
  truncateSync(tokenizer, 1);
  t.is((await verifyCheckpoint(output)).faults.length, 1);
  t.deepEqual(await faultsAfter(() => rmSync(tokenizer)), ['"tokenizer.json" is missing']);
});

test('what is no manifest is told, and leads nowhere', async (t) => {
  const { output } = await made(t);
  const path = join(output, name);
  const { files } = manifestIn(output);
  const first = Object.values(files)[0]!;
  for (const text of [
    '',
    '[]',
    '{"schemaVersion":2,"files":{}}',
    JSON.stringify({ schemaVersion: 1, files: { '../in/config.json': first } }),
    JSON.stringify({ schemaVersion: 1, files: { '/etc/passwd': first } }),
    JSON.stringify({ schemaVersion: 1, files: { 'a/../../b': first } }),
    JSON.stringify({
      schemaVersion: 1,
      files: { x: { bytes: 9, pieces: [{ ranges: [[0, 10]], xxh64: '' }] } },
    }),
    JSON.stringify({
      schemaVersion: 1,
      files: { x: { bytes: 9, pieces: [{ ranges: [[5, 1]], xxh64: '' }] } },
    }),
    JSON.stringify({
      schemaVersion: 1,
      files: { x: { bytes: 9, pieces: [{ ranges: [['0', 1]], xxh64: '' }] } },
    }),
    JSON.stringify({ schemaVersion: 1, files: { x: { bytes: 1e300, pieces: 1 } } }),
    // Not every byte, or one twice.
    ...[[], [{ ranges: [], xxh64: '' }], [{ ranges: [[0, 8]], xxh64: '' }]].map((pieces) =>
      JSON.stringify({ schemaVersion: 1, files: { x: { bytes: 9, pieces } } }),
    ),
    JSON.stringify({ schemaVersion: 1, files: { x: { bytes: 9, pieces: [{ ranges: [[0, 9], [0, 9]], xxh64: '' }] } } }), // prettier-ignore
  ]) {
    writeFileSync(path, text);
    const { faults, manifest } = await verifyCheckpoint(output);
    t.deepEqual(manifest, { files: 0, bytes: 0 });
    t.regex(faults.join(), /^vertexq\.manifest\.json is no manifest of vertexq/, text);
  }
  rmSync(path);
  t.is((await verifyCheckpoint(output)).manifest, null);
});

test('files of unusual names, and what is no file any more', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel('BF16', 128));
  const names = ['a\\b.json', '__proto__', 'constructor', ' ', 'ü\n.txt', 'empty.txt'];
  for (const file of names) writeFileSync(join(input, file), file === 'empty.txt' ? '' : file);
  await quantizeCheckpoint(input, output, { groupSize: 32 });
  t.deepEqual((await verifyCheckpoint(output)).faults, []);
  writeFileSync(join(output, '__proto__'), '__Proto__');
  rmSync(join(output, 'constructor'));
  mkdirSync(join(output, 'constructor'));
  rmSync(join(output, ' '));
  execFileSync('mkfifo', [join(output, ' ')]);
  const { faults } = await verifyCheckpoint(output);
  t.is(faults.length, 3, faults.join());
  t.regex(faults.join(), /"__proto__" is not as it was written: bytes 0 to 9/);
  t.regex(faults.join(), /constructor is not a regular file but a folder/);
});

test("a run that is gone on with has the manifest of an undisturbed one; an input's manifest is not copied", async (t) => {
  const { input, output } = await made(t);
  const again = `${output}-again`;
  let units = 0;
  const end = new AbortController();
  const onProgress = () => {
    if (++units === 6) end.abort(new Error('ended'));
  };
  await t.throwsAsync(quantizeCheckpoint(input, again, { groupSize: 32, onProgress, signal: end.signal }), {
    message: 'ended',
  });
  await quantizeCheckpoint(input, again, { groupSize: 32, resume: true });
  t.deepEqual(manifestIn(again), manifestIn(output));
  writeFileSync(join(input, name), '{}');
  await quantizeCheckpoint(input, `${output}-third`, { groupSize: 32 });
  t.deepEqual(manifestIn(`${output}-third`), manifestIn(output));
});

test('folders of language models, as a network and tuned, have manifests of all their files', async (t) => {
  const { input, calibration, folder } = textModel(t, 'with a tokenizer');
  const common = { bits: 4, groupSize: 16, method: 'gptq', calibration } as const;
  const [network, packed, tuned] = ['network', 'packed', 'tuned'].map((of) => join(folder, of)) as [string, string, string]; // prettier-ignore
  await quantizeCheckpoint(input, network, { ...common, format: 'onnx' });
  requireAll(t, manifestIn(network));
  t.true(Object.keys(manifestIn(network).files).some((file) => /^onnx\/.*\.onnx$/.test(file)));
  await quantizeCheckpoint(input, packed, common);
  await tuneCheckpoint(input, packed, tuned, { calibration, rounds: 1 });
  requireAll(t, manifestIn(tuned));
  const { faults, manifest } = await verifyCheckpoint(tuned);
  t.deepEqual([faults, manifest!.files], [[], Object.keys(manifestIn(tuned).files).length]);
});
