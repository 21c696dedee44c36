import { VertexqError } from '../../errors';
import { floatTypes, typeNameOf } from '../../containers/onnx/element-types';
import type { Constant, Graph } from '../../containers/onnx/graph';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { weightInputs } from './kinds';
import type { Layer, SkippedLayer } from './layer';

export interface FoundLayers {
  /** In an order in which each layer comes after those whose outputs it uses. */
  layers: Layer[];
  /** Weights that are left, with the reason. */
  skipped: SkippedLayer[];
}

/**
 * The layers of a graph, and of those that its nodes hold, that can be quantized: operators that hold weights, with a constant of floats. Throws ERR_VERTEXQ_ONNX at a
 * MatMul or Gemm that lacks an input or its output.
 */
export function findLayers(graph: Graph): FoundLayers {
  const found: FoundLayers = { layers: [], skipped: [] };
  const names = new UniqueNames();
  for (const { node, scope } of graph.placed()) {
    const weights = weightInputs(node);
    if (weights === null) continue;
    requireWhole(node, graph.file);
    // Without an activation there is nothing to fit, and the runtime folds such a product away.
    if (node.opType !== 'Gather' && node.input.slice(0, 2).every((name) => scope.constant(name))) continue;
    for (const { index, suffix = '', describe } of weights) {
      const constant = scope.constant(node.input[index] ?? '');
      if (!constant) continue;
      const name = names.of(`${node.name || node.output.find((output) => output !== '')!}${suffix}`);
      const described = describe(node, constant);
      const reason = unsuitable(constant) ?? ('reason' in described ? described.reason : undefined);
      if (reason !== undefined) found.skipped.push({ name, reason, choice: false, tensor: constant.tensor });
      else if (!('reason' in described))
        found.layers.push({ name, kind: node.opType, node, scope, constant, ...described });
    }
  }
  return found;
}

function requireWhole(node: NodeProto, file: string): void {
  if (node.input[0] && node.input[1] && node.output.some((name) => name !== '')) return;
  throw new VertexqError(
    'ERR_VERTEXQ_ONNX',
    `${file}: node "${node.name}" (${node.opType}) should have two inputs and an output, and has [${node.input.join(', ')}] and [${node.output.join(', ')}]`,
  );
}

/** Names that are taken, each with how many have been made of it: very many nodes may have one. */
class UniqueNames {
  private readonly taken = new Map<string, number>();

  of(base: string): string {
    let count = this.taken.get(base);
    if (count === undefined) {
      this.taken.set(base, 1);
      return base;
    }
    let name: string;
    do name = `${base}#${++count}`;
    while (this.taken.has(name));
    this.taken.set(base, count);
    this.taken.set(name, 1);
    return name;
  }
}

function unsuitable({ tensor, dims, dataType }: Constant): string | undefined {
  for (const type of [tensor.dataType, dataType])
    if (!floatTypes.has(type)) return `its weight is ${typeNameOf(type)}, not of floating-point numbers`;
  return dims.includes(0) ? 'its weight is empty' : undefined;
}
