import type { AttributeProto, GraphProto, NodeProto, TensorProto } from './onnx_pb';

/** Whether a node's operator is ONNX's own. */
export function isStandard(node: NodeProto): boolean {
  return node.domain === '' || node.domain === 'ai.onnx';
}

export function attributeOf(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((attribute) => attribute.name === name);
}

/** An INT attribute, or its default. */
export function intAttribute(node: NodeProto, name: string, fallback: number): number {
  const attribute = attributeOf(node, name);
  return attribute ? Number(attribute.i) : fallback;
}

/** An INTS attribute as numbers; empty where it is not set. */
export function intsAttribute(node: NodeProto, name: string): number[] {
  return attributeOf(node, name)?.ints.map(Number) ?? [];
}

/** A STRING attribute, or its default. */
export function textAttribute(node: NodeProto, name: string, fallback: string): string {
  const attribute = attributeOf(node, name);
  return attribute ? new TextDecoder().decode(attribute.s) : fallback;
}

/** A FLOAT attribute, or its default. */
export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return attributeOf(node, name)?.f ?? fallback;
}

/** The graphs that a node holds: branches and bodies. */
export function subgraphsOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
}

/** A graph and all that its nodes hold, however deep. */
export function* withSubgraphs(graph: GraphProto): Generator<GraphProto> {
  yield graph;
  for (const node of graph.node) for (const body of subgraphsOf(node)) yield* withSubgraphs(body);
}

/** Every tensor of a graph and its subgraphs: initializers and attributes. */
export function* tensorsOf(graph: GraphProto): Generator<TensorProto> {
  for (const { initializer, node } of withSubgraphs(graph)) {
    yield* initializer;
    for (const { attribute } of node)
      for (const { t, tensors } of attribute) {
        if (t) yield t;
        yield* tensors;
      }
  }
}

/** The names of all values and nodes of a graph and its subgraphs: no value of a subgraph may be called like one outside. */
export function namesOf(graph: GraphProto): Set<string> {
  const names = new Set<string>();
  for (const { initializer, input, output, node } of withSubgraphs(graph)) {
    for (const { name } of [...initializer, ...input, ...output, ...node]) names.add(name);
    for (const made of node) for (const name of [...made.input, ...made.output]) names.add(name);
  }
  return names;
}

/** What no name of a graph and its subgraphs begins with: `wanted`, with underscores where it has to have some. */
export function unusedPrefix(graph: GraphProto, wanted: string): string {
  let underscores = 0;
  for (const name of namesOf(graph))
    if (name.startsWith(wanted)) {
      const [own] = /^_*/.exec(name.slice(wanted.length))!;
      underscores = Math.max(underscores, own.length + 1);
    }
  return wanted + '_'.repeat(underscores);
}

/** The values a node takes: its inputs, and what its subgraphs take from outside. */
export function usedBy(node: NodeProto): string[] {
  const names = node.input.filter((name) => name !== '');
  for (const body of subgraphsOf(node)) {
    const own = new Set([
      ...body.input.map((input) => input.name),
      ...body.initializer.map((tensor) => tensor.name),
      ...body.node.flatMap((inner) => inner.output),
    ]);
    const taken = [...body.node.flatMap(usedBy), ...body.output.map((output) => output.name)];
    for (const name of taken) if (!own.has(name)) names.push(name);
  }
  return names;
}
