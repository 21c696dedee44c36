import { VertexqError } from '../../errors';
import { floatTypes } from '../../containers/onnx/element-types';
import { type Graph, usedBy } from '../../containers/onnx/graph';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';
import { Builder } from './builder';
import { Known } from './known';
import { isFlat, operatorOf, ruleOf } from './registry';
import type { Rule } from './rule';

/** A part of a graph, and what of its derivatives is asked for. */
export interface Part {
  graph: Graph;
  /** The version of its standard operators: at least `leastOpset`. */
  opset: number;
  /** In an order in which they can be run. */
  nodes: readonly NodeProto[];
  /** Values of the part whose cotangents are known. */
  outputs: readonly string[];
  /** Values whose cotangents are asked for: inputs of the part, values made inside, initializers. */
  wanted: readonly string[];
  /** Begins all new names, and no name of the graph. */
  prefix: string;
}

/** The vector–Jacobian product of a part: nodes that take the part's own values besides the cotangents of its outputs. */
export interface Gradient {
  /** They are run after the part's own, in this order. Their operators mean the same in all versions from `leastOpset` on; those for operators of another domain are of that one. */
  nodes: NodeProto[];
  /** Initializers that they take besides. */
  constants: TensorProto[];
  /** By output of the part: the input, of the output's shape and type, that carries its cotangent. Only those that some result depends on. */
  cotangents: ReadonlyMap<string, string>;
  /** By wanted value: the value of the same shape and type that holds its cotangent. No two are the same, and none is an input. Absent where nothing flows back, and where a part of the sum is missing. */
  results: ReadonlyMap<string, string>;
  /** Nodes that cotangents would have to pass and cannot. */
  missing: readonly Missing[];
}

/** A node that no rule is there for. */
export interface Missing {
  /** The node's name, or that of its first output where it has none. */
  node: string;
  operator: string;
  /** What of it no rule is there for, where there is one for others of its kind. */
  reason: string | undefined;
  /** The wanted values that have no result because of it. */
  values: string[];
}

/** Gradients are written in operators of this version and later ones; `raiseOpset` makes a network of it. */
export const leastOpset = 16;

/**
 * What of the derivatives of a part of a network can be computed: for cotangents ȳ of its outputs y, those of values x, x̄ = (∂y/∂x)ᵀȳ, summed
 * over all ways from x to y. Integers, shapes and conditions carry nothing. Throws ERR_VERTEXQ_UNSUPPORTED below `leastOpset`.
 */
export function gradientOf(part: Part): Gradient {
  if (part.opset < leastOpset)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${part.graph.file}: gradients need version ${leastOpset} of ONNX's operators or later, and the network is written in ${part.opset}`,
    );
  return new Sweep(part).run();
}

/** A node, and the values that cotangents flow back to and from. */
interface Step {
  node: NodeProto;
  rule: Rule | undefined;
  reason: string | undefined;
  inputs: readonly string[];
  outputs: readonly string[];
}

class Sweep {
  private readonly known: Known;
  private readonly build: Builder;
  private readonly steps: Step[];
  /** What flows back to a value from each of those that use it. */
  private readonly sums = new Map<string, string[]>();

  constructor(private readonly part: Part) {
    this.known = new Known(part.graph);
    this.build = new Builder(this.known, part.prefix);
    this.steps = part.nodes.flatMap((node) => this.stepsOf(node));
  }

  run(): Gradient {
    const { part, build } = this;
    const floats = part.wanted.filter((name) => floatTypes.has(this.known.typeOf(name)));
    const { missing, blocked } = this.missing(floats);
    const wanted = floats.filter((name) => !blocked.has(name));
    const active = this.active(wanted);
    const cotangents = new Map<string, string>();
    for (const name of new Set(part.outputs)) {
      if (!active.has(name)) continue;
      cotangents.set(name, build.input(name));
      this.sums.set(name, [cotangents.get(name)!]);
    }
    for (const step of [...this.steps].reverse()) this.pull(step, active);
    const results = new Map<string, string>();
    const taken = new Set(cotangents.values());
    for (const name of new Set(wanted)) {
      let held = this.cotangentOf(name);
      if (held === undefined) continue;
      if (taken.has(held)) held = build.copy(held);
      taken.add(held);
      results.set(name, held);
    }
    return { ...build.needed([...results.values()]), cotangents, results, missing };
  }

  /** One step, and others for ways through the node that its rule is not about. */
  private stepsOf(node: NodeProto): Step[] {
    if (isFlat(node)) return [];
    const rule = ruleOf(node);
    const reason = rule?.unfit?.(node, this.known);
    const present = (names: readonly (string | undefined)[]) => names.filter((name) => !!name) as string[];
    if (!rule || reason !== undefined)
      return [{ node, rule: undefined, reason, inputs: usedBy(node), outputs: present(node.output) }];
    const own = rule.inputs(node, this.known);
    // A number that becomes an integer.
    if (own.length === 0) return [];
    const { outputs = [0], flat = [] } = rule;
    const ruled = {
      inputs: present(own.map((i) => node.input[i])),
      outputs: present(outputs === 'all' ? node.output : outputs.map((i) => node.output[i])),
    };
    const isFloat = (name: string) => name !== '' && floatTypes.has(this.known.typeOf(name));
    const others = {
      inputs: node.input.filter((name, i) => isFloat(name) && !own.includes(i) && !flat.includes(i)),
      outputs: node.output.filter((name) => isFloat(name) && !ruled.outputs.includes(name)),
    };
    const without = (
      what: string,
      names: readonly string[],
      step: Pick<Step, 'inputs' | 'outputs'>,
    ): Step[] =>
      names.length === 0
        ? []
        : [
            {
              node,
              rule: undefined,
              reason: `of its ${what} ${names.map((name) => `"${name}"`).join()}`,
              ...step,
            },
          ];
    return [
      { node, rule, reason, ...ruled },
      ...without('inputs', others.inputs, { inputs: others.inputs, outputs: present(node.output) }),
      ...without('outputs', others.outputs, { inputs: ruled.inputs, outputs: others.outputs }),
    ];
  }

  /** Values on the way from `wanted` to the outputs. */
  private active(wanted: readonly string[]): Set<string> {
    const reached = new Set(wanted);
    for (const { inputs, outputs } of this.steps)
      if (inputs.some((name) => reached.has(name))) for (const name of outputs) reached.add(name);
    const active = new Set(this.part.outputs.filter((name) => reached.has(name)));
    for (const { inputs, outputs } of [...this.steps].reverse())
      if (outputs.some((name) => active.has(name)))
        for (const name of inputs) if (reached.has(name)) active.add(name);
    return active;
  }

  /** Steps without a rule on the way from wanted values, and the values that a way through one leads to. */
  private missing(wanted: readonly string[]): { missing: Missing[]; blocked: Set<string> } {
    const active = this.active(wanted);
    const blocked = new Set<string>();
    const missing: Missing[] = [];
    for (const { node, rule, reason, inputs, outputs } of this.steps) {
      if (rule || !outputs.some((name) => active.has(name))) continue;
      const before = this.before(inputs.filter((name) => active.has(name)));
      const values = wanted.filter((name) => before.has(name));
      for (const name of values) blocked.add(name);
      if (values.length > 0)
        missing.push({ node: node.name || node.output[0]!, operator: operatorOf(node), reason, values });
    }
    return { missing, blocked };
  }

  /** All that `names` depend on, with themselves. */
  private before(names: readonly string[]): Set<string> {
    const found = new Set(names);
    for (const { inputs, outputs } of [...this.steps].reverse())
      if (outputs.some((name) => found.has(name))) for (const name of inputs) found.add(name);
    return found;
  }

  private pull({ node, rule, inputs, outputs }: Step, active: ReadonlySet<string>): void {
    const asked = inputs.some((name) => active.has(name));
    if (!rule || !asked || !outputs.some((name) => active.has(name))) return;
    const cotangents = node.output.map((name) =>
      name && outputs.includes(name) ? this.cotangentOf(name) : undefined,
    );
    const first = cotangents.find((name) => name !== undefined);
    if (first === undefined) return;
    const thunks = rule.pull({
      ...{ node, inputs: node.input, outputs: node.output, cotangents, build: this.build },
      cotangent: cotangents[0] ?? '',
    });
    for (const i of rule.inputs(node, this.known)) {
      const name = node.input[i];
      if (!name || !active.has(name)) continue;
      const own = this.sums.get(name) ?? [];
      own.push(thunks[i]!());
      this.sums.set(name, own);
    }
  }

  /** The sum of what flows back to a value. */
  private cotangentOf(name: string): string | undefined {
    const parts = this.sums.get(name);
    if (!parts) return undefined;
    const sum = parts.reduce((left, right) => this.build.add(left, right));
    this.sums.set(name, [sum]);
    return sum;
  }
}
