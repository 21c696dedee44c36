import test from 'ava';
import { join } from 'node:path';
import { quantizeModel } from '../../lib';
import { codeOf } from '../../lib/warning-codes';
import { folder } from './networks';

const model = join(__dirname, '..', 'fixtures', 'mnist-mlp.onnx');

test('ux 14: a network without data is warned of, and the errors of its weights are told', async (t) => {
  const { warnings, layers } = await quantizeModel(model, join(folder(t), 'out.onnx'), {});
  t.deepEqual(warnings.map(codeOf), ['WARN_VERTEXQ_NO_DATA']);
  for (const { error } of layers) t.true(error.weight > 0 && error.weight < 0.2);
});
