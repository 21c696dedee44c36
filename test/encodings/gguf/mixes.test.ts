import test from 'ava';
import { blocksIn, mixes, type MixName, typeIn } from '../../../lib/encodings/gguf/mixes';

/** The blocks, of so many, in which a part is of a type. */
const where = (name: MixName, part: string, type: string, blocks: number) =>
  Array.from({ length: blocks }, (_, i) => i).filter((i) => {
    const tensor = { name: `blk.${i}.${part}.weight`, shape: [512, 512], isHead: false, blocks } as const;
    return mixes[name].typeOf(tensor) === type;
  });

test('mixes give the types that files of these names have', (t) => {
  const some = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31];
  t.deepEqual(where('q4_k_m', 'attn_v', 'Q6_K', 32), some);
  t.deepEqual(where('q4_k_m', 'ffn_down_exps', 'Q6_K', 32), some);
  t.is(where('q4_k_m', 'attn_v', 'Q4_K', 32).length, 16);
  t.is(where('q4_k_m', 'ffn_up', 'Q4_K', 32).length, 32);
  t.deepEqual(where('q4_k_s', 'attn_v', 'Q5_K', 32), [0, 1, 2, 3]);
  t.deepEqual(where('q4_k_s', 'ffn_down', 'Q5_K', 16), [0, 1]);
  t.deepEqual(where('q3_k_m', 'attn_v', 'Q5_K', 32), [0, 1]);
  t.is(where('q3_k_m', 'attn_v', 'Q4_K', 32).length, 30);
  t.deepEqual(where('q3_k_m', 'ffn_down', 'Q5_K', 32), [0, 1]);
  t.is(where('q2_k', 'attn_output', 'Q3_K', 32).length, 32);
  t.is(where('q2_k', 'attn_q', 'Q2_K', 32).length, 32);
  for (const [name, mix] of Object.entries(mixes)) {
    const head = mix.typeOf({ name: 'token_embd.weight', shape: [512, 512], isHead: true, blocks: 2 });
    t.is(head, name === 'f16' ? 'F16' : name === 'bf16' ? 'BF16' : name === 'q8_0' ? 'Q8_0' : 'Q6_K');
  }
});

test('rows that are no whole blocks get the type that takes over', (t) => {
  const of = (name: MixName, inFeatures: number, part = 'ffn_up') =>
    typeIn(mixes[name], { name: `blk.0.${part}.weight`, shape: [64, inFeatures], isHead: false, blocks: 8 });
  t.deepEqual(of('q4_k_m', 1536), { type: 'Q4_K', asked: 'Q4_K' });
  t.deepEqual(of('q4_k_m', 576), { type: 'Q5_0', asked: 'Q4_K' });
  t.deepEqual(of('q4_k_m', 576, 'ffn_down'), { type: 'Q8_0', asked: 'Q6_K' });
  t.deepEqual(of('q2_k', 576), { type: 'IQ4_NL', asked: 'Q2_K' });
  t.deepEqual(of('q4_0', 100), { type: 'F16', asked: 'Q4_0' });
  t.is(blocksIn(['output.weight', 'blk.11.attn_v.weight', 'blk.2.attn_v.weight']), 12);
  t.is(blocksIn(['token_embd.weight']), 0);
});
