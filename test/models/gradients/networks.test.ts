import { fromBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ModelProtoSchema } from '../../../lib/containers/onnx/onnx_pb';
import { raiseOpset } from '../../../lib/models/write/raise-opset';
import type { TensorLike } from '../../../lib/types';
import { sentenceBatches, sentenceEncoderPath } from '../../../scripts/models/sentence-encoder';
import { feed } from '../networks';
import { checkDirections } from './directions';

const ocr = join(__dirname, '..', '..', '..', 'node_modules', '@gutenye', 'ocr-models', 'assets');
const image = (name: string, dims: number[]) => (): Record<string, TensorLike> => ({
  [name]: feed(dims, 4)['x']!,
});

/** Networks of every kind that is at hand. */
const networks: Record<
  string,
  { path: () => Promise<string> | string; feeds: () => Record<string, TensorLike> }
> = {
  digits: {
    path: () => join(__dirname, '..', '..', 'fixtures', 'mnist-cnn.onnx'),
    feeds: image('image', [2, 1, 28, 28]),
  },
  'a sentence encoder': {
    path: sentenceEncoderPath,
    feeds() {
      const { ids, mask } = sentenceBatches(['A man, a plan.', 'Where are you going?'], 2)[0]!;
      return { ids: { ...ids, type: 'int64' }, mask: { ...mask, type: 'float32' } };
    },
  },
  'directions of text': {
    path: () => join(ocr, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    feeds: image('x', [1, 3, 48, 64]),
  },
  'reading of text': {
    path: () => join(ocr, 'ch_PP-OCRv4_rec_infer.onnx'),
    feeds: image('x', [1, 3, 48, 32]),
  },
  'finding of text': {
    path: () => join(ocr, 'ch_PP-OCRv4_det_infer.onnx'),
    feeds: image('x', [1, 3, 32, 32]),
  },
};

for (const [name, { path, feeds }] of Object.entries(networks))
  test(`cotangents of all layers are what differences say: ${name}`, async (t) => {
    const model = fromBinary(ModelProtoSchema, readFileSync(await path()));
    t.true(raiseOpset(model, 7));
    const { node, output } = model.graph!;
    // Of an image of nothing, chances of text are 0 as far as float32 tells: what they are made of is not.
    const layers = node.filter(({ opType }) => ['MatMul', 'Gemm', 'Conv', 'ConvTranspose'].includes(opType));
    await checkDirections(t, {
      ...{
        model,
        feeds: feeds(),
        outputs: [
          node.find(({ opType, output: [name] }) => opType === 'Sigmoid' && name === output[0]!.name)
            ?.input[0] ?? output[0]!.name,
        ],
      },
      wanted: layers.map(({ output }) => output[0]!),
      ...{ isSingle: true, step: 2 ** -10, tolerance: 0.05 },
    });
  });
