import test, { type ExecutionContext } from 'ava';
import { create } from '@bufbuild/protobuf';
import { quantizeModel } from '../../../lib/index';
import { inlineFunctions } from '../../../lib/containers/onnx/inline-functions';
import { attribute, node, tensor } from '../../../lib/containers/onnx/make';
import {
  AttributeProtoSchema,
  FunctionProtoSchema,
  GraphProtoSchema,
  type AttributeProto,
  type FunctionProto,
  type ModelProto,
  type NodeProto,
} from '../../../lib/containers/onnx/onnx_pb';
import { difference, files, float, network, random, readBack, run, type Parts } from '../../models/networks';

const domain = 'own';
const weight = (name: string, ...dims: number[]) =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      name.length + dims.length,
    ),
  );
const constant = (name: string, ...dims: number[]) =>
  node('Constant', [], [name], { attributes: { value: weight(name, ...dims) } });
const call = (name: string, input: string[], output: string[], attributes = {}) =>
  node(name, input, output, { domain, attributes });
/** An attribute that is the function's own of this name. */
const own = (name: string, refAttrName: string, like: bigint | number): AttributeProto =>
  create(AttributeProtoSchema, { ...attribute(name, like), i: 0n, f: 0, refAttrName });
const withAttributes = (made: NodeProto, ...attributes: AttributeProto[]): NodeProto => {
  made.attribute.push(...attributes);
  return made;
};

interface Made {
  name: string;
  input: string[];
  output: string[];
  nodes: NodeProto[];
  attributes?: string[];
  defaults?: AttributeProto[];
  version?: number;
}
const functionOf = ({
  name,
  input,
  output,
  nodes,
  attributes = [],
  defaults = [],
  version = 17,
}: Made): FunctionProto =>
  create(FunctionProtoSchema, {
    ...{ name, domain, input, output, node: nodes, attribute: attributes, attributeProto: defaults },
    opsetImport: [
      { domain: '', version: BigInt(version) },
      { domain, version: 1n },
    ],
  });

function modelOf(parts: Omit<Parts, 'inputs'>, functions: Made[]): ModelProto {
  const opsetImport = [
    { domain: '', version: 17n },
    { domain, version: 1n },
  ];
  const model = network({ ...parts, inputs: [float('x', ['n', 32])], model: { irVersion: 8n, opsetImport } });
  model.functions = functions.map(functionOf);
  return model;
}

const feeds = { x: { data: random(4 * 32, 5), dims: [4, 32], type: 'float32' } };

/** The network computes the same after calls have become nodes, and so many layers of it are quantized, by data. */
async function check(t: ExecutionContext, model: ModelProto, layers: number, left = 0): Promise<void> {
  const { input, output } = files(t, model);
  const report = await quantizeModel(input, output, { bits: 8, calibration: [feeds], holdout: 0 });
  t.is(report.layers.length, layers);
  t.is(new Set(report.layers.map(({ name }) => name)).size, layers);
  t.is(readBack(output).functions.length, left);
  const [before, after] = [await run(input, feeds), await run(output, feeds)];
  for (const [name, values] of Object.entries(before)) t.true(difference(values, after[name]!) < 0.03, name);
}

/** Weights in its body, an input that is a weight, an attribute with a default, and an input that may be missing. */
const dense: Made = {
  name: 'Dense',
  input: ['v', 'w', 'lower'],
  output: ['y', 'p'],
  attributes: ['alpha'],
  defaults: [attribute('slope', 0.5)],
  nodes: [
    constant('inner', 32, 32),
    node('MatMul', ['v', 'inner'], ['h']),
    withAttributes(node('LeakyRelu', ['h'], ['x']), own('alpha', 'slope', 1)),
    withAttributes(node('Elu', ['x'], ['e']), own('alpha', 'alpha', 1)),
    node('Clip', ['e', 'lower'], ['c']),
    node('MatMul', ['c', 'w'], ['y']),
    node('Identity', ['v'], ['p']),
  ],
};

test('weights in functions and passed into them are quantized by the data, each call by its own', async (t) => {
  const nodes = [
    call('Dense', ['x', 'a', 'zero'], ['first', 'through'], { alpha: 0.3 }),
    call('Dense', ['first', 'b'], ['second', 'unused'], { slope: 0.1 }),
    node('Add', ['second', 'through'], ['y']),
  ];
  const constants = [weight('a', 32, 32), weight('bb', 32, 32), tensor('zero', [], Float32Array.of(-0.2))];
  constants[1]!.name = 'b';
  await check(t, modelOf({ nodes, constants }, [dense]), 4);
});

test('functions that call functions, with attributes handed down, and a value of the name that a runtime would make', async (t) => {
  const outer: Made = {
    name: 'Outer',
    input: ['a'],
    output: ['b', 'b2'],
    attributes: ['slope'],
    nodes: [
      constant('k', 32, 32),
      withAttributes(call('Dense', ['a', 'k'], ['h', 'unused']), own('slope', 'slope', 1)),
      call('Dense', ['h', 'k'], ['b', 'b2']),
    ],
  };
  const nodes = [
    call('Outer', ['x'], ['function1/h', 'z'], { slope: 0.7 }),
    node('Add', ['function1/h', 'z'], ['y']),
  ];
  await check(t, modelOf({ nodes, constants: [] }, [outer, dense]), 4);
});

test('calls in branches, and functions that hold branches whose names are those outside', async (t) => {
  const branch = (value: string, scale: string, k: string): AttributeProto['g'] =>
    create(GraphProtoSchema, {
      name: value,
      node: [
        constant(k, 32, 32),
        call('Dense', [value, k], ['d', 'unused']),
        node('Mul', ['d', scale], ['out']),
      ],
      output: [float('out')],
    });
  const holding = (flag: string, output: string, value: string, scale: string, k: string) => {
    const made = node('If', [flag], [output]);
    made.attribute.push(
      create(AttributeProtoSchema, { name: 'then_branch', type: 5, g: branch(value, scale, k) }),
      create(AttributeProtoSchema, { name: 'else_branch', type: 5, g: branch(value, scale, k) }),
    );
    return made;
  };
  const choosing: Made = {
    name: 'Choosing',
    input: ['flag', 'v', 's'],
    output: ['o'],
    nodes: [holding('flag', 'o', 'v', 's', 'k')],
  };
  const nodes = [call('Choosing', ['yes', 'x', 'k'], ['h']), holding('yes', 'y', 'h', 'k', 'own')];
  const constants = [tensor('yes', [], Uint8Array.of(1)), tensor('k', [1], Float32Array.of(0.5))];
  constants[0]!.dataType = 9;
  await check(t, modelOf({ nodes, constants }, [choosing, dense]), 8);
});

test('functions of another operator set stay, and are told of; so do those that would become too many nodes', async (t) => {
  const body = [constant('inner', 32, 32), node('MatMul', ['v', 'inner'], ['y'])];
  const old: Made = { name: 'Old', input: ['v'], output: ['y'], version: 16, nodes: body };
  const nodes = [call('Old', ['x'], ['h']), node('MatMul', ['h', 'w'], ['y'])];
  await check(t, modelOf({ nodes, constants: [weight('w', 32, 32)] }, [old]), 1, 1);
  const doubling = Array.from({ length: 40 }, (_, i): Made => {
    const next = i === 39 ? node('Neg', ['v'], ['h']) : call(`F${i + 1}`, ['v'], ['h']);
    const after = i === 39 ? node('Neg', ['h'], ['y']) : call(`F${i + 1}`, ['h'], ['y']);
    return { name: `F${i}`, input: ['v'], output: ['y'], nodes: [next, after] };
  });
  const model = modelOf({ nodes: [call('F0', ['x'], ['y'])], constants: [] }, doubling);
  inlineFunctions(model, 'file');
  t.is(model.graph!.node.length, 1);
  t.is(model.functions.length, 40);
});

test('inputs that are outputs, and outputs that nobody takes', (t) => {
  const through: Made = {
    name: 'F',
    input: ['v'],
    output: ['v', 'y', 'y'],
    nodes: [node('Neg', ['v'], ['y'])],
  };
  const model = modelOf({ nodes: [call('F', ['x'], ['a', 'b', 'c']), call('F', ['x'], ['', ''])], constants: [] }, [through]); // prettier-ignore
  inlineFunctions(model, 'file');
  t.deepEqual(
    model.graph!.node.map(({ opType, input, output }) => [opType, ...input, ...output]),
    [
      ['Neg', 'x', 'b'],
      ['Identity', 'x', 'a'],
      ['Identity', 'b', 'c'],
      ['Neg', 'x', 'function2/y'],
    ],
  );
});

test('a function that calls itself, and two of one name, are errors', (t) => {
  const round: Made = { name: 'Round', input: ['v'], output: ['y'], nodes: [call('Round', ['v'], ['y'])] };
  const parts = { nodes: [call('Round', ['x'], ['y'])], constants: [] };
  t.throws(() => inlineFunctions(modelOf(parts, [round]), 'file.onnx'), {
    code: 'ERR_VERTEXQ_ONNX',
    message: 'file.onnx: the function "Round" calls itself',
  });
  t.throws(() => inlineFunctions(modelOf(parts, [dense, dense]), 'file.onnx'), { code: 'ERR_VERTEXQ_ONNX' });
});
