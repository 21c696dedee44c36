import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { openCheckpoint } from '../../lib/containers/safetensors/checkpoint';
import { quantizeCheckpoint, type Verification, verifyCheckpoint } from '../../lib/index';
import { runFake } from '../cli/fake';
import { temporaryFolder } from '../files/temporary-folder';
import { sampleVerification } from '../reports/checkpoint-samples';
import { fileOf, smallModel, tensor, writeFolder } from './make';
import { formatsOfCheckpoints } from './formats';

const errorsOf = ({ weights }: Verification) => new Map(weights.map(({ name, error }) => [name, error]));

for (const format of formatsOfCheckpoints)
  for (const dtype of ['BF16', 'F32', 'F64'] as const)
    test(`verify: what was written as ${format} of ${dtype} is as far from the original as the report says`, async (t) => {
      const folder = temporaryFolder(t);
      const [input, output] = [join(folder, 'in'), join(folder, 'out')];
      writeFolder(input, smallModel(dtype));
      const report = await quantizeCheckpoint(input, output, { format, groupSize: 32 });
      let last = 0;
      const verified = await verifyCheckpoint(output, input, {
        onProgress: ({ done, total }) => {
          t.true(done >= last && done <= total);
          last = done;
        },
      });
      t.deepEqual(verified.faults, []);
      t.is(verified.weights.length, report.layers.length);
      t.is(verified.identical.tensors, report.copied.tensors);
      t.is(verified.identical.bytes, report.copied.bytes);
      const errors = errorsOf(verified);
      for (const { name, error, bits, groupSize } of report.layers) {
        const own = format === 'float' ? `${name}.weight` : name;
        // The report's error is that of values before they were rounded to a plain tensor's type.
        const tolerance = format === 'float' && dtype === 'BF16' ? 0.02 : 1e-6;
        t.true(Math.abs(errors.get(own)! - error.weight) <= tolerance * error.weight, name);
        const weight = verified.weights.find((found) => found.name === own)!;
        if (format !== 'float') t.deepEqual([weight.bits, weight.groupSize], [bits, groupSize]);
      }
      if (format === 'float') {
        await t.throwsAsync(verifyCheckpoint(output), { code: 'ERR_VERTEXQ_UNSUPPORTED' });
        return;
      }
      const alone = await verifyCheckpoint(output);
      t.deepEqual(alone.faults, []);
      t.true(alone.weights.every(({ error }) => error === null));
    });

/** A quantized file with one tensor's bytes changed. */
async function damaged(file: string, name: string, change: (bytes: Uint8Array) => void): Promise<void> {
  const checkpoint = await openCheckpoint(file);
  const [shard] = checkpoint.shards.values();
  const { position, byteLength } = shard!.tensor(name);
  await checkpoint.close();
  const bytes = readFileSync(file);
  change(bytes.subarray(position, position + byteLength));
  writeFileSync(file, bytes);
}

test('verify: what is not as it should be is told, a tensor a sentence', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  const tensors = {
    'a.weight': tensor('F32', [64, 96], 1),
    'b.weight': tensor('F16', [40, 64], 2),
    'norm.weight': tensor('F32', [64], 3),
  };
  writeFileSync(input, fileOf(tensors));
  const output = join(folder, 'out.safetensors');
  await quantizeCheckpoint(input, output, { groupSize: 32, grid: 'integer' });
  t.deepEqual((await verifyCheckpoint(output, input)).faults, []);
  const other = `"${output}" is not as it was written: its checksum is another`;

  await damaged(output, 'norm.weight', (bytes) => (bytes[17]! ^= 1));
  t.deepEqual((await verifyCheckpoint(output, input)).faults, [
    'tensor "norm.weight" differs from the original',
    other,
  ]);

  // All codes in another order: bits that no longer mean what they did.
  const before = errorsOf(await verifyCheckpoint(output, input)).get('a')!;
  await damaged(output, 'a.weight_packed', (bytes) => bytes.reverse());
  const { faults, weights } = await verifyCheckpoint(output, input);
  t.true(faults.includes('tensor "a.weight" is farther from the original than zeros would be'));
  t.true(weights.find(({ name }) => name === 'a')!.error! > before);

  for (const bits of [0x7e00, 0x7c00]) {
    await damaged(output, 'b.weight_scale', (bytes) =>
      new DataView(bytes.buffer, bytes.byteOffset).setUint16(6, bits, true),
    );
    const alone = await verifyCheckpoint(output);
    t.regex(
      alone.faults.join(),
      /^tensor "b\.weight" cannot be read back: neuron 1, input \d+ is (NaN|infinite),".*" is not as it was written/,
    );
    t.is(errorsOf(alone).get('b'), null);
  }

  const others = join(folder, 'others.safetensors');
  writeFileSync(
    others,
    fileOf({
      'a.weight': tensor('F32', [96, 64], 1),
      'norm.weight': tensor('F16', [64], 3),
      more: tensor('F32', [2], 1),
    }),
  );
  t.deepEqual((await verifyCheckpoint(output, others)).faults.sort(), [
    other,
    'tensor "a.weight" is F32 [96, 64] in the original',
    'tensor "b.weight" cannot be read back: neuron 1, input 32 is infinite',
    'tensor "b.weight" is not in the original',
    'tensor "more" is in the original alone',
    'tensor "norm.weight" is F16 [64] in the original',
  ]);
});

test('verify: paths that are none, options that are none, an abort', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  writeFileSync(input, fileOf({ 'a.weight': tensor('F32', [64, 96], 1) }));
  await t.throwsAsync(verifyCheckpoint(3 as unknown as string), { instanceOf: TypeError });
  await t.throwsAsync(verifyCheckpoint(input, ''), { instanceOf: TypeError });
  await t.throwsAsync(verifyCheckpoint(join(folder, 'none')), { code: 'ERR_VERTEXQ_FILE' });
  await t.throwsAsync(verifyCheckpoint(input), { code: 'ERR_VERTEXQ_UNSUPPORTED' });
  await t.throwsAsync(verifyCheckpoint(input, input, { signal: AbortSignal.abort(new Error('enough')) }), {
    message: 'enough',
  });
  const { identical, weights } = await verifyCheckpoint(input, input);
  t.deepEqual([identical.tensors, weights], [1, []]);
});

test('verify: the command tells all, and its exit code whether anything is wrong', async (t) => {
  const sound = await runFake(['verify', 'out', 'in', '--json']);
  t.is(sound.code, 0);
  t.is((JSON.parse(sound.stdout) as Verification).weights[0]!.error, 0.1);
  t.regex(sound.stderr, /1 weight read back.*\n1 other tensor, 128 B: byte for byte as in in/);
  const faults = ['tensor "a" is odd', 'tensor "b" is odd'];
  const wrong = await runFake(['verify', 'out'], {
    verifyCheckpoint: () => Promise.resolve(sampleVerification({ original: null, faults })),
  });
  t.is(wrong.code, 1);
  t.regex(wrong.stdout, /tensor "b" is odd\n/);
  t.regex(
    wrong.stderr,
    /vertexq: out is not as it should be: tensor "a" is odd, and 1 more \[ERR_VERTEXQ_VERIFY\]/,
  );
});
