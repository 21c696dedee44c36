import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { inspectModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/models/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../lib/models/onnx/onnx_pb';
import { bytesOf, difference, feed, files, float, network, random, readBack } from './networks';

const size = 32;
const calibration = [feed([80, size], 1)];
const inFile = (name: string) => tensor(name, [size, size], random(size * size, 7));

/** A tensor whose data lies in another file, as the entries say. */
function elsewhere(name: string, entries: Record<string, string>, dims = [size, size]): TensorProto {
  const made = tensor(name, dims, new Float32Array(0));
  made.dataLocation = DataLocation.EXTERNAL;
  made.externalData = Object.entries(entries).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value }),
  );
  return made;
}

const oneLayer = (...constants: TensorProto[]): ModelProto =>
  network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants,
    inputs: [float('x', ['batch', size])],
  });

/** A place beside the model at which every name there is leads nowhere good. To open a FIFO would be to wait for ever. */
function traps(input: string): string[] {
  const beside = (name: string) => join(dirname(input), name);
  mkdirSync(beside('folder'));
  writeFileSync(beside('short.bin'), Buffer.alloc(10));
  const names = [
    '',
    'folder',
    'short.bin',
    'missing.bin',
    '/etc/passwd',
    'a/../../x',
    '../x',
    '.',
    'no\0where',
  ];
  if (process.platform === 'win32') return names;
  execFileSync('mkfifo', [beside('pipe')]);
  symlinkSync('/etc/passwd', beside('link'));
  symlinkSync(beside('pipe'), beside('link-to-pipe'));
  symlinkSync('/dev', beside('devices'));
  symlinkSync('..', beside('up'));
  symlinkSync('self', beside('self'));
  return [...names, 'pipe', 'link', 'link-to-pipe', 'devices/zero', '/dev/zero', 'up/x', 'self'];
}

async function refused(t: ExecutionContext, input: string, output: string, message: RegExp): Promise<void> {
  const there = readdirSync(dirname(input));
  for (const options of [{ method: 'msq' } as const, { calibration }, { format: 'float' } as const])
    await t.throwsAsync(quantizeModel(input, output, options), { code: 'ERR_VERTEXQ_UNSUPPORTED', message });
  await t.notThrowsAsync(inspectModel(input));
  t.deepEqual(readdirSync(dirname(input)), there);
}

test('a weight in another file is refused unopened, whatever its location', async (t) => {
  const { input, output } = files(t, oneLayer(inFile('w')));
  for (const location of traps(input)) {
    writeFileSync(input, bytesOf(oneLayer(elsewhere('w', { location }))));
    await refused(t, input, output, /tensor "w": its data lies in another file/);
    // Likewise one that no layer uses.
    writeFileSync(input, bytesOf(oneLayer(inFile('w'), elsewhere('table', { location }))));
    await refused(t, input, output, /tensor "table": its data lies in another file/);
  }
});

test('so it is whatever offset, length and checksum say, or whatever they do not', async (t) => {
  const { input, output } = files(t, oneLayer(inFile('w')));
  writeFileSync(join(dirname(input), 'w.bin'), new Uint8Array(4 * size * size));
  const location = 'w.bin';
  for (const entries of [
    { location, offset: '-1' },
    { location, offset: 'four' },
    { location, offset: '1e999' },
    { location, offset: '4096', length: '4096' },
    { location, length: '-4096' },
    { location, length: '4097' },
    { location, length: '18446744073709551616' },
    { location, checksum: '0000' },
    { offset: '0' },
  ]) {
    writeFileSync(input, bytesOf(oneLayer(elsewhere('w', entries))));
    await refused(t, input, output, /tensor "w": its data lies in another file/);
  }
  const { layers, bytes } = await inspectModel(input);
  t.is(layers[0]!.bytes, 4 * size * size);
  t.is(bytes.quantizable, 4 * size * size);
  // Without an entry, or with entries alone: each says where the data is not.
  const unsaid = elsewhere('w', {});
  writeFileSync(input, bytesOf(oneLayer(unsaid)));
  await refused(t, input, output, /"w"/);
  const both = elsewhere('w', { location });
  both.dataLocation = DataLocation.DEFAULT;
  both.rawData = inFile('w').rawData;
  writeFileSync(input, bytesOf(oneLayer(both)));
  await refused(t, input, output, /"w"/);
});

/** x → MatMul(w) → h → Add(a constant) → y, the constant in a file, as a node's attribute. */
const offset = { location: 'c.bin', offset: '0', length: String(4 * size) };

function inConstant(): ModelProto {
  const value = elsewhere('', offset, [size]);
  return network({
    nodes: [
      node('MatMul', ['x', 'w'], ['h']),
      node('Constant', [], ['c'], { attributes: { value } }),
      node('Add', ['h', 'c'], ['y']),
    ],
    constants: [inFile('w')],
    inputs: [float('x', ['batch', size])],
  });
}

function inBranch(): ModelProto {
  const yes = tensor('yes', [], Uint8Array.of(1));
  yes.dataType = DataType.BOOL;
  const branch = (name: string, constant: TensorProto) =>
    create(GraphProtoSchema, {
      name,
      node: [node('Add', ['h', constant.name], [name])],
      initializer: [constant],
      output: [float(name)],
    });
  const choice: NodeProto = node('If', ['yes'], ['y']);
  for (const [name, g] of [
    ['then_branch', branch('then', elsewhere('c', offset, [size]))],
    ['else_branch', branch('else', tensor('d', [size], random(size, 2)))],
  ] as const)
    choice.attribute.push(create(AttributeProtoSchema, { name, g, type: AttributeType.GRAPH }));
  return network({
    nodes: [node('MatMul', ['x', 'w'], ['h']), choice],
    constants: [inFile('w'), yes],
    inputs: [float('x', ['batch', size])],
  });
}

for (const [where, build] of Object.entries({ 'a Constant node': inConstant, 'a subgraph': inBranch })) {
  test(`data in another file in ${where} that no layer uses stays where it is`, async (t) => {
    const { input, output } = files(t, build());
    const values = random(size, 5);
    writeFileSync(join(dirname(input), 'c.bin'), Buffer.from(values.buffer));
    for (const options of [{ method: 'msq' } as const, { calibration }])
      for (const format of ['float', 'matmulnbits'] as const) {
        const report = await quantizeModel(input, output, { ...options, format, bits: 8 });
        t.is(report.layers.length, 1);
        const after = readBack(output).graph!.node;
        t.deepEqual(after.slice(1), readBack(input).graph!.node.slice(1));
        const [exact, quantized] = [await runFile(input), await runFile(output)];
        t.true(difference(exact, quantized) < 0.02);
      }
    t.deepEqual(readFileSync(join(dirname(input), 'c.bin')), Buffer.from(values.buffer));
  });

  test(`data in another file in ${where}: an output elsewhere would not find it`, async (t) => {
    const { input } = files(t, build());
    const { output } = files(t, build());
    for (const options of [{ method: 'msq' } as const, { calibration }])
      await t.throwsAsync(quantizeModel(input, output, options), {
        code: 'ERR_VERTEXQ_UNSUPPORTED',
        message: /tensor ".*" of .*in\.onnx: its data lies in another file.*into the same folder/,
      });
    t.deepEqual(readdirSync(dirname(output)), ['in.onnx']);
  });
}

test('data in another file that a layer behind it needs cannot be run; without calibration it stays', async (t) => {
  const model = inConstant();
  model.graph!.node[2]!.output[0] = 'a';
  model.graph!.node.push(node('MatMul', ['a', 'v'], ['y'], { name: 'behind' }));
  model.graph!.initializer.push(inFile('v'));
  const { input, output } = files(t, model);
  if (process.platform !== 'win32') execFileSync('mkfifo', [join(dirname(input), 'c.bin')]);
  await t.throwsAsync(quantizeModel(input, output, { calibration }), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /layer "behind": the network up to "a" cannot be run: .* lies in another file/,
  });
  t.false(readdirSync(dirname(input)).includes('out.onnx'));
  t.is((await quantizeModel(input, output, { method: 'msq' })).layers.length, 2);
});

test('a layer whose weight is a Constant in another file is refused', async (t) => {
  const model = network({
    nodes: [
      node('Constant', [], ['w'], { attributes: { value: elsewhere('', { location: '/dev/zero' }) } }),
      node('MatMul', ['x', 'w'], ['y']),
    ],
    constants: [],
    inputs: [float('x', ['batch', size])],
  });
  const { input, output } = files(t, model);
  await refused(t, input, output, /layer "y": tensor "".*another file/);
});

/** The answer of a model that is loaded from its file, as other files need. */
async function runFile(path: string): Promise<Float32Array> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const { data, dims } = calibration[0]!['x']!;
  const { y } = await session.run({ x: new Tensor('float32', data as Float32Array, dims) });
  await session.release();
  return y!.data as Float32Array;
}
