import { withSubgraphs } from './nodes';
import type { ModelProto } from './onnx_pb';

/** The version of the standard operators that a model is written in; 1 where it does not say. */
export function opsetOf(model: ModelProto): number {
  return Math.max(
    1,
    ...model.opsetImport
      .filter(({ domain }) => domain === '' || domain === 'ai.onnx')
      .map(({ version }) => Number(version)),
  );
}

/** Raises a model's format version, where an operator or type needs that. */
export function raiseIrVersion(model: ModelProto, least: number): void {
  // Before version 4, initializers listed as inputs are constants, and would no longer be.
  if (model.irVersion >= 4n && model.irVersion < BigInt(least)) model.irVersion = BigInt(least);
}

/**
 * Before version 4 of the format every initializer is an input too, and a constant none the less. What is new here would have to be one as
 * well: rather the version is raised, and the inputs that are none go.
 */
export function settleInitializers(model: ModelProto): void {
  if (model.irVersion >= 4n) return;
  for (const graph of withSubgraphs(model.graph!)) {
    const constants = new Set(graph.initializer.map(({ name }) => name));
    graph.input = graph.input.filter(({ name }) => !constants.has(name));
  }
  model.irVersion = 4n;
}
