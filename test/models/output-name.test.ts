import test from 'ava';
import { join } from 'node:path';
import { planModel, quantizeModel } from '../../lib/index';

const model = join(__dirname, '..', 'fixtures', 'mnist-mlp.onnx');

test('a network is not written into a file that is called another kind', async (t) => {
  for (const name of ['out.safetensors', 'out.GGUF', 'out.npz'])
    for (const call of [quantizeModel, planModel])
      await t.throwsAsync(call(model, `/nowhere/${name}`, { method: 'msq' }), {
        instanceOf: RangeError,
        message: /out\..* is called a .* file, and what is made of a network is an ONNX file/,
      });
});
