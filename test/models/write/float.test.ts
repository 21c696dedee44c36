import test from 'ava';
import { storeFloat } from '../../../lib/models/write/float';
import { TensorProto_DataType as DataType } from '../../../lib/containers/onnx/onnx_pb';
import { codesOf } from '../../encodings/onnx/codes';
import { difference, run } from '../networks';
import { inputMajor, neuronMajor, quantizedOf, seenAs, showing, wire } from './weights';

const quantized = quantizedOf(codesOf({ grid: 'asymmetric', levels: 16, seed: 3 }, 6, 20, 5));

test('the values on the grid, as each node sees them', async (t) => {
  const views = [
    inputMajor(6, 20),
    neuronMajor(6, 20, [6, 4, 5]),
    inputMajor(6, 20, [40, 3], 2),
    inputMajor(6, 20),
  ];
  const { model, layers } = showing(views, 13);
  const { bytes } = await wire(model, layers, storeFloat, quantized);
  t.is(bytes, 480);
  const shown = await run(model, {});
  for (const [i, view] of views.entries())
    t.is(difference(seenAs(view, quantized.dequantize()), shown[`y${i}`]!), 0);
  const weights = model.graph!.initializer.filter(({ dataType }) => dataType === DataType.FLOAT);
  t.deepEqual(
    weights.map(({ name, dims }) => [name, dims]),
    [['w_quantized', [20n, 6n]]],
  );
});

test('float16 is rounded, float64 is not', async (t) => {
  for (const [dataType, bytes, most] of [
    [DataType.FLOAT16, 240, 2 ** -10],
    [DataType.DOUBLE, 960, 0],
  ] as const) {
    const { model, layers } = showing([{ ...neuronMajor(6, 20), dataType }], 13);
    t.is((await wire(model, layers, storeFloat, quantized)).bytes, bytes);
    const { y0 } = await run(model, {});
    t.true(difference(quantized.dequantize(), y0!) <= most);
  }
});

test('refused with the name of the layer: values beyond float16', async (t) => {
  const attempt = (dataType: DataType, scale: number) => async () => {
    const { model, layers } = showing([{ ...neuronMajor(6, 20), dataType }], 13);
    const codes = codesOf({ grid: 'integer', levels: 15, seed: 3 }, 6, 20, 5);
    await wire(model, layers, storeFloat, quantizedOf({ ...codes, scales: codes.scales.fill(scale) }));
  };
  const code = 'ERR_VERTEXQ_FORMAT';
  await t.throwsAsync(attempt(DataType.FLOAT16, 6e4), {
    code,
    message: /layer "seen0".*float16.*-?\d+ is none/,
  });
  await t.notThrowsAsync(attempt(DataType.BFLOAT16, 1));
  await t.notThrowsAsync(attempt(DataType.FLOAT16, 9000));
});
