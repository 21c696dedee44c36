import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inspectModel, quantizeModel } from '../../lib/index';
import { inspectionTable } from '../../lib/reports/table';
import { floatToHalf } from '../numbers';
import { Graph, withSubgraphs } from '../../lib/containers/onnx/graph';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  FunctionProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
} from '../../lib/containers/onnx/onnx_pb';
import { bytesOf, difference, feed, files, float, inFloat, network, random, readBack, run } from './networks';

const formats = ['matmulnbits', 'qdq', 'float'] as const;
const rounding = { method: 'msq', bits: 8 } as const;

/** What onnx.checker asks of a model, as far as writing quantized weights could hurt it. */
function problemsOf(model: ModelProto): string[] {
  const problems: string[] = [];
  const graph = new Graph(model, 'the output'); // names made once, no cycles
  const domains = new Set(model.opsetImport.map(({ domain }) => domain));
  for (const scope of graph.all()) {
    const made = new Set(scope.proto.input.map(({ name }) => name));
    const constants = scope.proto.initializer.map(({ name }) => name);
    if (new Set(constants).size < constants.length) problems.push('an initializer twice');
    if (model.irVersion < 4n)
      for (const name of constants) if (!made.has(name)) problems.push(`${name} is no input`);
    for (const name of constants) made.add(name);
    for (const { name, input, output, domain, opType } of scope.proto.node) {
      for (const taken of input)
        if (taken && !made.has(taken) && !scope.parent?.scopeOf(taken))
          problems.push(`${name} before ${taken}`);
      if (!domains.has(domain)) problems.push(`${opType} of ${domain}, which is not imported`);
      for (const value of output) made.add(value);
    }
    for (const { name } of [...scope.proto.valueInfo, ...scope.proto.output])
      if (!made.has(name) && !scope.parent?.scopeOf(name)) problems.push(`${name} is told of, and not made`);
  }
  for (const { initializer } of withSubgraphs(model.graph!))
    for (const { dataType, name } of initializer)
      if (dataType >= 21 && model.irVersion < 10n) problems.push(`${name} has a type of a later version`);
  return problems;
}

for (const [irVersion, opset] of [
  [3n, 8],
  [3n, 13],
  [2n, 7],
  [6n, 13],
] as const)
  test(`case old_ir: version ${irVersion} of the format, opset ${opset}, initializers that are inputs`, async (t) => {
    const model = network({
      nodes: [
        node('MatMul', ['x', 'W'], ['h']),
        node('Gemm', ['h', 'V', 'b'], ['y'], { attributes: { transB: 1n } }),
      ],
      constants: [
        tensor('W', [64, 64], random(4096, 1)),
        tensor('V', [32, 64], random(2048, 2)),
        tensor('b', [32], random(32, 3)),
      ],
      inputs: [float('x', ['batch', 64]), float('W', [64, 64]), float('V', [32, 64]), float('b', [32])],
      outputs: [float('y', ['batch', 32])],
      model: { irVersion, opsetImport: [{ domain: '', version: BigInt(opset) }] },
    });
    for (const name of ['W', 'V']) model.graph!.valueInfo.push(float(name, [64, 64]));
    const { input, output } = files(t, model);
    const exact = (await run(input, feed([9, 64], 1)))['y']!;
    for (const format of formats) {
      await quantizeModel(input, output, { ...rounding, format });
      const after = readBack(output);
      t.deepEqual(problemsOf(after), [], format);
      t.true(difference(exact, (await run(output, feed([9, 64], 1), inFloat))['y']!) < 0.02);
    }
  });

test('case old_ir: before version 5 a Reshape has its shape as an attribute', async (t) => {
  for (const opset of [1n, 4n]) {
    const model = network({
      nodes: [node('MatMul', ['x', 'W'], ['y'])],
      constants: [tensor('W', [64, 31], random(64 * 31, 1))],
      inputs: [float('x', ['batch', 64]), float('W', [64, 31])],
      model: { irVersion: 3n, opsetImport: [{ domain: '', version: opset }] },
    });
    const { input, output } = files(t, model);
    const given = feed([9, 64], 1);
    const exact = (await run(input, given))['y']!;
    for (const format of formats)
      for (const data of [{}, { calibration: [feed([40, 64], 2)], holdout: 0, method: 'gptq' }] as const) {
        await quantizeModel(input, output, { ...rounding, ...data, format });
        const after = readBack(output);
        t.deepEqual(problemsOf(after), [], format);
        t.true(difference(exact, (await run(output, given, inFloat))['y']!) < 0.02, `${format} ${opset}`);
      }
  }
});

test('small: a Gemm with its weight on the left, a Gather along axis −2 of 2', async (t) => {
  const square = (name: string) => tensor(name, [64, 64], random(4096, name.length));
  const cases: Record<string, NodeProto> = Object.fromEntries(
    [0n, 1n].flatMap((transA) =>
      [0n, 1n].map((transB) => [
        `Gemm ${transA} ${transB}`,
        node('Gemm', ['w', 'x', 'bias'], ['y'], { attributes: { transA, transB, alpha: 0.5 } }),
      ]),
    ),
  );
  cases['Gather'] = node('Gather', ['w', 'i'], ['y'], { attributes: { axis: -2n } });
  for (const [name, made] of Object.entries(cases)) {
    const model = network({
      nodes: [made, ...(name === 'Gather' ? [node('Identity', ['x'], ['z'])] : [])],
      constants: [square('w'), square('bias'), tensor('i', [2], BigInt64Array.of(3n, 60n))],
      inputs: [float('x', [64, 64])],
      outputs: [float('y'), ...(name === 'Gather' ? [float('z')] : [])],
    });
    const { input, output } = files(t, model);
    for (const format of formats) {
      const calibration = name === 'Gather' ? undefined : [feed([64, 64], 3)];
      const options = calibration
        ? { calibration, holdout: 0, bits: 8, format }
        : { ...rounding, format, operators: ['Gather'] };
      const report = await quantizeModel(input, output, options);
      t.is(report.layers.length, 1, name);
      const exact = (await run(input, feed([64, 64], 3)))['y']!;
      t.true(
        difference(exact, (await run(output, feed([64, 64], 3), inFloat))['y']!) < 0.02,
        `${name} ${format}`,
      );
    }
  }
});

test('small: a second pass keeps what the first told of its layers', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['h'], { name: 'one' }),
      node('MatMul', ['h', 'v'], ['y'], { name: 'two' }),
    ],
    constants: [tensor('w', [64, 64], random(4096, 1)), tensor('v', [64, 64], random(4096, 2))],
    inputs: [float('x', ['batch', 64])],
  });
  const { input, output } = files(t, model);
  const second = join(dirname(output), 'second.onnx');
  const told = (path: string) =>
    readBack(path).metadataProps.find(({ key }) => key === 'vertexq.layers')?.value;
  await quantizeModel(input, output, { ...rounding, layers: 'one' });
  await quantizeModel(output, second, { ...rounding, bits: 4, layers: 'two' });
  t.deepEqual(JSON.parse(told(second)!), { one: 8, two: 4 });
  // Another's entry, or a damaged one, is no reason to fail.
  for (const value of ['[1]', '{', 'null', '{"__proto__": 3}']) {
    const other = readBack(output);
    other.metadataProps.find(({ key }) => key === 'vertexq.layers')!.value = value;
    writeFileSync(input, bytesOf(other));
    await quantizeModel(input, second, { ...rounding, layers: 'two' });
    t.is((JSON.parse(told(second)!) as Record<string, number>)['two'], 8);
  }
});

test('small: inspect counts external data with the file', async (t) => {
  const model = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [64, 64], random(4096, 1))],
  });
  const { input, output } = files(t, model);
  await quantizeModel(input, output, { ...rounding, format: 'float', externalData: true });
  const inspection = await inspectModel(output);
  t.true(inspection.bytes.quantizable <= inspection.bytes.file);
  t.notRegex(inspectionTable(inspection, { color: false, width: 100 }), /\d{4,} ?%/);
});

test('small: a float16 layer is named once in a message', async (t) => {
  // No step of 8 bits reaches the largest number without a level beyond it.
  const values = floatToHalf(random(4096, 1).map((value) => (value < 0 ? -65504 : 65504)));
  const weight = tensor('w', [64, 64], new Uint8Array(values.buffer));
  weight.dataType = DataType.FLOAT16;
  const model = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'tiny' })],
    constants: [weight],
    inputs: [valueInfo('x', DataType.FLOAT16, ['batch', 64])],
  });
  const { input, output } = files(t, model);
  for (const format of ['matmulnbits', 'qdq'] as const) {
    const error = await t.throwsAsync(quantizeModel(input, output, { ...rounding, format }));
    t.is(error.message.split('tiny').length - 1, 1, error.message);
  }
});

test('case computed_weights: what is left is told of, with bytes and reason, wherever it stands', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'p'], ['h']),
      node('MoE', ['h', 'router', 'experts', '', 'experts2'], ['m'], { domain: 'com.microsoft' }),
      node('Own', ['m', 'own'], ['n'], { domain: 'mine' }),
      node('Expand', ['row', 'shape'], ['wide']),
      node('MatMul', ['n', 'wide'], ['y']),
    ],
    constants: [
      tensor('p', [64, 64], random(4096, 1)),
      tensor('experts', [4, 64, 64], random(4 * 4096, 2)),
      tensor('experts2', [4, 64, 64], random(4 * 4096, 3)),
      tensor('own', [64, 64], random(4096, 4)),
      tensor('row', [64, 1], random(64, 5)),
      tensor('table', [20, 64], random(1280, 6)),
      tensor('router', [64], random(64, 7)),
      tensor('shape', [2], BigInt64Array.of(64n, 2n ** 40n)),
    ],
  });
  const { input, output } = files(t, model);
  const { skipped } = await quantizeModel(input, output, rounding);
  const told = new Map(
    skipped.map(({ name, bytes, reason, choice }) => [name, [bytes, choice, reason] as const]),
  );
  for (const [name, bytes, pattern] of [
    ['experts', 65536, /MoE/],
    ['experts2', 65536, /MoE/],
    ['own', 16384, /mine\.Own/],
    ['table', 5120, /nothing uses it/],
  ] as const) {
    t.is(told.get(name)?.[0], bytes, name);
    t.false(told.get(name)?.[1]);
    t.regex(told.get(name)?.[2] ?? '', pattern);
  }
});

test('case computed_weights: weights that are quantized already are told of, and what is left where there is no layer', async (t) => {
  const integers = (name: string, type: DataType, ...dims: number[]) => {
    const made = tensor(name, dims, new Uint8Array(dims.reduce((a, b) => a * b, 1)));
    made.dataType = type;
    return made;
  };
  const scale = tensor('scale', [], Float32Array.of(0.1));
  const quantizedNodes = [
    node('DequantizeLinear', ['q', 'scale'], ['w']),
    node('MatMul', ['x', 'w'], ['y']),
    node('MatMulInteger', ['x8', 'r', 'zero'], ['z']),
  ];
  const constants = [
    scale,
    integers('q', DataType.INT8, 64, 64),
    integers('r', DataType.UINT8, 64, 32),
    integers('zero', DataType.UINT8),
  ];
  const plain = [node('MatMul', ['x', 'p'], ['v'], { name: 'plain' })];
  const inputs = [float('x', ['batch', 64]), valueInfo('x8', DataType.UINT8, ['batch', 64])];
  const outputs = [float('y'), valueInfo('z', DataType.INT32)];
  const p = tensor('p', [64, 64], random(4096, 1));
  const one = files(t, network({ nodes: [...quantizedNodes, ...plain], constants: [...constants, p], inputs, outputs: [...outputs, float('v')] })); // prettier-ignore
  const { skipped } = await quantizeModel(one.input, one.output, rounding);
  t.deepEqual(skipped, [
    { name: 'q', bytes: 4096, reason: 'it is quantized already', choice: true },
    { name: 'r', bytes: 2048, reason: 'it is quantized already', choice: true },
  ]);
  // Nothing but such weights, and one behind an operator that is not computed.
  const none = files(t, network({ nodes: quantizedNodes, constants, inputs, outputs }));
  const behind = files(t, network({ nodes: [node('Exp', ['p'], ['w']), node('MatMul', ['x', 'w'], ['y'])], constants: [p] })); // prettier-ignore
  for (const [{ input, output }, reason] of [
    [none, /constant weight \(q: it is quantized already\)$/],
    [behind, /constant weight \(p: it goes into Exp, whose weights are not quantized\)$/],
  ] as const)
    await t.throwsAsync(quantizeModel(input, output, rounding), {
      code: 'ERR_VERTEXQ_NO_LAYERS',
      message: reason,
    });
});

test('case computed_weights: local functions that nothing calls and sparse tensors, which are not looked into, are told of', async (t) => {
  const model = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'product' })],
    constants: [tensor('w', [64, 64], random(4096, 1))],
    inputs: [float('x', ['batch', 64])],
  });
  const { input, output } = files(t, model);
  // GraphProto 15, a SparseTensorProto with values (field 1).
  const length = (count: number) => [(count & 0x7f) | 0x80, count >> 7];
  const field = (no: number, data: Uint8Array) => ({
    no,
    wireType: 2,
    data: Uint8Array.from([...length(data.length), ...data]),
  });
  model.functions = [create(FunctionProtoSchema, { name: 'A'.repeat(5000) })];
  const values = Uint8Array.from([0x4a, ...length(6000), ...new Uint8Array(6000)]); // raw_data
  model.graph!.$unknown = [field(15, Uint8Array.from([0x0a, ...length(values.length), ...values]))];
  writeFileSync(input, bytesOf(model));
  const report = await quantizeModel(input, output, rounding);
  for (const [name, size] of [
    ['local functions', 5000],
    ['sparse initializers', 6000],
  ] as const) {
    const told = report.skipped.find((left) => left.name === name);
    t.true(told !== undefined && told.bytes >= size && !told.choice, name);
    t.regex(told!.reason, /does not look for weights/);
    t.true((await inspectModel(input)).others.some(({ kind, bytes }) => kind === name && bytes >= size));
  }
  t.deepEqual(readBack(output).functions, model.functions);
});

test('case old_ir: since version 4, a weight that may be fed instead is told of', async (t) => {
  const made = (fed: boolean) =>
    network({
      nodes: [node('MatMul', ['x', 'w'], ['y'])],
      constants: [tensor('w', [64, 64], random(4096, 1))],
      inputs: [float('x', ['batch', 64]), ...(fed ? [float('w', [64, 64])] : [])],
    });
  for (const fed of [true, false]) {
    const { input, output } = files(t, made(fed));
    const { warnings } = await quantizeModel(input, output, rounding);
    t.is(
      warnings.filter((text) => /"w": the network lets these weights be fed/.test(text)).length,
      fed ? 1 : 0,
    );
    t.deepEqual(problemsOf(readBack(output)), []);
  }
});
