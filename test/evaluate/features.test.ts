import test from 'ava';
import { OutputErrors } from '../../lib/evaluate/output-errors';

test('ux S4: which entry is the largest is an answer of logits, not of embeddings and states', async (t) => {
  const value = (numbers: number[]) => ({ data: Float32Array.from(numbers), dims: [2, 2], type: 'float32' });
  for (const [name, expected] of [
    ['logits', 0.5],
    ['y', 0.5],
    ['sentence_embedding', null],
    ['last_hidden_state', null],
    ['pooler_output', null],
    ['image_features', null],
  ] as const) {
    const errors = new OutputErrors(name);
    await errors.add(value([1, 2, 3, 4]), value([1, 2, 4, 3]));
    const { agreement, error } = errors.result();
    t.is(agreement, expected, name);
    t.true(error! > 0);
  }
});
