import test from 'ava';
import { execFileSync } from 'node:child_process';
import { inspectModel } from '../../../lib/index';
import { heapFor } from '../../../lib/containers/onnx/budget';
import { readModel } from '../../../lib/containers/onnx/codec';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { bytesOf, files, network, random } from '../../models/networks';
import { field, varint } from '../../models/wire';
import { typescript } from '../../typescript';

// What the parser reads must be what was counted before: it takes more than the format allows.

const whole = bytesOf(
  network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [2, 2], random(4, 1))],
  }),
);

const refused: Record<string, [bytes: number[], message: RegExp]> = {
  'a graph of another wire type': [
    [7 * 8, ...varint(4), ...field(1, field(3, []))],
    /"graph" of ModelProto has the wire type 0, at byte /,
  ],
  'a name of another wire type': [field(7, [2 * 8, 1]), /"name" of GraphProto has the wire type 0/],
  'a number as text': [field(1, [5]), /"ir_version" of ModelProto has the wire type 2/],
  'a node that goes beyond its graph': [
    [7 * 8 + 2, 3, ...field(1, [3 * 8 + 2, 1, 65])],
    /a field goes beyond its message/,
  ],
  'a number that goes beyond its message': [
    [...field(7, field(5, [2 * 8])).slice(0, -1), 2 * 8, 1],
    /a field goes beyond its message/,
  ],
  'a length of 2^32 and some, of which parsers read the some': [
    [15 * 8 + 2, 0x80, 0x80, 0x80, 0x80, 0x10],
    /a field goes beyond its message/,
  ],
  'a number of eleven bytes': [[8, ...new Array<number>(10).fill(0x80), 1], /a number that does not end/],
  'a group': [[15 * 8 + 3, 15 * 8 + 4], /a field of the wire type 3/],
  'a file that ends in a number': [[8, 0x80], /a number that does not end/],
  'a file that ends in a fixed number': [[15 * 8 + 1, 0, 0], /a field goes beyond its message/],
};

test('messages of another form than the schema says are refused, whole and with a weight of any length', async (t) => {
  for (const [what, [bytes, message]] of Object.entries(refused))
    for (const model of [bytes, [...whole, ...bytes]]) {
      const { input } = files(t, Uint8Array.from(model));
      await t.throwsAsync(readModel(input), { code: 'ERR_VERTEXQ_ONNX', message }, what);
    }
});

test('so it is behind a weight that stays in the file', async (t) => {
  const large = bytesOf(network({ nodes: [], constants: [tensor('w', [8192], random(8192, 1))] }));
  t.is((await readModel(files(t, large).input)).model.graph!.initializer.length, 1);
  for (const [what, [bytes]] of Object.entries(refused)) {
    const { input } = files(t, Uint8Array.from([...large, ...bytes]));
    await t.throwsAsync(inspectModel(input), { code: 'ERR_VERTEXQ_ONNX' }, what);
  }
});

test('packed numbers and single ones, long forms of short numbers, and unknown fields of every wire type are no error', (t) => {
  const weight = [
    ...field(1, [2]),
    ...[1 * 8, 0x82, 0x80, 0x00],
    ...[2 * 8, 1],
    ...[4 * 8 + 5, 0, 0, 0x80, 0x3f],
    ...field(4, [0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f]),
    ...field(200, [1, 2, 3]),
    ...[300 * 8 + 1, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((byte, i) => (i === 0 ? varint(byte) : [byte])),
    ...[...varint(301 * 8 + 5), 1, 2, 3, 4],
    ...[...varint(302 * 8), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  ];
  t.notThrows(() => heapFor(Uint8Array.from(field(7, field(5, weight))), 'a file'));
});

test('the heap that files take is what was counted, or less', (t) => {
  const count = 100_000;
  const [kinds, paths, counted]: [string[], string[], number[]] = [[], [], []];
  const repeated = (content: number[]) => Buffer.concat(new Array<Buffer>(count).fill(Buffer.from(content)));
  const inGraph = (content: Buffer) =>
    Buffer.concat([Uint8Array.from([7 * 8 + 2, ...varint(content.length)]), content]);
  /** A tensor with as many packed numbers. */
  const numbers = (no: number, bytes: number) => {
    const content = Buffer.alloc(count * bytes, 1);
    const list = Buffer.concat([Uint8Array.from([no * 8 + 2, ...varint(content.length)]), content]);
    return Buffer.concat([Uint8Array.from([5 * 8 + 2, ...varint(list.length)]), list]);
  };
  for (const [what, bytes] of Object.entries({
    initializers: inGraph(
      repeated(field(5, [...field(8, [97, 98]), 8, 1, 16, 1, ...field(9, [0, 0, 0, 0])])),
    ),
    nodes: inGraph(repeated(field(1, [...field(1, [97]), ...field(2, [98]), ...field(4, [99])]))),
    'unknown fields': inGraph(repeated(field(99, [1, 2, 3, 4]))),
    attributes: inGraph(repeated(field(1, field(5, [...field(1, [97]), 3 * 8, 5])))),
    'lists of one number': inGraph(
      repeated(
        field(5, [
          8,
          1,
          ...field(4, [0, 0, 0, 0]),
          40,
          1,
          56,
          1,
          ...field(10, new Array<number>(8).fill(1)),
          88,
          1,
        ]),
      ),
    ),
    floats: inGraph(numbers(4, 4)),
    integers: inGraph(numbers(5, 1)),
    'long integers': inGraph(numbers(7, 1)),
    values: inGraph(repeated(field(13, [...field(1, [97]), ...field(2, field(1, [8, 1]))]))),
  })) {
    kinds.push(what);
    paths.push(files(t, bytes).input);
    counted.push(heapFor(bytes, what));
  }
  const program = `
    const { readFileSync } = require('node:fs');
    const { parseModel } = require(${JSON.stringify(require.resolve('../../../lib/containers/onnx/codec'))});
    const models = [];
    for (const path of process.argv.slice(1)) {
      const bytes = readFileSync(path);
      gc();
      const before = process.memoryUsage().heapUsed;
      models.push([bytes, parseModel(bytes, path)]);
      gc();
      console.log(process.memoryUsage().heapUsed - before);
    }`;
  const printed = execFileSync(process.execPath, [typescript, '--expose-gc', '-e', program, ...paths], {
    encoding: 'utf8',
  });
  const taken = printed
    .trim()
    .split('\n')
    .map((line) => parseInt(line));
  for (const [i, heap] of taken.entries()) {
    t.log(kinds[i], `${Math.round(heap / count)} bytes each, counted ${Math.round(counted[i]! / count)}`);
    t.true(heap < counted[i]! && counted[i]! < 5 * heap, `${kinds[i]}: ${heap}, counted ${counted[i]}`);
  }
  t.is(taken.length, kinds.length);
});
