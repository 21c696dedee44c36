import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { readImatrix } from '../../../lib/containers/gguf/imatrix';
import { unpacked } from '../../../lib/encodings/gguf/blocks';
import { ggufTypes } from '../../../lib/encodings/gguf/table';
import { planCheckpoint, quantizeCheckpoint } from '../../../lib/index';
import { gguf, type Tensor, u32 } from '../../containers/gguf/make';
import { bytesButHashes } from '../../runs/but-hashes';
import { temporaryFolder } from '../../files/temporary-folder';
import { smallModel, writeSmall } from './models';

type Entries = Record<string, Float32Array>;

const bytesOf = (values: Float32Array) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** As llama-imatrix wrote them before it wrote GGUF. */
const legacy = (entries: Entries) =>
  Buffer.concat([
    u32(Object.keys(entries).length),
    ...Object.entries(entries).flatMap(([name, values]) => [
      u32(name.length),
      Buffer.from(name),
      u32(7),
      u32(values.length),
      bytesOf(values),
    ]),
    ...[u32(7), u32(3), Buffer.from('a.t')],
  ]);

const asGguf = (entries: Entries) =>
  gguf(
    { 'general.type': { type: 'text', value: 'imatrix' } },
    Object.entries(entries).flatMap(([name, values]): [string, Tensor][] => [
      [`${name}.in_sum2`, { type: 0, shape: [1, values.length], data: bytesOf(values) }],
      [`${name}.counts`, { type: 0, shape: [1, 1], data: bytesOf(Float32Array.of(7)) }],
    ]),
  );

const some: Entries = {
  'blk.0.attn_q.weight': Float32Array.of(1, 2, 3.5),
  'output.weight': Float32Array.of(0, 4),
};

test('both formats of importance matrices are read, and broken ones refused with what is wrong', async (t) => {
  const path = join(temporaryFolder(t), 'imatrix');
  for (const bytes of [legacy(some), asGguf(some)]) {
    writeFileSync(path, bytes);
    t.deepEqual(Object.fromEntries(await readImatrix(path)), some);
  }
  const refused = async (bytes: Uint8Array, message: RegExp) => {
    writeFileSync(path, bytes);
    await t.throwsAsync(readImatrix(path), { code: 'ERR_VERTEXQ_GGUF', message });
  };
  const whole = legacy(some);
  await refused(new Uint8Array(0), /the number of entries would end behind its 0 bytes/);
  await refused(u32(0), /tells of no tensors/);
  await refused(legacy({ a: Float32Array.of(-1) }), /entry "a" has a number/);
  await refused(legacy({ a: Float32Array.of(NaN) }), /entry "a" has a number/);
  for (let length = 4; length < whole.length - 11; length += 3)
    await refused(whole.subarray(0, length), /would end behind/);
  for (let at = 0; at < whole.length; at++) {
    const broken = Buffer.from(whole);
    broken[at]! ^= 0xff;
    writeFileSync(path, broken);
    await readImatrix(path).catch((error: { code: string }) => t.is(error.code, 'ERR_VERTEXQ_GGUF'));
  }
});

test('weights without data are rounded by an importance matrix, and those without one are told', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  const model = smallModel('llama', { hidden: 256, feedForward: 512, keyValueHeads: 4, headSize: 64 });
  writeSmall(folder, 'llama', 'F32', model);
  const counts = (length: number) => Float32Array.from({ length }, (_, i) => (i % 8 === 0 ? 100 : 0.01));
  const matrix = {
    'blk.1.ffn_up.weight': counts(256),
    'blk.1.ffn_down.weight': counts(512),
    'blk.9.ffn_up.weight': counts(256),
  };
  const imatrix = join(temporaryFolder(t), 'a.dat');
  writeFileSync(imatrix, legacy(matrix));
  const to = temporaryFolder(t);
  const output = (name: string) => join(to, name);
  const error = async (file: string) =>
    GgufFile.with(file, async (of) => {
      const values = await unpacked(ggufTypes.Q3_K, await of.read('blk.1.ffn_down.weight'), [256, 512]);
      const original = model.weights['model.layers.1.mlp.down_proj.weight']!.values;
      return values.reduce((sum, value, i) => sum + (i % 8 === 0 ? (value - original[i]!) ** 2 : 0), 0);
    });
  const options = { format: 'gguf:q3_k_s', layers: ['blk.1.*'] } as const;
  await quantizeCheckpoint(folder, output('plain.gguf'), options);
  const { warnings } = await quantizeCheckpoint(folder, output('weighted.gguf'), { ...options, imatrix });
  t.true((await error(output('weighted.gguf'))) < 0.5 * (await error(output('plain.gguf'))));
  t.true(
    warnings.some((text) => text.includes('a.dat tells nothing of blk.1.attn_')),
    warnings.join('\n'),
  );
  t.true(
    warnings.some((text) => text.includes('unused') && text.includes('blk.9.ffn_up.weight')),
    warnings.join('\n'),
  );
  writeFileSync(imatrix, asGguf(matrix));
  await quantizeCheckpoint(folder, output('again.gguf'), { ...options, imatrix });
  t.deepEqual(bytesButHashes(output('again.gguf')), bytesButHashes(output('weighted.gguf')));

  const refused = (given: object, message: RegExp) =>
    t.throwsAsync(planCheckpoint(folder, output('x.gguf'), { ...options, imatrix, ...given }), { message });
  await refused({ format: 'gptq' }, /"imatrix" option is for GGUF files/);
  await refused({ calibration: ['x.txt'] }, /"imatrix" and "calibration" exclude each other/);
  await refused({ scale: 'max' }, /no effect on the scale "max"/);
  writeFileSync(imatrix, legacy({ 'blk.1.ffn_up.weight': counts(100) }));
  await refused({}, /entry "blk.1.ffn_up.weight" has 100 numbers, and the weight has 256 inputs/);
  writeFileSync(imatrix, legacy(some));
  await refused({}, /tells of no weight that is quantized/);
});

test('matrices that no token has reached are named, experts by their numbers', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'qwen3moe');
  const imatrix = join(temporaryFolder(t), 'a.dat');
  const counts = Float32Array.from({ length: 4 * 64 }, (_, i) => (Math.floor(i / 64) === 2 ? 0 : 1));
  writeFileSync(imatrix, legacy({ 'blk.0.ffn_up_exps.weight': counts, 'blk.0.attn_q.weight': new Float32Array(64) })); // prettier-ignore
  const layers = ['blk.0.ffn_up_exps', 'blk.0.attn_q'];
  const [plain, output] = ['plain', 'out'].map((own) => join(temporaryFolder(t), `${own}.gguf`)) as [string, string]; // prettier-ignore
  const { warnings } = await quantizeCheckpoint(folder, output, { format: 'gguf:q4_0', imatrix, layers });
  t.true(
    warnings.some((text) => /a\.dat has nothing but zeros for (?=.*blk\.0\.attn_q\.weight)(?=.*blk\.0\.ffn_up_exps\.2\.weight).*, which no token has reached/.test(text)), // prettier-ignore
    warnings.join('\n'),
  );
  // What counts alike is rounded as if it were told that it does.
  await quantizeCheckpoint(folder, plain, { format: 'gguf:q4_0', layers });
  const query = (file: string) => GgufFile.with(file, (of) => of.read('blk.0.attn_q.weight'));
  const error = async (file: string) => {
    const values = await unpacked(ggufTypes.Q4_0, await query(file), [64, 64]);
    return Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
  };
  const [a, b] = [await error(output), await error(plain)];
  t.true(Math.abs(a / b - 1) < 0.01, `${a}, ${b}`);
});
