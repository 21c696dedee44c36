import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { floatToBfloat, floatToHalf } from '../../numbers';
import { type ModelInput, prepareCalibrationSet } from '../../../lib/models/calibration-set';
import { temporaryFolder } from '../../files/temporary-folder';
import { entry, rawSafetensors } from '../../containers/safetensors/build';
import { two } from '../calibration-data';

const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);

test('tensors by input name, of every dtype that an input takes', async (t) => {
  const path = join(temporaryFolder(t), 'data.safetensors');
  const values = Float32Array.of(1, -0.5, 2, 3, 0, 100);
  const read = async (dtype: string, data: ArrayBufferView, type: string) => {
    writeFileSync(path, rawSafetensors({ x: entry(dtype, [3, 2], 0, data.byteLength) }, bytes(data)));
    const inputs: ModelInput[] = [{ name: 'x', type, dims: [null, 2] }];
    const { x } = (await prepareCalibrationSet(path, { inputs, holdout: 0 })).fit[0]!;
    t.deepEqual([x!.dims, x!.type], [[3, 2], type]);
    return x!.data;
  };
  t.deepEqual(await read('F32', values, 'float32'), values);
  t.deepEqual(await read('F64', Float64Array.from(values), 'float32'), values);
  t.deepEqual(await read('F16', floatToHalf(values), 'float32'), values);
  t.deepEqual(await read('F16', floatToHalf(values), 'float16'), floatToHalf(values));
  t.deepEqual(await read('BF16', floatToBfloat(values), 'float32'), values);
  for (const [dtype, type, Elements] of [
    ['I64', 'int64', BigInt64Array],
    ['U64', 'uint64', BigUint64Array],
  ] as const)
    t.deepEqual(
      await read(dtype, Elements.of(1n, 2n, 3n, 4n, 5n, 6n), type),
      Elements.of(1n, 2n, 3n, 4n, 5n, 6n),
    );
  for (const [dtype, type, Elements] of [
    ['I32', 'int32', Int32Array],
    ['I16', 'int16', Int16Array],
    ['I8', 'int8', Int8Array],
    ['U32', 'uint32', Uint32Array],
    ['U16', 'uint16', Uint16Array],
    ['U8', 'uint8', Uint8Array],
  ] as const)
    t.deepEqual(await read(dtype, Elements.of(1, 2, 3, 4, 5, 6), type), Elements.of(1, 2, 3, 4, 5, 6));
  t.deepEqual(
    await read('I32', Int32Array.of(1, 2, 3, 4, 5, 6), 'int64'),
    BigInt64Array.of(1n, 2n, 3n, 4n, 5n, 6n),
  );
  t.deepEqual(await read('BOOL', Uint8Array.of(0, 1, 1, 0, 0, 1), 'bool'), Uint8Array.of(0, 1, 1, 0, 0, 1));
  await t.throwsAsync(read('BOOL', Uint8Array.of(0, 1, 2, 0, 0, 1), 'bool'), {
    message: /"x" is BOOL and has other bytes/,
  });
  await t.throwsAsync(read('F8_E4M3', new Uint8Array(6), 'float32'), { message: /data\.safetensors: the tensor "x" is F8_E4M3: expected one of F64, F32/ }); // prettier-ignore
});

test('files that are broken, or do not fit', async (t) => {
  const path = join(temporaryFolder(t), 'data.safetensors');
  const refuses = async (content: Uint8Array, code: string, message: RegExp) => {
    writeFileSync(path, content);
    await t.throwsAsync(prepareCalibrationSet(path, { inputs: two }), { code, message });
  };
  await refuses(Buffer.alloc(5), 'ERR_VERTEXQ_SAFETENSORS', /data\.safetensors is no valid safetensors file/);
  await refuses(rawSafetensors({ ids: entry('I64', [2, 2], 0, 8) }, 8), 'ERR_VERTEXQ_SAFETENSORS', /ids/);
  await refuses(rawSafetensors({ ids: entry('I64', [2, 2], 0, 32) }, 32), 'ERR_VERTEXQ_CALIBRATION', /no data for the input "mask"/); // prettier-ignore
  await refuses(
    rawSafetensors({ ids: entry('I64', [2, 2], 0, 32), mask: entry('F32', [1, 2], 32, 40) }, 40),
    'ERR_VERTEXQ_CALIBRATION',
    /as many samples/,
  );
});
