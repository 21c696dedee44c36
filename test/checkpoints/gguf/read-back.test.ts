import test, { type ExecutionContext } from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import {
  type CheckpointFormat,
  evaluateCheckpoint,
  evaluateLanguageModel,
  quantizeCheckpoint,
  verifyCheckpoint,
} from '../../../lib/index';
import { runFake } from '../../cli/fake';
import { gguf } from '../../containers/gguf/make';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { byteTokenizer, type KindName, kindNames, writeSmall } from './models';

/** A model's folder, its float16 file, and that in few bits. */
async function filesOf(t: ExecutionContext, name: KindName, format: CheckpointFormat) {
  const folder = join(temporaryFolder(t), 'in');
  const [float, quantized] = [join(temporaryFolder(t), 'f16.gguf'), join(temporaryFolder(t), 'few.gguf')];
  writeSmall(folder, name, 'F16');
  await quantizeCheckpoint(folder, float, { format: 'gguf:f16' });
  const report = await quantizeCheckpoint(float, quantized, { format });
  return { folder, float, quantized, report };
}

const data = {
  input_ids: {
    data: BigInt64Array.from({ length: 120 }, (_, i) => BigInt((i * i + 7 * i) % 250)),
    dims: [5, 24],
    type: 'int64',
  },
};

for (const name of kindNames)
  test(`${name}: a GGUF file is evaluated and verified as the folder of the same numbers is`, async (t) => {
    const { folder, float, quantized, report } = await filesOf(t, name, 'gguf:q4_0');
    const same = await evaluateLanguageModel(folder, float, { data });
    t.true(Math.abs(same.kl.mean) < 1e-6, String(same.kl.mean));
    const { checkpoints } = await evaluateCheckpoint(float, quantized, { data });
    t.true(checkpoints[0]!.klDivergence.mean > 1e-4);
    t.true(checkpoints[0]!.bytes < 0.6 * readFileSync(float).length);
    for (const original of [float, folder]) {
      const { faults, weights, identical } = await verifyCheckpoint(quantized, original);
      t.deepEqual(faults, []);
      t.is(weights.length, report.layers.length);
      t.is(identical.tensors, report.copied.tensors);
      for (const { name: own, error } of report.layers) {
        const found = weights.find((weight) => weight.name.startsWith(own))!;
        t.true(Math.abs(found.error! / error.weight - 1) < 1e-6, own);
      }
    }
    t.true((await verifyCheckpoint(quantized)).weights.every(({ error }) => error === null));
  });

test('what is wrong with a GGUF file is told', async (t) => {
  const { folder, float, quantized } = await filesOf(t, 'llama', 'gguf:q4_k_m');
  await t.throwsAsync(verifyCheckpoint(float), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /no tensors in few bits/,
  });
  const { tensors } = await GgufFile.with(quantized, (file) => Promise.resolve(file));
  const bytes = readFileSync(quantized);
  const at = (tensor: string) => tensors.get(tensor)!.position;
  const damaged = join(temporaryFolder(t), 'damaged.gguf');
  // The first step becomes infinite; a norm another number; a matrix nonsense.
  bytes.writeUInt16LE(0x7c00, at('blk.0.attn_q.weight'));
  bytes[at('blk.1.attn_norm.weight')]! ^= 1;
  for (let i = 0; i < 300; i++) bytes.writeUInt16LE(0x4c00, at('blk.1.ffn_down.weight') + 22 * i);
  writeFileSync(damaged, bytes);
  const faults = [
    /^tensor "blk.0.attn_q.weight" cannot be read back: neuron 0, input \d+ is /,
    'tensor "blk.1.attn_norm.weight" differs from the original',
    'tensor "blk.1.ffn_down.weight" is farther from the original than zeros would be',
    /damaged\.gguf" is not as it was written: its checksum is another$/,
  ];
  const found = await verifyCheckpoint(damaged, float);
  for (const fault of faults)
    t.true(found.faults.some((own) => (typeof fault === 'string' ? own === fault : fault.test(own))), String(fault)); // prettier-ignore
  t.is(found.faults.length, faults.length);
  t.is((await verifyCheckpoint(damaged)).faults.length, 2);
  const { code, stderr } = await runFake(['verify', damaged, float], { verifyCheckpoint });
  t.is(code, 1);
  t.regex(stderr, /is not as it should be: tensor/);

  const other = join(temporaryFolder(t), 'other.gguf');
  writeSmall(join(folder, 'qwen'), 'qwen2', 'F16');
  await quantizeCheckpoint(join(folder, 'qwen'), other, { format: 'gguf:f16' });
  const apart = (await verifyCheckpoint(quantized, other)).faults;
  t.true(apart.includes('tensor "blk.0.attn_q.bias" is in the original alone'));
  t.true(apart.includes('key "qwen2.block_count" is in the original alone'));
});

test('eval: a GGUF file brings its tokenizer, and another one is refused', async (t) => {
  const { folder, float, quantized } = await filesOf(t, 'llama', 'gguf:q8_0');
  const texts = temporaryFile(
    t,
    'texts.txt',
    'the cat and the hat in 1234 trees\n\nthere is an other text\n',
  );
  const options = { data: texts };
  const [one, two] = [
    await evaluateCheckpoint(folder, quantized, options),
    await evaluateCheckpoint(float, quantized, options),
  ];
  t.deepEqual(one.data, two.data);
  t.true(Math.abs(one.checkpoints[0]!.klDivergence.mean - two.checkpoints[0]!.klDivergence.mean) < 1e-6);
  const tokenizer = byteTokenizer();
  const { vocab } = tokenizer['model'] as { vocab: Record<string, number> };
  [vocab['a'], vocab['b']] = [vocab['b']!, vocab['a']!];
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  await t.throwsAsync(evaluateCheckpoint(folder, quantized, options), { code: 'ERR_VERTEXQ_UNSUPPORTED', message: /has another tokenizer than .*tokenizer.json/ }); // prettier-ignore
  const bare = temporaryFile(
    t,
    'bare.gguf',
    gguf({}, [['a.weight', { type: 0, shape: [2, 32], data: Buffer.alloc(256) }]]),
  );
  await t.throwsAsync(evaluateCheckpoint(folder, bare, options), { code: 'ERR_VERTEXQ_DECODER' });
});
