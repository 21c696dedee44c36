// Where data of other files may lie: ranges that meet, far out in a file, in a file that is others' too.
import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { evaluateModel, planModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import {
  StringStringEntryProtoSchema,
  TensorProto_DataLocation as DataLocation,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { bytesOf, feed, files, float, network, random } from './networks';
import { sameBytes } from '../files/same-bytes';

const size = 32;
const length = 4 * size * size;
const values = random(3 * size * size, 3);
const data = [feed([size, size], 1)];

function elsewhere(name: string, offset: number, bytes = length, dims = [size, size]): TensorProto {
  const made = tensor(name, dims, new Float32Array(0));
  made.dataLocation = DataLocation.EXTERNAL;
  made.externalData = Object.entries({ location: 'w.bin', offset: `${offset}`, length: `${bytes}` }).map(
    ([key, value]) => create(StringStringEntryProtoSchema, { key, value }),
  );
  return made;
}

/** Two weights, and what is added to their products. */
const model = (constants: TensorProto[]) =>
  network({
    nodes: [
      node('MatMul', ['x', 'a'], ['h']),
      node('MatMul', ['h', 'b'], ['g']),
      node('Add', ['g', 'c'], ['y']),
    ],
    constants,
    inputs: [float('x', ['batch', size])],
  });

/** Where the data begins in the file, and where of that the three tensors do. */
const places: Record<string, [begin: number, ...offsets: [number, number, number]]> = {
  'of one range': [0, 0, 0, 0],
  'that overlap': [0, 0, 128, 2048],
  'that overlap at odd places': [3, 4, 12, length - 4],
  'behind 3 GB that are no tensor': [3e9, 0, length, 2 * length],
};
for (const [name, [begin, ...offsets]] of Object.entries(places))
  test(`trust 3: data in another file, ${name}: what the same data gives within the model, as planned, and the file stays`, async (t) => {
    const { input, output } = files(
      t,
      model(offsets.map((offset, i) => elsewhere('abc'[i]!, begin + offset))),
    );
    const [file, inner, innerOutput] = ['w.bin', 'inner.onnx', 'inner-out.onnx'].map((path) =>
      join(dirname(input), path),
    ) as [string, string, string];
    const handle = openSync(file, 'w');
    writeSync(handle, Buffer.from(values.buffer), 0, values.byteLength, begin);
    closeSync(handle);
    const within = offsets.map((offset, i) =>
      tensor('abc'[i]!, [size, size], new Float32Array(values.buffer.slice(offset, offset + length))),
    );
    writeFileSync(inner, bytesOf(model(within)));
    for (const externalData of [false, true]) {
      const options = { externalData, groupSize: 32, calibration: data };
      const [plan, innerPlan] = [
        await planModel(input, output, options),
        await planModel(inner, innerOutput, options),
      ];
      const { files: written } = await quantizeModel(input, output, options);
      await quantizeModel(inner, innerOutput, options);
      const errors = [];
      for (const pair of [
        [input, output],
        [inner, innerOutput],
      ] as const)
        errors.push((await evaluateModel(...pair, { data, runs: 0 })).outputs[0]!.error);
      t.is(errors[0], errors[1]);
      t.deepEqual(plan.files, written);
      // What says where it lies.
      t.true(Math.abs(plan.bytes.after - innerPlan.bytes.after) < 256, `${plan.bytes.after}`);
    }
    if (begin < 1e9)
      sameBytes(t, readFileSync(file).subarray(begin), Buffer.from(values.buffer), 'the file has changed');
  });

test('trust 3: data of no bytes in another file: refused by name where the file or the place is not there', async (t) => {
  const constants = [
    tensor('a', [size, size], random(size * size, 1)),
    tensor('b', [size, size], random(size * size, 2)),
  ];
  for (const [offset, exists, message] of [
    [0, false, /w\.bin cannot be read: ENOENT/],
    [101, true, /tensor "c": its data should be the bytes 101 to 101 of .*w\.bin, which has 100/],
  ] as const) {
    const { input, output } = files(t, model([...constants, elsewhere('c', offset, 0, [0, size])]));
    if (exists) writeFileSync(join(dirname(input), 'w.bin'), Buffer.alloc(100));
    for (const run of [planModel, quantizeModel]) await t.throwsAsync(run(input, output, {}), { message });
  }
});
