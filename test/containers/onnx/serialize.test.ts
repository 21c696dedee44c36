import { clone, create, createRegistry, equals, fromBinary, toBinary } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readModel } from '../../../lib/containers/onnx/codec';
import { tensorsOf } from '../../../lib/containers/onnx/graph';
import { tensor } from '../../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation as DataLocation,
  TensorProtoSchema,
  type ModelProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { type Serialized, serializeModel } from '../../../lib/containers/onnx/serialize';
import { Workspace } from '../../../lib/runs/workspace';
import { bytesOf, folder, network, random } from '../../models/networks';
import { field, varint } from '../../models/wire';

interface Options {
  externalData?: boolean;
  longestDataFile?: number;
}

/** Reads a model and writes it to another file, without a change. */
async function rewrite(input: string, output: string, options: Options = {}): Promise<Serialized> {
  const { model, weights } = await readModel(input);
  const workspace = new Workspace(output);
  try {
    const written = await serializeModel(model, weights, 'out.onnx', {
      externalData: undefined,
      signal: undefined,
      create: (name) => workspace.create(name),
      ...options,
    });
    await workspace.publish(written.files.map(({ name }) => name));
    return written;
  } finally {
    await workspace.end();
  }
}

const parsed = (bytes: Uint8Array): ModelProto => fromBinary(ModelProtoSchema, bytes);
/** Equal also in fields that the schema does not know. */
const same = (a: ModelProto, b: ModelProto) =>
  equals(ModelProtoSchema, a, b, { unknown: true, registry: createRegistry() });

/** A model with the data of other files in it, read by hand. */
function withData(model: ModelProto, path: string): ModelProto {
  const copy = clone(ModelProtoSchema, model);
  for (const found of tensorsOf(copy.graph!)) {
    if (found.dataLocation !== DataLocation.EXTERNAL) continue;
    const entries = Object.fromEntries(found.externalData.map(({ key, value }) => [key, value]));
    const data = readFileSync(join(path, entries['location']!));
    const offset = Number(entries['offset'] ?? 0);
    const length = entries['length'] === undefined ? data.length - offset : Number(entries['length']);
    found.rawData = new Uint8Array(data.subarray(offset, offset + length));
    found.externalData = [];
    found.dataLocation = DataLocation.DEFAULT;
  }
  return copy;
}

/** A field of a number or a length in more bytes than it takes. */
const longVarint = (value: number, extra: number): number[] => {
  const bytes = varint(value);
  if (extra === 0) return bytes;
  bytes[bytes.length - 1]! |= 128;
  return [...bytes, ...new Array<number>(extra - 1).fill(128), 0];
};

const unknownField = fc
  .record({ no: fc.constantFrom(30, 99, 2000), content: fc.uint8Array({ maxLength: 20 }) })
  .map(({ no, content }) => field(no, content));

/** Lengths around those at which data stays in the file, or goes to another one. */
const dataLength = fc.oneof(
  fc.constantFrom(0, 4, 8, 1020, 1024, 4096, 16380, 16384, 16388, 17000, 40_000),
  fc.integer({ min: 0, max: 70_000 }),
);

const initializer = fc
  .record({
    name: fc.string({ maxLength: 5 }),
    length: dataLength,
    fill: fc.integer({ min: 1, max: 255 }),
    extra: fc.integer({ min: 0, max: 4 }),
    unknown: fc.array(unknownField, { maxLength: 2 }),
    kind: fc.constantFrom('typed' as const, 'raw' as const, 'raw twice' as const),
    second: dataLength,
    docBehind: fc.boolean(),
    location: fc.constantFrom(undefined, DataLocation.DEFAULT),
  })
  .map((made) => {
    const data = (length: number, fill: number) => {
      const bytes = new Uint8Array(length).fill(fill);
      return [9 * 8 + 2, ...longVarint(length, made.extra % 3), ...bytes];
    };
    const content = [
      ...field(8, Buffer.from(made.name)),
      ...[8, ...longVarint(made.length, made.extra), 16, 2],
      ...made.unknown.flat(),
      ...(made.kind === 'typed' ? field(5, [1, 2, 3]) : data(made.length, made.fill)),
      ...(made.kind === 'raw twice' ? data(made.second, 255 - made.fill) : []),
      ...(made.docBehind ? field(12, Buffer.from('behind')) : []),
      ...(made.location === undefined ? [] : [14 * 8, made.location]),
    ];
    return [
      ...longVarint(5 * 8 + 2, made.extra % 2),
      ...longVarint(content.length, made.extra % 3),
      ...content,
    ];
  });

const graph = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: initializer },
      unknownField,
      fc.string({ maxLength: 5 }).map((name) => field(2, Buffer.from(name))),
      fc.string({ maxLength: 5 }).map((op) => field(1, field(4, Buffer.from(op)))),
    ),
    { maxLength: 8 },
  )
  .map((parts) => field(7, parts.flat()));

/** Files as no exporter writes them, but as the format allows: a graph in several parts, which are one. */
const file = fc
  .tuple(graph, fc.array(fc.oneof(graph, unknownField, fc.constant([8, 8])), { maxLength: 3 }))
  .map(([first, rest]) => {
    const bytes = Uint8Array.from([...first, ...rest.flat()]);
    return { bytes, [fc.toStringMethod]: () => `${bytes.length} bytes` };
  });

test('a model that is read and written is the same, in one file or in several', async (t) => {
  const path = folder(t);
  const [input, output] = [join(path, 'in.onnx'), join(path, 'out.onnx')];
  const property = fc.asyncProperty(file, async ({ bytes }) => {
    writeFileSync(input, bytes);
    await rewrite(input, output);
    const expected = parsed(bytes);
    if (!same(parsed(readFileSync(output)), expected)) return false;
    for (const longestDataFile of [1, 30_000, 2e9]) {
      await rewrite(input, output, { externalData: true, longestDataFile });
      const found = withData(parsed(readFileSync(output)), path);
      // What went to another file and back has a place that is said.
      for (const model of [found, expected])
        for (const made of model.graph!.initializer) made.dataLocation = DataLocation.DEFAULT;
      if (!same(found, expected)) return false;
    }
    // Once more, from there.
    const moved = join(path, 'moved');
    mkdirSync(moved, { recursive: true });
    await rewrite(output, join(moved, 'out.onnx'));
    const back = parsed(readFileSync(join(moved, 'out.onnx')));
    for (const made of back.graph!.initializer) made.dataLocation = DataLocation.DEFAULT;
    return same(back, expected);
  });
  await t.notThrowsAsync(fc.assert(property, { numRuns: 40 }));
});

test('files of data: their names, the places in them, how many there are', async (t) => {
  const path = folder(t);
  const [input, output] = [join(path, 'in.onnx'), join(path, 'out.onnx')];
  const lengths = [255, 256, 3000, 1500, 10_000, 500, 8000];
  const model = network({
    nodes: [],
    constants: lengths.map((length, i) => tensor(`t${i}`, [length], random(length, i + 1))),
  });
  writeFileSync(input, bytesOf(model));
  const written = await rewrite(input, output, { externalData: true, longestDataFile: 30_000 });
  t.deepEqual(
    written.files.map(({ name }) => name),
    ['out.onnx_data', 'out.onnx_data_1', 'out.onnx_data_2', 'out.onnx_data_3', 'out.onnx'],
  );
  for (const { name, bytes } of written.files) t.is(readFileSync(join(path, name)).length, bytes);
  const places = parsed(readFileSync(output)).graph!.initializer.map((made) =>
    made.externalData.map(({ key, value }) => (key === 'location' ? value : Number(value))),
  );
  t.deepEqual(places, [
    [], // less than 1,024 bytes
    ['out.onnx_data', 0, 1024],
    ['out.onnx_data', 4096, 12_000],
    ['out.onnx_data', 16_384, 6000],
    ['out.onnx_data_1', 0, 40_000], // more than a file should hold
    ['out.onnx_data_2', 0, 2000],
    ['out.onnx_data_3', 0, 32_000],
  ]);
  t.true(same(parsed(readFileSync(input)), model));
});

test('data in several files, with and without offset and length, of typed lists and of nodes', async (t) => {
  const path = folder(t);
  const [input, output] = [join(path, 'in.onnx'), join(path, 'out.onnx')];
  mkdirSync(join(path, 'weights', 'deep'), { recursive: true });
  const values = Buffer.from(random(6000, 1).buffer);
  writeFileSync(join(path, 'a.bin'), values);
  writeFileSync(join(path, 'weights', 'deep', 'b.bin'), values);
  const elsewhere = (name: string, count: number, entries: Record<string, string>) => {
    const made = tensor(name, [count], new Float32Array(0));
    delete (made as Partial<typeof made>).rawData;
    made.dataLocation = DataLocation.EXTERNAL;
    made.externalData = Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    );
    return made;
  };
  const model = network({
    nodes: [],
    constants: [
      elsewhere('whole', 6000, { location: 'a.bin' }),
      elsewhere('part', 300, { location: 'weights/deep/b.bin', offset: '41', length: '1200' }),
      elsewhere('from', 5000, { location: './weights/deep/b.bin', offset: '4000' }),
      elsewhere('first', 300, { location: 'a.bin' }), // followed by what is others'
      elsewhere('none', 0, { location: 'a.bin', length: '0' }),
    ],
  });
  writeFileSync(input, bytesOf(model));
  const { model: read, weights } = await readModel(input);
  for (const [i, [from, to]] of [
    [0, 24_000],
    [41, 1241],
    [4000, 24_000],
    [0, 1200],
    [0, 0],
  ].entries()) {
    const found = read.graph!.initializer[i]!;
    t.deepEqual(Buffer.from(await weights.raw(found)), values.subarray(from, to), found.name);
    t.deepEqual(Buffer.from((await weights.floats(found)).buffer), values.subarray(from, to), found.name);
  }
  for (const externalData of [false, true]) {
    await rewrite(input, output, { externalData });
    const back = withData(parsed(readFileSync(output)), path).graph!.initializer;
    t.deepEqual(Buffer.from(back[1]!.rawData), values.subarray(41, 1241));
    t.deepEqual(Buffer.from(back[3]!.rawData), values.subarray(0, 1200));
  }
});

async function changed(t: ExecutionContext, change: (input: string) => void): Promise<void> {
  const path = folder(t);
  const input = join(path, 'in.onnx');
  writeFileSync(input, bytesOf(network({ nodes: [], constants: [tensor('w', [8192], random(8192, 1))] })));
  const { model, weights } = await readModel(input);
  change(input);
  await t.throwsAsync(weights.raw(model.graph!.initializer[0]!), {
    code: 'ERR_VERTEXQ_FILE',
    message: /in\.onnx has changed since it was opened first/,
  });
}

test('a model that changes between reading and use', async (t) => {
  await changed(t, (input) => writeFileSync(input, Buffer.alloc(readFileSync(input).length, 7)));
  await changed(t, (input) => writeFileSync(input, 'short'));
});

test('messages that are merged: a tensor in two graphs of one file, of which one is behind unknown fields', async (t) => {
  const path = folder(t);
  const [input, output] = [join(path, 'in.onnx'), join(path, 'out.onnx')];
  const part = (name: string) => {
    const made = tensor(name, [8192], random(8192, name.length));
    return field(7, toBinary(GraphProtoSchema, create(GraphProtoSchema, { initializer: [made] })));
  };
  const bytes = Uint8Array.from([...part('a'), ...field(77, [1, 2, 3]), ...part('bb')]);
  writeFileSync(input, bytes);
  const { model, weights } = await readModel(input);
  t.deepEqual(
    model.graph!.initializer.map(({ rawData }) => rawData.length),
    [0, 0],
  );
  for (const made of model.graph!.initializer)
    t.deepEqual(await weights.floats(made), random(8192, made.name.length));
  await rewrite(input, output);
  t.true(same(parsed(readFileSync(output)), parsed(bytes)));
  t.is(toBinary(TensorProtoSchema, model.graph!.initializer[0]!).length < 100, true);
});
