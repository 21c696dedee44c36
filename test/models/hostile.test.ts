import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspectModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import type { ModelOptions } from '../../lib/models/types';
import { bytesOf, feed, files, float, folder, network, random, readBack } from './networks';
import { field, nested, varint } from './wire';
import { typescript } from '../typescript';

const weight = (name: string) => tensor(name, [32, 32], random(1024, 7));

const oneLayer = (change: (weight: TensorProto) => void = () => {}): ModelProto => {
  const w = weight('w');
  change(w);
  return network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [w],
    inputs: [float('x', ['batch', 32])],
  });
};

const calibration = [feed([64, 32], 1)];

interface Expected {
  code?: string;
  message?: RegExp;
  options?: ModelOptions;
}

/** Neither quantizing nor, where `inspects` is not set, inspecting it works, and nothing is written. */
async function refused(
  t: ExecutionContext,
  model: ModelProto | Uint8Array,
  expected: Expected,
  inspects = false,
) {
  const { input, output } = files(t, model);
  const { code = 'ERR_VERTEXQ_ONNX', message = /./, options = { method: 'msq' } } = expected;
  const error = await t.throwsAsync(quantizeModel(input, output, options), { code, message });
  if (inspects) await t.notThrowsAsync(inspectModel(input));
  else await t.throwsAsync(inspectModel(input), { code, message });
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
  return error;
}

test('bytes that are no protobuf', async (t) => {
  const whole = bytesOf(oneLayer());
  const notModel = /in\.onnx is not an ONNX model/;
  const bad: Record<string, ArrayLike<number>> = {
    'an empty file': [],
    text: Buffer.from('this is a text file about networks\n'),
    'a truncated varint': [8, 0x80],
    'an overlong varint': [8, ...new Array<number>(11).fill(0x80), 1],
    'a length past the end': [...field(7, []).slice(0, 1), ...varint(1000), 1, 2, 3],
    'a length of 2^63': [0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    'a field number of 0': [2, 1, 1],
    'a wire type that does not exist': [7 * 8 + 7, 1],
    'an end of a group that never began': [7 * 8 + 4],
    'a graph with the wire type of a number': [7 * 8, 1],
    'a name with the wire type of a number': field(7, [2 * 8, 1]),
    'a truncated file': whole.subarray(0, whole.length - 20),
    'a file without a graph': [8, 8],
  };
  for (const [what, bytes] of Object.entries(bad)) {
    t.log(what);
    await refused(t, Uint8Array.from(bytes), { message: notModel });
  }
});

test('random bytes, and a model with random bytes in it, are an error or a model', async (t) => {
  const whole = bytesOf(oneLayer());
  for (let i = 0; i < 300; i++) {
    const bytes = i < 100 ? randomBytes(1 + i * 3) : Uint8Array.from(whole);
    if (i >= 100)
      for (const at of randomBytes(4)) bytes[i % 2 ? at % 100 : bytes.length - 1 - (at % 100)] = at;
    const { input, output } = files(t, bytes);
    try {
      await quantizeModel(input, output, { method: 'msq' });
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (!code?.startsWith('ERR_VERTEXQ_'))
        return t.fail(`${message}: ${Buffer.from(bytes.subarray(0, 100)).toString('hex')} …`);
      if (existsSync(output)) return t.fail(`${message}, and the output is there`);
    }
  }
  t.pass();
});

test('messages nested however deep', async (t) => {
  // graph, then node, attribute, g again and again; and unknown groups.
  for (const depth of [30, 300, 1000, 2000, 3000, 5000, 10_000, 20_000, 100_000]) {
    const bytes = Uint8Array.from(field(7, nested([1, 5, 6], depth)));
    const { input, output } = files(t, bytes);
    for (const result of [quantizeModel(input, output, { method: 'msq' }), inspectModel(input)]) {
      const code = await result.then(
        () => 'none',
        (error: NodeJS.ErrnoException) => error.code ?? error.message,
      );
      const shallow = ['none', 'ERR_VERTEXQ_ONNX', 'ERR_VERTEXQ_NO_LAYERS'];
      t.true((depth < 100 ? shallow : ['ERR_VERTEXQ_ONNX']).includes(code), `${depth}: ${code}`);
    }
  }
  const groups = new Uint8Array(100_000).fill(0x0b);
  await refused(t, groups, {});
});

test('a weight whose data is not what it says', async (t) => {
  const named = /layer "y": tensor "w"/;
  const cases: ((w: TensorProto) => void)[] = [
    (w) => (w.floatData = [1, 2, 3]),
    (w) => (w.floatData = [...random(1024, 7)]),
    (w) => (w.int32Data = [1]),
    (w) => (w.int64Data = [1n]),
    (w) => (w.uint64Data = [1n]),
    (w) => (w.doubleData = [1]),
    (w) => (w.stringData = [new Uint8Array(1)]),
    (w) => {
      w.rawData = new Uint8Array();
      w.doubleData = [...random(1024, 7)];
    },
    (w) => (w.rawData = w.rawData.subarray(0, 100)),
    (w) => (w.dims = [32n, 33n]),
    (w) => (w.rawData = new Uint8Array()),
    (w) => {
      w.rawData = new Uint8Array();
      w.floatData = [1];
    },
  ];
  for (const change of cases) await refused(t, oneLayer(change), { message: named }, true);
  for (const dims of [
    [-32n, 32n],
    [-32n, -32n],
    [2n ** 62n, 32n],
    [2n ** 40n, 2n ** 40n],
  ])
    await refused(
      t,
      oneLayer((w) => (w.dims = dims)),
      { message: /"w": the dimensions \[.*\] are not possible/ },
    );
  const last = network({
    nodes: [node('MatMul', ['x', 'v'], ['h']), node('MatMul', ['h', 'w'], ['y'])],
    constants: [weight('v'), { ...weight('w'), rawData: new Uint8Array(5) }],
    inputs: [float('x', ['batch', 32])],
  });
  const onProgress = () => t.fail('there was work before the error');
  await refused(t, last, { message: named, options: { calibration, onProgress } }, true);

  const empty = oneLayer((w) => (w.dims = [0n, 32n]));
  await refused(t, empty, { code: 'ERR_VERTEXQ_NO_LAYERS', message: /empty/ }, true);
});

test('graphs that are none', async (t) => {
  const bad = (nodes: NodeProto[]) => network({ nodes, constants: [weight('w')] });
  const cycle = [
    node('Add', ['x', 'b'], ['a']),
    node('MatMul', ['a', 'w'], ['b']),
    node('Relu', ['b'], ['y']),
  ];
  await refused(t, bad(cycle), { message: /in\.onnx: the graph has a cycle through node/ });
  await refused(t, bad([node('MatMul', ['y', 'w'], ['y'])]), { message: /cycle/ });
  await refused(t, bad([node('Identity', ['i'], ['i']), node('MatMul', ['x', 'i'], ['y'])]), {
    message: /cycle/,
  });
  const twice = [node('Relu', ['x'], ['y']), node('MatMul', ['x', 'w'], ['y'])];
  await refused(t, bad(twice), { message: /two nodes make the value "y"/ });
  await refused(t, bad([node('MatMul', ['x', 'w'], ['y']), node('Relu', ['x'], ['w'])]), { message: /"w"/ });
  await refused(t, bad([node('MatMul', ['x', 'w'], ['h']), node('Relu', ['h'], ['x'])]), { message: /"x"/ });
});

test('two initializers, or two inputs, of one name are refused: one of them would be lost', async (t) => {
  const nodes = [node('MatMul', ['x', 'w'], ['y'])];
  const constants = [weight('w'), weight('w')];
  await refused(t, network({ nodes, constants }), { message: /two initializers are called "w"/ });
  const unused = [weight('w'), weight('v'), weight('v')];
  await refused(t, network({ nodes, constants: unused }), { message: /two initializers are called "v"/ });
  const inputs = [float('x'), float('x')];
  await refused(t, network({ nodes, constants: [weight('w')], inputs }), {
    message: /two inputs are called "x"/,
  });
  const g = create(GraphProtoSchema, { node: nodes, initializer: constants, output: [float('y')] });
  const branch = node('If', ['c'], ['z']);
  branch.attribute.push(create(AttributeProtoSchema, { name: 'then_branch', type: AttributeType.GRAPH, g }));
  const inside = network({ nodes: [branch], constants: [], outputs: [float('z')] });
  await refused(t, inside, { message: /two initializers are called "w"/ });
});

test('nodes in any order, weights that nothing uses and missing names are no error', async (t) => {
  const model = network({
    nodes: [node('Relu', ['b'], ['y']), node('MatMul', ['a', 'w'], ['b']), node('Tanh', ['x'], ['a'])],
    constants: [weight('w'), weight('unused')],
  });
  for (const made of model.graph!.node) made.name = '';
  const { input, output } = files(t, model);
  const report = await quantizeModel(input, output, { method: 'msq' });
  t.is(report.layers[0]!.name, 'b');
  const inspection = await inspectModel(input);
  t.deepEqual(inspection.others, [{ kind: 'unused', count: 1, bytes: 4096 }]);
});

test('a product that lacks an input or its output', async (t) => {
  for (const opType of ['MatMul', 'Gemm'])
    for (const [inputs, outputs] of [
      [['x', 'w'], []],
      [['x', 'w'], ['']],
      [['', 'w'], ['y']],
      [['w'], ['y']],
      [['x', ''], ['y']],
      [[], ['y']],
    ] as const)
      await refused(
        t,
        network({
          nodes: [node(opType, [...inputs], [...outputs], { name: 'n' })],
          constants: [weight('w')],
        }),
        { message: /in\.onnx: node "n" \(\w+\) should have two inputs and an output/ },
      );
});

test('names like those of object members, and names that others get by number', async (t) => {
  const kinds = ['constructor', '__proto__', 'toString', 'toString'];
  const same = ['same', 'same', 'same#2', 'same'].map((name, i) =>
    node('MatMul', ['x', 'w'], [`o${i}`], { name }),
  );
  const model = network({
    nodes: [...same, ...kinds.map((kind, i) => node(kind, ['x'], [`${i}`], { domain: 'example' }))],
    constants: [weight('w')],
  });
  for (const key of ['constructor', '__proto__', 'vertexq.version'])
    model.metadataProps.push({ $typeName: 'onnx.StringStringEntryProto', key, value: 'kept' });
  const { input, output } = files(t, model);
  const { operators, layers } = await inspectModel(input);
  t.deepEqual(Object.entries(operators), [
    ['MatMul', 4],
    ['constructor', 1],
    ['__proto__', 1],
    ['toString', 2],
  ]);
  t.deepEqual(
    layers.map(({ name }) => name),
    ['same', 'same#2', 'same#2#2', 'same#3'],
  );
  await quantizeModel(input, output, { method: 'msq' });
  t.deepEqual(
    readBack(output).metadataProps.map(({ key, value }) => [key, value === 'kept']),
    [
      ['constructor', true],
      ['__proto__', true],
      ['vertexq.version', false],
      ['vertexq.options', false],
      ['vertexq.layers', false],
      ['vertexq.provenance', false],
      ['vertexq.checksum', false],
    ],
  );
});

test('a file whose messages and numbers would fill the heap is refused before it does', (t) => {
  const size = 48 * 2 ** 20;
  const nodes = Buffer.alloc(size, Uint8Array.of(0x0a, 0));
  const ones = Buffer.alloc(size, 1);
  const unknown = Buffer.alloc(size, Uint8Array.of(0x7a, 0)); // field 15
  const wrapped = (content: Buffer, ...fields: number[]) =>
    fields.reduce(
      (inner, no) => Buffer.concat([Uint8Array.of(no * 8 + 2, ...varint(inner.length)), inner]),
      content,
    );
  for (const [what, bytes] of Object.entries({
    'empty nodes': wrapped(nodes, 7),
    dimensions: wrapped(ones, 1, 5, 7),
    'fields that the schema does not know': wrapped(unknown, 7),
    'strings of nothing': wrapped(nodes, 1, 7),
  })) {
    const { input, output } = files(t, bytes);
    const program = `
      const { inspectModel, quantizeModel } = require(${JSON.stringify(join(__dirname, '..', '..', 'lib', 'index.ts'))});
      (async () => {
        for (const attempt of [() => inspectModel(process.argv[1]), () => quantizeModel(...process.argv.slice(1), { method: 'msq' })])
          await attempt().catch((error) => console.log(error.code, error.message));
      })();`;
    const printed = execFileSync(
      process.execPath,
      [typescript, '--max-old-space-size=1000', '-e', program, input, output],
      { encoding: 'utf8', cwd: join(__dirname, '..', '..') },
    );
    t.regex(printed, /^(ERR_VERTEXQ_MEMORY .*in\.onnx: .*--max-old-space-size=<MiB>\n){2}$/, what);
    t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
  }
});

test('NaN and infinite weights, and a network that makes them, are named by layer', async (t) => {
  for (const value of [NaN, Infinity, -Infinity])
    for (const options of [{}, { calibration }]) {
      const model = oneLayer((w) => {
        const values = random(1024, 7);
        values[500] = value;
        w.rawData = new Uint8Array(values.buffer);
      });
      await refused(t, model, { code: 'ERR_VERTEXQ_NOT_FINITE', message: /layer "y"/, options }, true);
    }
  const logs = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], { name: 'good' }),
      node('Log', ['a'], ['b']),
      node('MatMul', ['b', 'v'], ['y'], { name: 'bad' }),
    ],
    constants: [weight('w'), weight('v')],
    inputs: [float('x', ['batch', 32])],
  });
  await refused(
    t,
    logs,
    { code: 'ERR_VERTEXQ_NOT_FINITE', message: /layer "bad"/, options: { calibration } },
    true,
  );
});

test('chains of 20,000 and a subgraph of 200,000 nodes do not overflow the stack', async (t) => {
  const chain = (length: number) =>
    Array.from({ length }, (_, i) => node('Relu', [i ? `r${i - 1}` : 'x'], [`r${i}`]));
  const model = network({
    nodes: [...chain(20_000).reverse(), node('MatMul', ['r19999', 'w'], ['y'])],
    constants: [weight('w')],
  });
  const { input, output } = files(t, model);
  t.is((await quantizeModel(input, output, { method: 'msq' })).layers.length, 1);

  const wide = network({ nodes: [node('MatMul', ['x', 'w'], ['h'])], constants: [weight('w')] });
  const body = network({
    nodes: Array.from({ length: 200_000 }, (_, i) => node('Relu', ['h'], [`r${i}`])),
    constants: [],
    outputs: [float('r199999')],
  });
  const choice = node('If', ['x'], ['y']);
  choice.attribute.push({
    ...node('a', [], [], { attributes: { g: 1n } }).attribute[0]!,
    g: body.graph!,
    type: 5,
  });
  wide.graph!.node.push(choice);
  const others = files(t, wide);
  t.is((await quantizeModel(others.input, others.output, { method: 'msq' })).layers.length, 1);
});

test('a node with 200,000 inputs does not overflow the stack', async (t) => {
  const concat = node('Concat', ['x', ...new Array<string>(200_000).fill('c')], ['h'], {
    attributes: { axis: 0n },
  });
  const model = network({
    nodes: [concat, node('Slice', ['h', 'from', 'to'], ['s']), node('MatMul', ['s', 'w'], ['y'])],
    constants: [
      weight('w'),
      tensor('c', [1, 32], random(32, 1)),
      tensor('from', [1], BigInt64Array.of(0n)),
      tensor('to', [1], BigInt64Array.of(64n)),
    ],
    inputs: [float('x', ['batch', 32])],
  });
  const { input, output } = files(t, model);
  t.is((await quantizeModel(input, output, { calibration, holdout: 0 })).layers[0]!.samples, 64);
});

test('what is no file', async (t) => {
  const path = folder(t);
  const [missing, directory, fifo] = ['missing.onnx', 'folder.onnx', 'pipe.onnx'].map((name) =>
    join(path, name),
  ) as [string, string, string];
  mkdirSync(directory);
  const output = join(path, 'out.onnx');
  const inputs = [missing, directory, join(path, 'no\0thing')];
  if (process.platform !== 'win32') {
    execFileSync('mkfifo', [fifo]);
    inputs.push(fifo, '/dev/zero');
    await t.throwsAsync(quantizeModel(missing, fifo), { code: 'ERR_VERTEXQ_FILE', message: /pipe\.onnx/ });
    // A file that root may read all the same.
    const secret = join(path, 'secret.onnx');
    writeFileSync(secret, bytesOf(oneLayer()), { mode: 0 });
    if (process.getuid?.() !== 0) inputs.push(secret);
  }
  for (const input of inputs)
    for (const attempt of [quantizeModel(input, output), inspectModel(input)])
      await t.throwsAsync(attempt, { code: 'ERR_VERTEXQ_FILE' }, input);
  t.false(existsSync(output));
});
