import { create, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { quantizeModel } from '../../lib/index';
import { namesOf } from '../../lib/containers/onnx/graph';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { difference, feed, files, float, network, random, readBack, run } from './networks';

const size = 40;
const calibration = [feed([96, size], 1), feed([32, size], 2)];
const weight = (name: string, scale = 1) =>
  tensor(
    name,
    [size, size],
    random(size * size, name.length).map((value) => value * scale),
  );

function truth(name: string): TensorProto {
  const yes = tensor(name, [], Uint8Array.of(1));
  yes.dataType = DataType.BOOL;
  return yes;
}

const withBody = (made: NodeProto, bodies: Record<string, GraphProto>): NodeProto => {
  for (const [name, g] of Object.entries(bodies))
    made.attribute.push(create(AttributeProtoSchema, { name, g, type: AttributeType.GRAPH }));
  return made;
};

/** x → MatMul(outer) → h → `made`, whose subgraphs have products with weights of their own → MatMul(last) → y. */
const around = (made: NodeProto, constants: TensorProto[] = []): ModelProto =>
  network({
    nodes: [
      node('MatMul', ['x', 'outer'], ['h'], { name: 'first' }),
      made,
      node('MatMul', ['z', 'last'], ['y'], { name: 'second' }),
    ],
    constants: [weight('outer'), weight('last'), ...constants],
    inputs: [float('x', ['batch', size])],
  });

/** z = h·inner·inner·inner·outer, three times round a Loop, with `outer` taken from outside. */
const loop = (): ModelProto =>
  around(
    withBody(node('Loop', ['times', 'yes', 'h'], ['z'], { name: 'loop' }), {
      body: create(GraphProtoSchema, {
        name: 'body',
        node: [
          node('Identity', ['go'], ['on']),
          node('MatMul', ['state', 'inner'], ['m']),
          node('MatMul', ['m', 'outer'], ['n']),
          node('Tanh', ['n'], ['next']),
        ],
        initializer: [weight('inner', 0.2)],
        input: [
          valueInfo('i', DataType.INT64, []),
          valueInfo('go', DataType.BOOL, []),
          float('state', ['batch', size]),
        ],
        output: [valueInfo('on', DataType.BOOL, []), float('next', ['batch', size])],
      }),
    }),
    [tensor('times', [], BigInt64Array.of(3n)), truth('yes')],
  );

/** z has a row for each of h, each the tanh of the one before times `inner` plus that of h. */
const scan = (): ModelProto =>
  around(
    withBody(
      node('Scan', ['start', 'h'], ['end', 'z'], { name: 'scan', attributes: { num_scan_inputs: 1n } }),
      {
        body: create(GraphProtoSchema, {
          name: 'body',
          node: [
            node('MatMul', ['state', 'inner'], ['m']),
            node('Add', ['m', 'row'], ['sum']),
            node('Tanh', ['sum'], ['next']),
            node('Identity', ['next'], ['seen']),
          ],
          initializer: [weight('inner', 0.2)],
          input: [float('state', [size]), float('row', [size])],
          output: [float('next', [size]), float('seen', [size])],
        }),
      },
    ),
    [tensor('start', [size], new Float32Array(size))],
  );

for (const [kind, build] of Object.entries({ Loop: loop, Scan: scan }))
  test(`${kind}: layers around it alone are quantized, its body stays exact, and the result runs`, async (t) => {
    const model = build();
    const given = calibration[0]!;
    const answers: Record<string, Float32Array> = {};
    for (const format of ['float', 'matmulnbits'] as const) {
      const { input, output } = files(t, model);
      const report = await quantizeModel(input, output, {
        ...{ calibration, format, bits: 6 },
        layers: ['first', 'second'],
      });
      t.deepEqual(
        report.layers.map(({ name }) => name),
        ['first', 'second'],
      );
      const after = readBack(output);
      const body = after.graph!.node.find(({ opType }) => opType === kind)!;
      t.deepEqual(toBinary(NodeProtoSchema, body), toBinary(NodeProtoSchema, model.graph!.node[1]!));
      answers[format] = (await run(output, given))['y']!;
      if (format === 'matmulnbits') continue;
      // The same network with nothing but the two layers' weights exchanged.
      const reference = build();
      for (const [at, name] of ['outer', 'last'].entries()) {
        const own = after.graph!.node.find((made) => made.name === report.layers[at]!.name)!.input[1]!;
        const quantized = after.graph!.initializer.find((made) => made.name === own)!;
        reference.graph!.initializer.push({ ...quantized, name: `${name}_q` });
        reference.graph!.node[2 * at]!.input[1] = `${name}_q`;
      }
      t.deepEqual(answers[format], (await run(reference, given))['y']);
    }
    t.true(difference(answers['float']!, answers['matmulnbits']!) < 1e-5);
    const loss = difference((await run(model, given))['y']!, answers['float']!);
    t.true(loss > 0 && loss < 0.1, `${loss}`);
  });

test('names that a subgraph has are not given to anything new', async (t) => {
  const taken = ['outer_Q8', 'outer_scales', 'outer_zero_points', 'first_Q8', 'vertexq/0', 'vertexq/1'];
  const branch = (name: string, own: string[]): GraphProto =>
    create(GraphProtoSchema, {
      name,
      node: own.map((value, i) =>
        node('Mul', [i ? `${name}${i}` : 'h', value], [`${name}${i + 1}`], { name: value }),
      ),
      initializer: own.map((value) => tensor(value, [size], random(size, 3))),
      output: [float(`${name}${own.length}`)],
    });
  // A branch in a branch: however deep.
  const inner = withBody(node('If', ['yes'], ['chosen']), {
    then_branch: branch('inner', taken),
    else_branch: branch('other', ['k']),
  });
  const deep = create(GraphProtoSchema, { name: 'deep', node: [inner], output: [float('chosen')] });
  const model = around(
    withBody(node('If', ['yes'], ['z']), { then_branch: deep, else_branch: branch('third', ['l']) }),
    [truth('yes')],
  );
  const before = namesOf(model.graph!);
  t.true(taken.every((name) => before.has(name)));
  const { input, output } = files(t, model);
  for (const format of ['matmulnbits', 'float'] as const) {
    await quantizeModel(input, output, { calibration, format, bits: 8, layers: 'first', grid: 'asymmetric' });
    const { initializer, node: nodes } = readBack(output).graph!;
    const made = [...initializer, ...nodes].map(({ name }) => name);
    t.deepEqual(
      made.filter((name) => taken.includes(name)),
      [],
    );
    const [exact, quantized] = [await run(model, calibration[0]!), await run(output, calibration[0]!)];
    t.true(difference(exact['y']!, quantized['y']!) < 0.05);
  }
});
