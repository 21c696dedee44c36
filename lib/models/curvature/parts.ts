import { type GraphStage, stagesOf } from '../forward/stages';
import type { Layer } from '../layers/layer';
import type { Graph } from '../../containers/onnx/graph';

/** Stages of a network without cuts of its own that are gone back through at once: all values between them are there then. */
const stagesAtOnce = 8;

/**
 * Cuts a network, as far as the values `asked` depend on it, into parts that are run forward and back at once: at the values `ends` (of blocks), or
 * between so many layers.
 */
export function partsOf(
  graph: Graph,
  layers: readonly Layer[],
  ends: readonly string[],
  asked: readonly string[],
): GraphStage[] {
  const own = stagesOf(graph, layers).filter(({ ofAll }) => !ofAll);
  const cuts =
    ends.length > 0
      ? ends
      : own.map(({ target }) => target).filter((_, i) => i > 0 && i % stagesAtOnce === 0);
  const last = new Set(asked);
  return stagesOf(graph, [], [...cuts.filter((name) => !last.has(name)), ...last]);
}
