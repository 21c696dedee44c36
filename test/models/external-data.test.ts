import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { evaluateModel, inspectModel, quantizeModel } from '../../lib/index';
import { tensorsOf } from '../../lib/containers/onnx/graph';
import { node, tensor } from '../../lib/containers/onnx/make';
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
} from '../../lib/containers/onnx/onnx_pb';
import { bytesOf, difference, feed, files, float, folder, network, random, readBack } from './networks';
import { bytesButHashes } from '../runs/but-hashes';
import { sameBytes } from '../files/same-bytes';

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

const [onnx, file] = ['ERR_VERTEXQ_ONNX', 'ERR_VERTEXQ_FILE'] as const;
const outside = /its data should lie in a file below the model's folder/;

/** Locations beside the model that lead nowhere good, and how each is refused. To open a FIFO would be to wait for ever. */
function traps(input: string): [location: string, code: string, message: RegExp][] {
  const beside = (name: string) => join(dirname(input), name);
  mkdirSync(beside('folder'));
  writeFileSync(beside('short.bin'), Buffer.alloc(10));
  writeFileSync(beside('whole.bin'), Buffer.alloc(4 * size * size));
  const everywhere: ReturnType<typeof traps> = [
    ['', onnx, outside],
    ['.', file, /is not a regular file but a folder|cannot be read/],
    ['folder', file, /folder is not a regular file but a folder|cannot be read/],
    ['short.bin', onnx, /should be the bytes 0 to 4096 of .*short\.bin, which has 10/],
    ['missing.bin', file, /missing\.bin cannot be read: ENOENT/],
    ['/etc/passwd', onnx, outside],
    ['a/../../x', onnx, outside],
    ['folder/../whole.bin', onnx, outside],
    ['folder\\..\\whole.bin', onnx, outside],
    ['../x', onnx, outside],
    ['C:whole.bin', onnx, outside],
    ['no\0where', onnx, outside],
  ];
  if (process.platform === 'win32') return everywhere;
  execFileSync('mkfifo', [beside('pipe')]);
  symlinkSync('/etc/passwd', beside('link'));
  symlinkSync('whole.bin', beside('link-beside'));
  symlinkSync(beside('pipe'), beside('link-to-pipe'));
  symlinkSync('/dev', beside('devices'));
  symlinkSync('..', beside('up'));
  symlinkSync('.', beside('here'));
  symlinkSync('self', beside('self'));
  const linked = /below the model's folder, and .* is a symbolic link/;
  return [
    ...everywhere,
    ['pipe', file, /pipe is not a regular file/],
    ['/dev/zero', onnx, outside],
    ...[
      ...['link', 'link-beside', 'link-to-pipe', 'devices/zero', 'up/x', 'here/whole.bin', 'self'],
      'folder/.//../link',
    ].map((location): ReturnType<typeof traps>[number] => [
      location,
      onnx,
      location.includes('..') ? outside : linked,
    ]),
  ];
}

/** Quantizing rejects before any work and leaves nothing; inspecting, which reads no weights, works. */
async function refused(
  t: ExecutionContext,
  input: string,
  output: string,
  code: string,
  message: RegExp,
): Promise<void> {
  const there = readdirSync(dirname(input));
  const onProgress = () => t.fail('there was work before the error');
  for (const options of [{ method: 'msq' } as const, { calibration }, { format: 'float' } as const])
    await t.throwsAsync(quantizeModel(input, output, { ...options, onProgress }), { code, message });
  await t.notThrowsAsync(inspectModel(input));
  t.deepEqual(readdirSync(dirname(input)), there);
}

test('data in another file: what is no regular file below the folder of the model is refused', async (t) => {
  const { input, output } = files(t, oneLayer(inFile('w')));
  for (const [location, code, message] of traps(input)) {
    t.log(JSON.stringify(location), code);
    writeFileSync(input, bytesOf(oneLayer(elsewhere('w', { location }))));
    await refused(t, input, output, code, message);
    // However the model is called.
    await refused(t, `${dirname(input)}/folder/../in.onnx`, output, code, message);
    // Likewise that of a tensor that no layer uses.
    writeFileSync(input, bytesOf(oneLayer(inFile('w'), elsewhere('table', { location }))));
    await refused(t, input, output, code, message);
  }
});

test('offset, length and checksum that are none, or not those of the file', async (t) => {
  const { input, output } = files(t, oneLayer(inFile('w')));
  writeFileSync(join(dirname(input), 'w.bin'), new Uint8Array(4 * size * size));
  const location = 'w.bin';
  const number = (name: string) => new RegExp(`tensor "w": the ${name} of its data should be a whole number`);
  for (const [entries, message] of [
    [{ location, offset: '-1' }, number('offset')],
    [{ location, offset: 'four' }, number('offset')],
    [{ location, offset: '1e999' }, number('offset')],
    [{ location, offset: '0x10' }, number('offset')],
    [{ location, offset: ' 4' }, number('offset')],
    [{ location, length: '-4096' }, number('length')],
    [{ location, length: '18446744073709551616' }, number('length')],
    [{ location, length: '' }, number('length')],
    [{ location, offset: '4096', length: '4096' }, /bytes 4096 to 8192 of .*w\.bin, which has 4096/],
    [{ location, offset: '9007199254740991', length: '9007199254740991' }, /which has 4096/],
    [{ location, offset: '4097' }, /which has 4096/],
    [{ location, length: '4097' }, /bytes 0 to 4097 of/],
    [{ location, length: '4095' }, /"w": its dimensions want 4096 bytes, and it has 4095/],
    [{ location, checksum: '0000' }, /"w": the checksum of .*w\.bin is [0-9a-f]{40}, and .* "0000"/],
    [{ offset: '0' }, outside],
  ] as const) {
    writeFileSync(input, bytesOf(oneLayer(elsewhere('w', entries))));
    await refused(t, input, output, onnx, message);
  }
  const { layers, bytes } = await inspectModel(input);
  t.is(layers[0]!.bytes, 4 * size * size);
  t.is(bytes.quantizable, 4 * size * size);
  // Without an entry, or with one twice.
  writeFileSync(input, bytesOf(oneLayer(elsewhere('w', {}))));
  await refused(t, input, output, onnx, outside);
  const twice = elsewhere('w', { location });
  twice.externalData.push(...elsewhere('', { location: 'v.bin' }).externalData);
  writeFileSync(input, bytesOf(oneLayer(twice)));
  await refused(t, input, output, onnx, /"w": its external_data has "location" twice/);
  // The checksum of a second tensor of the same file.
  const checksum = createHash('sha1').update(new Uint8Array(4096)).digest('hex');
  const right = elsewhere('w', { location, checksum: checksum.toUpperCase() });
  writeFileSync(input, bytesOf(oneLayer(right, elsewhere('v', { location, checksum: 'ab' }))));
  await refused(t, input, output, onnx, /"v": the checksum/);
});

test('data in another file and in the model too', async (t) => {
  // Short data is read with the model, longer is not.
  for (const rows of [size, 8 * size]) {
    const { input, output } = files(t, oneLayer(inFile('w')));
    writeFileSync(join(dirname(input), 'w.bin'), Buffer.alloc(4 * rows * size));
    for (const dataLocation of [DataLocation.DEFAULT, DataLocation.EXTERNAL])
      for (const data of [
        { rawData: new Uint8Array(4 * rows * size) },
        { floatData: new Array<number>(rows * size).fill(1) },
      ]) {
        const both = Object.assign(elsewhere('table', { location: 'w.bin' }, [rows, size]), data, {
          dataLocation,
        });
        writeFileSync(input, bytesOf(oneLayer(inFile('w'), both)));
        await refused(
          t,
          input,
          output,
          onnx,
          /"table": its data is in another file, and it has (raw|float)_data too/,
        );
      }
  }
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
  test(`data in another file in ${where} goes with the output, wherever that is`, async (t) => {
    const { input } = files(t, build());
    const output = join(folder(t), 'out.onnx');
    const values = Buffer.from(random(size, 5).buffer);
    writeFileSync(join(dirname(input), 'c.bin'), values);
    const exact = await runFile(input);
    for (const options of [{ method: 'msq' } as const, { calibration }])
      for (const format of ['float', 'qdq', 'matmulnbits'] as const)
        for (const external of [{}, { externalData: false }, { externalData: true }]) {
          const report = await quantizeModel(input, output, { ...options, ...external, format, bits: 8 });
          t.is(report.layers.length, 1);
          const tensors = [...tensorsOf(readBack(output).graph!)];
          const [moved] = tensors.filter(
            ({ dims, rawData }) => dims.join() === `${size}` && values.equals(rawData),
          );
          t.deepEqual(moved?.externalData, []);
          t.is(moved!.dataLocation, DataLocation.DEFAULT);
          t.true(difference(exact, await runFile(output)) < 0.02);
        }
    sameBytes(t, readFileSync(join(dirname(input), 'c.bin')), values);
  });

  test(`data in another file in ${where} that is not there is missed before any work`, async (t) => {
    const { input, output } = files(t, build());
    await refused(t, input, output, file, /c\.bin cannot be read: ENOENT/);
  });
}

test('a layer whose weight is a Constant in another file', async (t) => {
  const model = (location: string) =>
    network({
      nodes: [
        node('Constant', [], ['w'], { attributes: { value: elsewhere('', { location }) } }),
        node('MatMul', ['x', 'w'], ['y']),
      ],
      constants: [],
      inputs: [float('x', ['batch', size])],
    });
  const { input, output } = files(t, model('/dev/zero'));
  await refused(t, input, output, onnx, /tensor "": its data should lie in a file below/);
  writeFileSync(input, bytesOf(model('w.bin')));
  writeFileSync(join(dirname(input), 'w.bin'), inFile('').rawData);
  const exact = await runFile(input);
  for (const format of ['float', 'qdq', 'matmulnbits'] as const) {
    await quantizeModel(input, output, { calibration, format, bits: 8 });
    t.true(difference(exact, await runFile(output)) < 0.02);
  }
});

test('data in another file takes part in running the network up to a layer behind it', async (t) => {
  const model = inConstant();
  model.graph!.node[2]!.output[0] = 'a';
  model.graph!.node.push(node('MatMul', ['a', 'v'], ['y'], { name: 'behind' }));
  model.graph!.initializer.push(inFile('v'));
  const { input, output } = files(t, model);
  writeFileSync(join(dirname(input), 'c.bin'), Buffer.from(random(size, 5).buffer));
  const { layers } = await quantizeModel(input, output, { calibration, bits: 8 });
  t.true(layers.every(({ error }) => error.holdout! < 0.05));
  t.true(difference(await runFile(input), await runFile(output)) < 0.02);
});

test('a file of data that changes between reading and use', async (t) => {
  const { input, output } = files(t, oneLayer(elsewhere('w', { location: 'w.bin' })));
  const data = join(dirname(input), 'w.bin');
  for (const change of [
    () => writeFileSync(data, Buffer.alloc(4 * size * size, 1)),
    () => truncateSync(data, 100),
    () => rmSync(data),
  ]) {
    writeFileSync(data, inFile('').rawData);
    let changed = false;
    const onProgress = () => {
      if (!changed) change();
      changed = true;
    };
    await t.throwsAsync(quantizeModel(input, output, { calibration, onProgress }), {
      code: file,
      message: /layer "y": .*w\.bin (has changed since it was opened first|cannot be read: ENOENT)/,
    });
    t.false(readdirSync(dirname(input)).some((name) => /out|vertexq/.test(name)));
  }
});

/** The answer of a model that is loaded from its file, as other files need. */
async function runFile(path: string): Promise<Float32Array> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const { data, dims } = calibration[0]!['x']!;
  const { y } = await session.run({ x: new Tensor('float32', data as Float32Array, dims) });
  await session.release();
  return y!.data as Float32Array;
}

test('a model in a cache of the Hugging Face hub, whose files are links', async (t) => {
  const cache = join(folder(t), 'models--someone--something');
  const own = join(cache, 'snapshots', '0123', 'onnx');
  const blobs = join(cache, 'blobs');
  for (const path of [own, blobs, join(blobs, 'deeper')]) mkdirSync(path, { recursive: true });
  const data = Buffer.from(new Uint8Array(random(size * size, 7).buffer));
  for (const path of ['data', 'deeper/data']) writeFileSync(join(blobs, path), data);
  writeFileSync(join(cache, 'data'), data);
  writeFileSync(join(blobs, 'model'), bytesOf(oneLayer(elsewhere('w', { location: 'in.onnx_data' }))));
  const [input, link] = [join(own, 'in.onnx'), join(own, 'in.onnx_data')];
  const up = join('..', '..', '..');
  symlinkSync(join(up, 'blobs', 'model'), input);
  symlinkSync(join(up, 'blobs', 'data'), link);

  const plain = files(t, oneLayer(inFile('w')));
  const output = join(folder(t), 'out.onnx');
  for (const options of [{ method: 'msq' } as const, { calibration }]) {
    await quantizeModel(input, output, options);
    await quantizeModel(plain.input, plain.output, options);
    t.deepEqual(bytesButHashes(output), bytesButHashes(plain.output));
  }
  const { outputs } = await evaluateModel(input, output, { data: calibration });
  t.true(outputs[0]!.cosine! > 0.9);

  for (const elsewhere of [join(up, 'data'), join(up, 'blobs', 'deeper', 'data'), '/etc/passwd', 'self']) {
    rmSync(link);
    symlinkSync(elsewhere, link);
    await refused(t, input, output, onnx, /below the model's folder, and .* is a symbolic link/);
  }
});
