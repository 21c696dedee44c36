import test, { type ExecutionContext } from 'ava';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { planCheckpoint, type Progress, quantizeCheckpoint, verifyCheckpoint } from '../../../lib/index';
import { runWhole } from '../../cli/library';
import { temporaryFolder } from '../../files/temporary-folder';
import { writeSmall } from './models';
import { sameBytes } from '../../files/same-bytes';

/** Less than the whole, and more than each tensor. */
const maxFileSize = 28_000;

function inputOf(t: ExecutionContext): string {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F16');
  return folder;
}

const tensorsOf = (path: string) =>
  GgufFile.with(path, async (file) => {
    const found: [string, string, string][] = [];
    for (const [name, { dtype }] of file.tensors) found.push([name, dtype, Buffer.from(await file.read(name)).toString('hex')]); // prettier-ignore
    return found;
  });

test('an output in parts has the tensors and keys of the whole, and no file above the size', async (t) => {
  const input = inputOf(t);
  const to = temporaryFolder(t);
  const [whole, output] = [join(to, 'whole.gguf'), join(to, 'parts.gguf')];
  const alone = await quantizeCheckpoint(input, whole, { format: 'gguf:q4_0' });
  t.is(alone.files, undefined);
  const options = { format: 'gguf:q4_0', maxFileSize } as const;
  const plan = await planCheckpoint(input, output, options);
  const report = await quantizeCheckpoint(input, output, options);
  const files = report.files!;
  t.true(files.length > 2);
  t.deepEqual(files, files.map((_, i) => join(to, `parts-0000${i + 1}-of-0000${files.length}.gguf`))); // prettier-ignore
  t.deepEqual(plan.files, files);
  t.false(existsSync(output));
  const sizes = files.map((path) => statSync(path).size);
  t.true(sizes.every((size) => size <= maxFileSize), String(sizes)); // prettier-ignore
  t.is(report.bytes.after, sizes.reduce((a, b) => a + b, 0)); // prettier-ignore
  t.is(report.bytes.before, alone.bytes.before);
  t.deepEqual(report.layers.map(({ name }) => name), alone.layers.map(({ name }) => name)); // prettier-ignore
  const wanted = await tensorsOf(whole);
  for (const path of files) t.deepEqual(await tensorsOf(path), wanted);
  await GgufFile.with(files[1]!, async ({ header: { metadata } }) => {
    const ofParts = /^(split\..*|vertexq\.checksum)$/;
    const others = (keys: typeof metadata) => [...keys].filter(([key]) => !ofParts.test(key));
    await GgufFile.with(whole, ({ header }) => Promise.resolve(t.deepEqual(others(metadata), others(header.metadata)))); // prettier-ignore
    t.is(metadata.get('split.tensors.count'), wanted.length);
  });
  t.deepEqual((await verifyCheckpoint(files[0]!, input)).faults, []);
  // Back to one file.
  const joined = join(to, 'joined.gguf');
  await quantizeCheckpoint(files[0]!, joined, { format: 'gguf:q5_0' });
  t.deepEqual((await tensorsOf(joined)).map(([name]) => name), wanted.map(([name]) => name)); // prettier-ignore
});

test('what fits in one file is one, under its own name and with the bytes it has without the option', async (t) => {
  const input = inputOf(t);
  const to = temporaryFolder(t);
  const [one, other] = [join(to, 'a.gguf'), join(to, 'b.gguf')];
  const { bytes } = await quantizeCheckpoint(input, one, { format: 'gguf:q4_0' });
  const report = await quantizeCheckpoint(input, other, { format: 'gguf:q4_0', maxFileSize: bytes.after });
  t.is(report.files, undefined);
  sameBytes(t, readFileSync(other), readFileSync(one));
  const { files } = await quantizeCheckpoint(input, other, { format: 'gguf:q4_0', maxFileSize: bytes.after - 1 }); // prettier-ignore
  t.is(files?.length, 2);
});

test('an interrupted output in parts has no first part, and is gone on with to the same bytes', async (t) => {
  const input = inputOf(t);
  const ids = { data: BigInt64Array.from({ length: 480 }, (_, i) => BigInt((i * i + 7 * i) % 250)), dims: [24, 20], type: 'int64' }; // prettier-ignore
  const to = temporaryFolder(t);
  const [whole, output] = [join(to, 'a.gguf'), join(to, 'b.gguf')];
  const layers = ['blk.1.attn_*', 'blk.1.ffn_up'];
  const options = { format: 'gguf:q4_0', method: 'gptq', layers, calibration: { input_ids: ids }, maxFileSize: 50_000 } as const; // prettier-ignore
  const { files } = await quantizeCheckpoint(input, whole, options);
  const controller = new AbortController();
  const { signal } = controller;
  const onProgress = ({ layer }: Progress) => layer === 'blk.1.ffn_up' && controller.abort();
  const stopped = await quantizeCheckpoint(input, output, { ...options, signal, onProgress }).catch(
    () => null,
  );
  t.is(stopped, null);
  const parts = () => readdirSync(to).filter((name) => /^b-.*\.gguf$/.test(name));
  t.false(parts().includes(`b-00001-of-0000${files!.length}.gguf`));
  t.true(parts().length > 0, 'a part of copies alone');
  const again = await quantizeCheckpoint(input, output, { ...options, resume: true });
  t.true(again.resumed > 0);
  for (const [i, path] of again.files!.entries())
    sameBytes(t, readFileSync(path), readFileSync(files![i]!), path);
});

test('sizes that hold no tensor, or no keys, are refused with what it is', async (t) => {
  const input = inputOf(t);
  const output = join(temporaryFolder(t), 'a.gguf');
  const refused = (maxFileSize: number, message: RegExp) =>
    t.throwsAsync(quantizeCheckpoint(input, output, { format: 'gguf:f16', maxFileSize }), {
      instanceOf: RangeError,
      message,
    });
  await refused(100, /^The keys of .*in take more than the 100 bytes that the "maxFileSize" option allows/);
  await refused(30_000, /^Tensor "token_embd\.weight" takes 34816 bytes, .* allows a file 30000/);
  await t.throwsAsync(quantizeCheckpoint(input, join(temporaryFolder(t), 'out'), { maxFileSize: 1e6 }), {
    instanceOf: RangeError,
    message: /"maxFileSize" option is for GGUF files, not for the format "compressed-tensors"/,
  });
  t.false(existsSync(output));
});

test('the command line: parts that are there stop it, or are replaced, or skipped', async (t) => {
  const input = inputOf(t);
  const output = join(temporaryFolder(t), 'a.gguf');
  const args = ['quantize', input, '-o', output, '--format', 'gguf:q4_0', '--max-file-size', '28kB'];
  const first = await runWhole(args);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stderr, /written: .*a-00001-of-0000\d\.gguf/);
  const stopped = await runWhole(args);
  t.is(stopped.code, 4);
  t.regex(
    stopped.stderr,
    /a-0000\d-of-0000\d\.gguf is there already: give --overwrite.*\[ERR_VERTEXQ_EXISTS\]/,
  );
  t.regex((await runWhole([...args, '--skip-existing'])).stderr, /is there already: skipped/);
  t.is((await runWhole([...args, '--overwrite'])).code, 0);
});

(process.platform === 'linux' ? test.serial : test.serial.skip)(
  'of parts of which one is damaged, none stays open',
  async (t) => {
    const input = inputOf(t);
    const output = join(temporaryFolder(t), 'out.gguf');
    const { files } = await quantizeCheckpoint(input, output, { format: 'gguf:q4_0', maxFileSize });
    writeFileSync(files![0]!, 'GGUF and nothing else');
    const open = () =>
      readdirSync('/proc/self/fd').filter((own) => {
        try {
          return readlinkSync(`/proc/self/fd/${own}`).startsWith(output.slice(0, -'.gguf'.length));
        } catch {
          return false; // of the reading itself
        }
      });
    for (const path of files!) await t.throwsAsync(GgufFile.open(path), { code: 'ERR_VERTEXQ_GGUF' });
    t.deepEqual(open(), []);
  },
);
