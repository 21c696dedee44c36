import test, { type ExecutionContext } from 'ava';
import { join } from 'node:path';
import { readFileSync, writeFileSync } from 'node:fs';
import { OpenGguf } from '../../../lib/checkpoints/gguf/open';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { checksumKey } from '../../../lib/runs/own-checksum';
import { provenanceKey } from '../../../lib/runs/provenance';
import { ConfigReader } from '../../../lib/decoders/config';
import { openDecoder } from '../../../lib/decoders/open';
import { planCheckpoint, quantizeCheckpoint } from '../../../lib/index';
import { loadTokenizer } from '../../../lib/models/data/tokenizer';
import { gguf, type Tensor } from '../../containers/gguf/make';
import { inFolder, run } from '../../decoders/run';
import { readAll } from '../unpack';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { kindNames, type KindName, writeSmall } from './models';

/** A model's folder, and its GGUF file in float16. */
async function bothOf(t: ExecutionContext, name: KindName): Promise<{ folder: string; file: string }> {
  const folder = join(temporaryFolder(t), 'in');
  const file = join(temporaryFolder(t), 'f16.gguf');
  writeSmall(folder, name, 'F16');
  await quantizeCheckpoint(folder, file, { format: 'gguf:f16' });
  return { folder, file };
}

async function withGguf<Result>(path: string, use: (opened: OpenGguf) => Promise<Result>): Promise<Result> {
  const opened = await OpenGguf.open(path, undefined);
  try {
    return await use(opened);
  } finally {
    await opened.file.close();
  }
}

const ids = [Array.from({ length: 24 }, (_, i) => (i * i + 5 * i) % 250)];

for (const name of kindNames)
  test(`${name}: the network in a GGUF file computes what its folder's does, bit for bit`, async (t) => {
    const { folder, file } = await bothOf(t, name);
    const wanted = await inFolder(folder, 24, run(ids));
    const found = await withGguf(file, async (opened) => {
      const { checkpoint, identity } = await opened.network();
      const { path, fields } = identity.config!;
      return run(ids)(openDecoder(checkpoint, new ConfigReader(path, fields), 24));
    });
    t.true(wanted.some((value) => value !== 0));
    // Scaled frequencies are kept as divisors in float32.
    const most = found.reduce((worst, value, i) => Math.max(worst, Math.abs(value - wanted[i]!)), 0);
    t.true(most <= (name === 'llama, scaled' ? 1e-5 : 0), String(most));
  });

const texts = [
  'the cat and the hat in 1234 trees',
  '  two  spaces\n\nand lines',
  'ünïcödé 😀 <|im_end|> <bos>',
  '',
];

for (const name of ['llama', 'gemma3'] as const)
  test(`${name}: the tokenizer in a GGUF file gives the tokens that its folder's gives`, async (t) => {
    const { folder, file } = await bothOf(t, name);
    const wanted = await loadTokenizer(folder, 100);
    const tokens = await withGguf(file, (opened) =>
      opened.withTokenizer(async (own) => {
        const tokenizer = await loadTokenizer(own, 100);
        return texts.map((text) => tokenizer.encode(text));
      }),
    );
    t.deepEqual(
      tokens,
      texts.map((text) => wanted.encode(text)),
    );
    t.is(tokens[0]![0] === 2, name === 'gemma3');
  });

for (const name of ['llama', 'gemma3', 'gpt2'] as const)
  test(`${name}: fitted from a GGUF file, to text, as from its folder`, async (t) => {
    const { folder, file } = await bothOf(t, name);
    const text = 'the cat sat on the mat and then there was another hat in a tree, '.repeat(30);
    const calibration = temporaryFile(t, 'a.txt', text);
    const layers = [name === 'gpt2' ? 'blk.*.attn_qkv' : 'blk.*.attn_q', 'blk.1.ffn_down'];
    const options = { format: 'gguf:q4_0', method: 'gptq', layers, calibration, sequenceLength: 32 } as const;
    const [one, other] = [join(temporaryFolder(t), 'a.gguf'), join(temporaryFolder(t), 'b.gguf')];
    await quantizeCheckpoint(folder, one, options);
    const report = await quantizeCheckpoint(file, other, options);
    t.deepEqual(report.layers.map(({ method }) => method), ['gptq', 'gptq', 'gptq']); // prettier-ignore
    await GgufFile.with(one, (a) =>
      GgufFile.with(other, async (b) => {
        for (const [own, { dtype }] of a.tensors) {
          t.is(b.tensor(own).dtype, dtype);
          t.deepEqual(Buffer.from(await b.read(own)), Buffer.from(await a.read(own)), own);
        }
        // Which file it was made of is the one difference, and the checksum that comes of it.
        for (const key of a.header.places.keys())
          if (key !== provenanceKey && key !== checksumKey)
            t.deepEqual(Buffer.from(a.keyBytes(key)), Buffer.from(b.keyBytes(key)), key);
      }),
    );
  });

test('a file of which nothing is known but its tensors: types that are unknown, in few bits already, of experts', async (t) => {
  const random = (type: number, shape: number[], length: number): Tensor => ({
    ...{ type, shape, data: Buffer.from(Array.from({ length }, (_, i) => (i * 37) % 61)) },
  });
  const keys = { 'general.architecture': { type: 'text', value: 'mamba9' }, 'mamba9.x': { type: 'u64', value: 9 } } as const; // prettier-ignore
  const tensors: [string, Tensor][] = [
    ['token_embd.weight', random(8, [4, 32], 4 * 34)],
    ['blk.0.odd.weight', random(99, [2, 32], 64)],
    ['blk.0.few.weight', random(3, [2, 64], 80)],
    ['blk.0.iq.weight', random(16, [1, 256], 66)],
    ['blk.0.ffn_up_exps.weight', { type: 0, shape: [2, 3, 32], data: new Uint8Array(Float32Array.from({ length: 192 }, (_, i) => Math.sin(i)).buffer) }], // prettier-ignore
    ['blk.0.ssm_a', random(0, [2, 2], 16)],
  ];
  const input = temporaryFile(t, 'in.gguf', gguf(keys, tensors));
  const output = join(temporaryFolder(t), 'out.gguf');
  const { warnings, layers, bytes } = await quantizeCheckpoint(input, output, { format: 'gguf:q8_0' });
  t.deepEqual([bytes.before, bytes.after], [readFileSync(input).length, readFileSync(output).length]);
  t.true(
    warnings.some((text) => /2 tensors in few bits already are dequantized first/.test(text)),
    warnings.join(),
  );
  t.deepEqual(layers.map(({ name }) => name), ['blk.0.few', 'blk.0.ffn_up_exps']); // prettier-ignore
  await GgufFile.with(output, async (file) => {
    t.deepEqual([...file.tensors].map(([name, { dtype }]) => [name, dtype]), [
      ['token_embd.weight', 'Q8_0'],
      ['blk.0.odd.weight', 'type 99'],
      ['blk.0.few.weight', 'Q8_0'],
      ['blk.0.iq.weight', 'IQ2_XXS'],
      ['blk.0.ffn_up_exps.weight', 'Q8_0'],
      ['blk.0.ssm_a', 'F32'],
    ]); // prettier-ignore
    t.deepEqual(file.tensor('blk.0.ffn_up_exps.weight').shape, [2, 3, 32]);
    for (const own of ['token_embd.weight', 'blk.0.odd.weight', 'blk.0.iq.weight', 'blk.0.ssm_a'])
      t.deepEqual(Buffer.from(await file.read(own)), tensors.find(([name]) => name === own)![1].data, own);
    t.is(file.header.metadata.get('mamba9.x'), 9n);
    t.is(file.header.metadata.get('general.file_type'), 7);
  });
  const text = temporaryFile(t, 'a.txt', 'some text');
  await t.throwsAsync(quantizeCheckpoint(input, output + '2', { format: 'gguf:q8_0', calibration: text }), {
    code: 'ERR_VERTEXQ_DECODER',
    message: /should be one of llama, qwen2/,
  });
  await t.throwsAsync(quantizeCheckpoint(input, output + '2', { format: 'onnx' }), { instanceOf: RangeError, message: /is not for GGUF files/ }); // prettier-ignore
  for (const run of [planCheckpoint, quantizeCheckpoint])
    await t.throwsAsync(run(input, output, {}), { instanceOf: RangeError, message: /is called a GGUF file, and the format "compressed-tensors" makes none/ }); // prettier-ignore
  writeFileSync(input, 'GGUF');
  await t.throwsAsync(quantizeCheckpoint(input, output + '2', { format: 'gguf:q8_0' }), { code: 'ERR_VERTEXQ_GGUF' }); // prettier-ignore
});

/** What a config says, but for what is so without it as well, and scaled frequencies, of which a GGUF file has the divisors. */
const said = (folder: string) => {
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  for (const key of [
    'quantization_config',
    'rope_scaling',
    'hidden_act',
    'decoder_sparse_step',
    'mlp_only_layers',
  ])
    delete config[key];
  return config;
};

for (const name of kindNames)
  test(`${name}: a GGUF file becomes a folder that is the one it was made of: weights, config, tokenizer`, async (t) => {
    const { folder, file } = await bothOf(t, name);
    const [one, other] = [join(temporaryFolder(t), 'a'), join(temporaryFolder(t), 'b')];
    // compressed-tensors has no matrices that lie transposed.
    const options = { format: name === 'gpt2' ? 'float' : 'compressed-tensors', groupSize: 16 } as const;
    await quantizeCheckpoint(folder, one, options);
    const { bytes } = await quantizeCheckpoint(file, other, options);
    t.true(name === 'gpt2' || bytes.after < bytes.before);
    const [wanted, found] = [new Map((await readAll(one)).tensors), new Map((await readAll(other)).tensors)];
    t.deepEqual([...found.keys()].sort(), [...wanted.keys()].sort());
    for (const [tensor, value] of wanted) {
      const own = found.get(tensor)!;
      // Vectors of GGUF files are float32.
      if (own.dtype === 'F32' && value.dtype !== 'F32') t.deepEqual(own.shape, value.shape, tensor);
      else t.deepEqual(own, value, tensor);
    }
    t.like(said(other), said(folder));
    const [tokenizer, own] = [await loadTokenizer(folder, 100), await loadTokenizer(other, 100)];
    for (const text of texts) t.deepEqual(own.encode(text), tokenizer.encode(text));
  });

test('a tokenizer that splits texts as a known one is read by its other names', async (t) => {
  const { file } = await bothOf(t, 'granite');
  const bytes = readFileSync(file);
  // The same length, so that all stays where it is.
  const [pre, other] = ['smollm', 'refact'];
  bytes.write(other, bytes.indexOf(pre, bytes.indexOf('tokenizer.ggml.pre')), 'latin1');
  const renamed = temporaryFile(t, 'refact.gguf', bytes);
  const tokensOf = (path: string) =>
    withGguf(path, (opened) =>
      opened.withTokenizer(async (own) => {
        const tokenizer = await loadTokenizer(own, 100);
        return texts.map((text) => tokenizer.encode(text));
      }),
    );
  t.deepEqual(await tokensOf(renamed), await tokensOf(file));
});
