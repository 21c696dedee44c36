import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SafetensorsFile } from '../../lib/containers/safetensors/file';
import { loadTokenizer } from '../../lib/models/data/tokenizer';
import { writeFloatFolder } from '../../scripts/models/float-folder';
import { numbers } from '../checkpoints/make';
import { gguf, type Tensor, type Value } from '../containers/gguf/make';
import { inFolder, run } from '../decoders/run';
import { temporaryFile, temporaryFolder } from '../files/temporary-folder';

const [hidden, heads, keyHeads, headSize, feedForward] = [8, 2, 1, 4, 12];
/** What GPT-2's byte level writes for a space. */
const space = '\u0120';
const tokens = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '1', '2', 'a', 'b', space, 'ab', `${space}ab`];

const keys: Record<string, Value> = {
  'general.architecture': { type: 'text', value: 'llama' },
  'llama.block_count': { type: 'u32', value: 1 },
  'llama.context_length': { type: 'u32', value: 64 },
  'llama.embedding_length': { type: 'u32', value: hidden },
  'llama.feed_forward_length': { type: 'u32', value: feedForward },
  'llama.attention.head_count': { type: 'u32', value: heads },
  'llama.attention.head_count_kv': { type: 'u32', value: keyHeads },
  'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: 1e-5 },
  'llama.rope.freq_base': { type: 'f32', value: 100_000 },
  'llama.rope.dimension_count': { type: 'u32', value: headSize },
  'tokenizer.ggml.model': { type: 'text', value: 'gpt2' },
  'tokenizer.ggml.pre': { type: 'text', value: 'smollm' },
  'tokenizer.ggml.tokens': { type: 'texts', value: tokens },
  'tokenizer.ggml.token_type': { type: 'i32s', value: tokens.map((_, i) => (i < 3 ? 3 : 1)) },
  'tokenizer.ggml.merges': { type: 'texts', value: ['a b', `${space} ab`] },
  'tokenizer.ggml.bos_token_id': { type: 'u32', value: 1 },
  'tokenizer.ggml.eos_token_id': { type: 'u32', value: 2 },
  'tokenizer.ggml.unknown_token_id': { type: 'u32', value: 0 },
  'tokenizer.ggml.padding_token_id': { type: 'u32', value: 2 },
  'tokenizer.chat_template': { type: 'text', value: '{{ messages }}' },
};

const tensor = (shape: number[], values: Float32Array): Tensor => ({
  ...{ type: 0, shape, data: new Uint8Array(values.buffer) },
});
const random = (shape: number[], seed: number) =>
  tensor(shape, numbers(shape.reduce((product, size) => product * size, 1), seed)); // prettier-ignore

/** The rows of q or k in the order of GGUF files: of each head the first of its first half, the first of its second, … */
function rotated(count: number, seed: number): { stored: Tensor; wanted: Float32Array } {
  const wanted = numbers(count * headSize * hidden, seed);
  const stored = new Float32Array(wanted.length);
  let to = 0;
  for (let head = 0; head < count; head++)
    for (let i = 0; i < headSize / 2; i++)
      for (const half of [0, 1]) {
        const row = head * headSize + half * (headSize / 2) + i;
        stored.set(wanted.subarray(row * hidden, (row + 1) * hidden), hidden * to++);
      }
  return { stored: tensor([count * headSize, hidden], stored), wanted };
}

const [q, k] = [rotated(heads, 3), rotated(keyHeads, 4)];
const tensors: Record<string, Tensor> = {
  'token_embd.weight': random([tokens.length, hidden], 1),
  'output_norm.weight': random([hidden], 2),
  'blk.0.attn_norm.weight': random([hidden], 5),
  'blk.0.attn_q.weight': q.stored,
  'blk.0.attn_k.weight': k.stored,
  'blk.0.attn_v.weight': random([keyHeads * headSize, hidden], 6),
  'blk.0.attn_output.weight': random([hidden, heads * headSize], 7),
  'blk.0.ffn_norm.weight': random([hidden], 8),
  'blk.0.ffn_gate.weight': random([feedForward, hidden], 9),
  'blk.0.ffn_up.weight': random([feedForward, hidden], 10),
  'blk.0.ffn_down.weight': random([hidden, feedForward], 11),
};

test("a Llama's GGUF file becomes a folder: weights, config and tokenizer", async (t) => {
  const folder = temporaryFolder(t);
  const path = temporaryFile(t, 'llama.gguf', gguf(keys, Object.entries(tensors)));
  await writeFloatFolder(path, folder, new Map([['key', 'x']]));
  await SafetensorsFile.with(join(folder, 'model.safetensors'), async (file) => {
    t.is(file.metadata.get('key'), 'x');
    const attention = 'model.layers.0.self_attn';
    for (const [name, values] of [
      [`${attention}.q_proj.weight`, q.wanted],
      [`${attention}.k_proj.weight`, k.wanted],
    ] as const)
      t.deepEqual(Buffer.from(await file.read(name)), Buffer.from(values.buffer), name);
    const down = await file.read('model.layers.0.mlp.down_proj.weight');
    t.deepEqual(Buffer.from(down), Buffer.from(tensors['blk.0.ffn_down.weight']!.data));
  });
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
  t.is(config['rms_norm_eps'], 1e-5);
  t.is(config['tie_word_embeddings'], true);
  const logits = await inFolder(folder, 3, run([[3, 8, 9]]));
  t.is(logits.length, 3 * tokens.length);
  t.true(logits.every(Number.isFinite));
  const tokenizer = await loadTokenizer(folder, 16);
  t.deepEqual(tokenizer.encode('ab ab12<|im_end|>ab'), [8, 9, 3, 4, 2, 8]);
  t.deepEqual(tokenizer.encode('ba b'), [6, 5, 7, 6]);
});
