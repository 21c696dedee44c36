// Models that are sound as protobuf and unsound, or odd, as ONNX.
import { create } from '@bufbuild/protobuf';
import { tensorsOf, withSubgraphs } from '../../lib/containers/onnx/graph';
import { attribute, node } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  GraphProtoSchema,
  StringStringEntryProtoSchema,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import type { Chooser } from './random';
import { trapLocations } from './traps';

/** Changes a model; false where it has nothing to change. */
export type MessageMutation = (model: ModelProto, choose: Chooser) => boolean | void;

const numbers = [
  0n,
  1n,
  -1n,
  2n,
  3n,
  7n,
  100n,
  65536n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 62n,
  -(2n ** 63n),
];
const names = [
  '',
  '__proto__',
  'constructor',
  'toString',
  '..',
  'a\0b',
  'x',
  '😀'.repeat(50),
  'n'.repeat(100_000),
];
const operators = [
  ...['MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'Gather', 'Constant', 'Identity', 'Transpose', 'Reshape'],
  ...[
    'Cast',
    'If',
    'Loop',
    'Scan',
    'LSTM',
    'MatMulNBits',
    'QuantizeLinear',
    'DequantizeLinear',
    'Unknown',
    '',
  ],
];
/** Where most attacks begin: products, and what brings their weights. */
const weighty = new Set(['MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'Constant', 'Transpose', 'Gather']);

function someTensor(model: ModelProto, choose: Chooser): TensorProto | null {
  const all = [...tensorsOf(model.graph!)];
  const large = all.filter(({ dims }) => dims.length > 1);
  return all.length === 0 ? null : choose.of(choose.chance(0.7) && large.length > 0 ? large : all);
}

function someNode(model: ModelProto, choose: Chooser): NodeProto | null {
  const all = [...withSubgraphs(model.graph!)].flatMap((graph) => graph.node);
  const likely = all.filter(({ opType }) => weighty.has(opType));
  return all.length === 0 ? null : choose.of(choose.chance(0.7) && likely.length > 0 ? likely : all);
}

const ofTensor =
  (change: (tensor: TensorProto, choose: Chooser, model: ModelProto) => void): MessageMutation =>
  (model, choose) => {
    const tensor = someTensor(model, choose);
    if (tensor) change(tensor, choose, model);
    return tensor !== null;
  };

const ofNode =
  (change: (node: NodeProto, choose: Chooser, model: ModelProto) => void): MessageMutation =>
  (model, choose) => {
    const found = someNode(model, choose);
    if (found) change(found, choose, model);
    return found !== null;
  };

/** A value of the graph, or a name that none has. */
function someName({ graph }: ModelProto, choose: Chooser): string {
  const { node: nodes, initializer } = graph!;
  const all = [
    ...nodes.flatMap(({ input, output }) => [...input, ...output]),
    ...initializer.map(({ name }) => name),
  ];
  return choose.chance(0.85) && all.length > 0 ? choose.of(all) : choose.of(names);
}

/** By name, as findings tell. */
export const messageMutations: Record<string, MessageMutation> = {
  dims: ofTensor((tensor, choose) => {
    const { dims } = tensor;
    const at = choose.below(dims.length + 1);
    // Another, none, or one more.
    const [gone, put] = choose.of([
      [1, [choose.of(numbers)]],
      [1, []],
      [0, [choose.of(numbers)]],
    ] as [number, bigint[]][]);
    dims.splice(at, gone, ...put);
    if (choose.chance(0.05))
      tensor.dims = new Array<bigint>(choose.of([100, 100_000])).fill(choose.of([1n, 0n, 2n]));
  }),
  swappedDims: ofTensor(({ dims }) => void dims.reverse()),
  type: ofTensor((tensor, choose) => {
    tensor.dataType = choose.of([0, 1, 2, 7, 8, 10, 11, 14, 16, 17, 21, 23, -1, 2 ** 31 - 1]);
  }),
  rawData: ofTensor((tensor, choose) => {
    const { rawData } = tensor;
    const longer = new Uint8Array(rawData.length + choose.of([1, 4, 4096]));
    tensor.rawData = choose.of([
      rawData.subarray(0, choose.below(rawData.length + 1)),
      longer,
      new Uint8Array(0),
    ]);
  }),
  twiceGiven: ofTensor((tensor, choose) => {
    tensor.floatData = new Array<number>(choose.of([1, 100, 100_000])).fill(
      choose.of([0, NaN, 1e38, -Infinity]),
    );
    if (choose.chance(0.3)) tensor.int64Data = [1n, 2n];
    if (choose.chance(0.3)) tensor.rawData = new Uint8Array(0);
  }),
  numbers: ofTensor((tensor, choose) => {
    const made = tensor.rawData.slice();
    const view = new DataView(made.buffer);
    const odd = choose.of([NaN, Infinity, -Infinity, 3.4e38, 1e-45, -0]);
    for (let at = 0; at + 4 <= made.length; at += 4 * choose.of([1, 7, 1001])) view.setFloat32(at, odd, true);
    tensor.rawData = made;
  }),
  external: ofTensor((tensor, choose) => {
    const keys = { location: choose.of(trapLocations), offset: oddOffset(choose), length: oddOffset(choose) };
    tensor.externalData = Object.entries(keys)
      .filter(() => choose.chance(0.85))
      .map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }));
    if (choose.chance(0.9)) tensor.dataLocation = 1;
    if (choose.chance(0.8)) tensor.rawData = new Uint8Array(0);
  }),
  tensorName: ofTensor((tensor, choose, model) => {
    tensor.name = someName(model, choose);
  }),
  operator: ofNode((node, choose) => {
    node.opType = choose.of(operators);
  }),
  domain: ofNode((node, choose) => {
    node.domain = choose.of(['', 'ai.onnx', 'com.microsoft', 'x', '__proto__']);
  }),
  input: ofNode(({ input }, choose, model) => {
    const at = choose.below(input.length + 1);
    if (choose.chance(0.7)) input[at] = someName(model, choose);
    else input.splice(at, 1);
  }),
  output: ofNode(({ output }, choose, model) => {
    const at = choose.below(output.length + 1);
    if (choose.chance(0.7)) output[at] = someName(model, choose);
    else output.splice(at, 1);
  }),
  nodeName: ofNode((node, choose) => {
    node.name = choose.of(names);
  }),
  attribute: ofNode((node, choose) => {
    const name = choose.of([
      'transA',
      'transB',
      'alpha',
      'perm',
      'axis',
      'value',
      'group',
      'strides',
      'pads',
      'body',
    ]);
    const one = choose.of(numbers);
    const values = [one, Number(one), 'text', [one, one], new Array<bigint>(1000).fill(one), [NaN]];
    const others = node.attribute.filter((own) => own.name !== name || choose.chance(0.2));
    node.attribute = choose.chance(0.2) ? others : [...others, attribute(name, choose.of(values))];
  }),
  /** All of it in a branch, or in a branch in a branch. */
  inSubgraph: (model, choose) => {
    const { input, output, node: nodes, initializer } = model.graph!;
    let graph = create(GraphProtoSchema, { name: 'body', node: nodes, initializer, output });
    for (let depth = choose.of([1, 2, 30, 300]); depth > 0; depth--) {
      const results = output.map(({ name }) => name);
      const branch = node('If', ['condition'], results, { name: `if_${depth}` });
      const then = Object.assign(attribute('then_branch', 0n), { type: AttributeType.GRAPH, g: graph });
      branch.attribute.push(then);
      graph = create(GraphProtoSchema, { name: 'branch', node: [branch], output });
    }
    graph.input = input;
    model.graph = graph;
  },
  noGraph: (model, choose) => {
    if (choose.chance(0.5)) delete model.graph;
    else model.graph = create(GraphProtoSchema, {});
  },
  opsets: (model, choose) => {
    const version = choose.of([...numbers, 9n, 13n, 21n, 25n]);
    for (const opset of model.opsetImport) opset.version = version;
    if (choose.chance(0.3)) model.opsetImport = [];
    if (choose.chance(0.3)) model.opsetImport.push(...model.opsetImport);
    if (choose.chance(0.3)) model.irVersion = choose.of(numbers);
  },
  interface: (model, choose) => {
    const graph = model.graph!;
    const [from, to] = [
      choose.of(['input', 'output', 'valueInfo'] as const),
      choose.of(['input', 'output'] as const),
    ];
    if (choose.chance(0.3)) graph[to] = [];
    else graph[to].push(...graph[from]);
    for (const value of graph.input) if (choose.chance(0.2)) delete value.type;
    if (choose.chance(0.2)) for (const value of graph.output) value.name = someName(model, choose);
  },
  manyNodes: (model, choose) => {
    const count = choose.of([100, 10_000, 50_000]);
    let value = model.graph!.input[0]?.name ?? 'x';
    for (let i = 0; i < count; i++)
      model.graph!.node.push(
        node(choose.of(['Identity', 'Transpose', 'Relu']), [value], [(value = `many_${i}`)]),
      );
  },
  shuffled: (model, choose) => {
    const { node: nodes } = model.graph!;
    for (let i = nodes.length - 1; i > 0; i--) {
      const k = choose.below(i + 1);
      [nodes[i], nodes[k]] = [nodes[k]!, nodes[i]!];
    }
  },
  twice: (model, choose) => {
    const graph = model.graph!;
    if (choose.chance(0.5) && graph.node.length > 0) graph.node.push(choose.of(graph.node));
    else if (graph.initializer.length > 0) graph.initializer.push(choose.of(graph.initializer));
  },
  /** The same weight behind a step that turns it. */
  behindStep: (model, choose) => {
    const graph = model.graph!;
    if (graph.initializer.length === 0) return false;
    const { name } = choose.of(graph.initializer);
    for (const user of graph.node)
      user.input = user.input.map((input) => (input === name ? `${name}/step` : input));
    const step = node(choose.of(['Transpose', 'Identity', 'Cast', 'Reshape']), [name], [`${name}/step`]);
    if (choose.chance(0.7))
      step.attribute.push(
        attribute(
          'perm',
          choose.of([
            [1n, 0n],
            [0n, 1n],
            [0n, 0n],
            [2n, -1n],
          ]),
        ),
      );
    graph.node.unshift(step);
    return true;
  },
};

function oddOffset(choose: Chooser): string {
  return choose.of([
    '0',
    '1',
    '4',
    '4096',
    '-1',
    '',
    'NaN',
    '1e9',
    '0x10',
    '9007199254740993',
    '18446744073709551616',
  ]);
}
