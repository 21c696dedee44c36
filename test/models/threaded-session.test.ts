import { create, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType as DataType,
} from '../../lib/containers/onnx/onnx_pb';
import { ThreadedSession } from '../../lib/models/threaded-session';

/** y = x · w, so often one after the other; w is `value` times the unit matrix. */
function products(size: number, value: number, times = 1): Uint8Array<ArrayBuffer> {
  const w = new Float32Array(size * size);
  for (let i = 0; i < size; i++) w[i * (size + 1)] = value;
  const graph = create(GraphProtoSchema, {
    name: 'products',
    node: Array.from({ length: times }, (_, i) =>
      node('MatMul', [i === 0 ? 'x' : `${i}`, 'w'], [i === times - 1 ? 'y' : `${i + 1}`]),
    ),
    initializer: [tensor('w', [size, size], w)],
    input: [valueInfo('x', DataType.FLOAT, ['n', size])],
    output: [valueInfo('y', DataType.FLOAT, ['n', size])],
  });
  const opsetImport = [create(OperatorSetIdProtoSchema, { domain: '', version: 17n })];
  return new Uint8Array(
    toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph })),
  );
}

test('several networks at a time, each with its own answers; what is fed stays the caller’s', async (t) => {
  const sessions = await Promise.all(
    [2, 3].map((value) => ThreadedSession.load(products(4, value), `by ${value}`)),
  );
  // A view of a part of its buffer.
  const x = { data: Float32Array.from({ length: 100 }, (_, i) => i).subarray(8, 16), dims: [2, 4] };
  const answers = await Promise.all(sessions.map((session) => session.run({ x }, ['y'])));
  for (const [i, { y }] of answers.entries()) {
    t.deepEqual(y!.dims, [2, 4]);
    t.is(y!.type, 'float32');
    t.deepEqual(
      y!.data,
      x.data.map((value) => value * (i + 2)),
    );
  }
  t.is(x.data[0], 8);
  for (const session of sessions) await session.release();
});

test('what goes wrong there is told with its code, and the next network runs', async (t) => {
  await t.throwsAsync(ThreadedSession.load(new Uint8Array([1, 2, 3]), 'rubbish'), {
    code: 'ERR_VERTEXQ_RUNTIME',
    message: /cannot load rubbish/,
  });
  const session = await ThreadedSession.load(products(4, 1), 'the unit');
  const fed = (length: number, dims: number[]) =>
    session.run({ x: { data: new Float32Array(length), dims } }, ['y']);
  await t.throwsAsync(fed(6, [2, 3]), { code: 'ERR_VERTEXQ_RUNTIME', message: /cannot run the unit/ });
  const gone = new Float32Array(4);
  structuredClone(gone, { transfer: [gone.buffer] });
  await t.throwsAsync(session.run({ x: { data: gone, dims: [1, 4] } }, ['y']), {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /input "x" cannot be fed.*transferred/,
  });
  t.is((await fed(4, [1, 4]))['y']!.dims[1], 4);
  await session.release();
});

test('the event loop goes on while a network runs', async (t) => {
  const [size, rows] = [512, 2048];
  const session = await ThreadedSession.load(products(size, 1, 8), 'a long one');
  const x = { data: new Float32Array(rows * size).fill(1), dims: [rows, size] };
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const { y } = await session.run({ x }, ['y']);
  clearInterval(timer);
  t.is((y!.data as Float32Array)[rows * size - 1], 1);
  // On the calling thread there would be none: the run is one turn of it.
  t.true(turns >= 3, `${turns} turns`);
  await session.release();
});
