import test from 'ava';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OpenGguf } from '../../../lib/checkpoints/gguf/open';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { quantizeCheckpoint } from '../../../lib/index';
import { loadTokenizer } from '../../../lib/models/data/tokenizer';
import { weightsOf } from '../../decoders/tiny';
import { temporaryFile, temporaryFolder } from '../../files/temporary-folder';
import { smallModel, writeSmall } from './models';

interface Golden {
  model: string;
  texts: { text: string; ids: number[] }[];
  ids: Record<'bos' | 'eos', number>;
}
const goldens = JSON.parse(
  readFileSync(join(__dirname, '..', '..', 'models', 'data', 'sentence-piece-goldens.json'), 'utf8'),
) as Record<'prefix' | 'plain', Golden>;

/** Tokens that the network knows: the tokenizer has a few less. */
const vocabulary = 384;

for (const [name, kind] of [
  ['llama', 'prefix'],
  ['gemma3', 'plain'],
] as const)
  test(`${name}: a folder with a tokenizer.model alone is fitted to text, and its file has the same tokens`, async (t) => {
    const folder = join(temporaryFolder(t), 'in');
    mkdirSync(folder);
    const { config, weights } = smallModel(name);
    for (const tensor of ['model.embed_tokens.weight', 'lm_head.weight'])
      if (weights[tensor])
        weights[tensor] = { shape: [vocabulary, 64], values: weightsOf(tensor, [vocabulary, 64]) };
    writeSmall(folder, name, 'F16', { config: { ...config, vocab_size: vocabulary }, weights });
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) rmSync(join(folder, file));
    const { model, texts, ids } = goldens[kind];
    writeFileSync(join(folder, 'tokenizer.model'), Buffer.from(model, 'base64'));
    const calibration = temporaryFile(t, 'a.txt', 'the quick brown fox jumps over the lazy dog, '.repeat(40));
    const output = join(temporaryFolder(t), 'out.gguf');
    const layers = ['blk.0.attn_q'];
    const { calibration: counts } = await quantizeCheckpoint(folder, output, { format: 'gguf:q4_0', calibration, method: 'gptq', layers }); // prettier-ignore
    t.true(counts!.fit.tokens! > 300);
    await GgufFile.with(output, ({ header: { metadata } }) => {
      const of = (key: string) => metadata.get(`tokenizer.ggml.${key}`);
      t.is(of('model'), 'llama');
      t.is(of('bos_token_id'), ids.bos);
      t.is(of('eos_token_id'), ids.eos);
      t.is(of('add_bos_token'), true);
      t.is(of('add_space_prefix'), kind === 'prefix');
      t.is((of('tokens') as string[]).length, vocabulary);
      return Promise.resolve();
    });
    const opened = await OpenGguf.open(output, undefined);
    try {
      const found = await opened.withTokenizer(async (own) => {
        const tokenizer = await loadTokenizer(own, 200);
        return texts.map(({ text }) => tokenizer.encode(text));
      });
      t.deepEqual(
        found,
        texts.map(({ ids: own }) => [ids.bos, ...own]),
      );
    } finally {
      await opened.file.close();
    }
  });
