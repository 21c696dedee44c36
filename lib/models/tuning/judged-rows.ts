import type { Workspace } from '../../runs/workspace';
import type { RowWeights } from '../../traversal/row-weights';
import type { TensorLike } from '../../types';
import type { ForwardBlock } from '../forward/model-forward';
import { loadStage } from '../forward/stage-network';
import { ValueStore } from '../forward/value-store';
import type { ModelLayer } from '../layers/model-layers';
import { type JudgedRows, type Rows, typesOf } from './block-network';

/** Added to squares of rows, as a part of their mean: a row of next to nothing counts for no more than others. */
const floor = 1e-4;

/**
 * What a block gives in the float network, and how much each of its rows counts: as the weights of its last layer's rows say, and without these one through its own square, as what comes
 * behind a block norms its rows. Keeps the float values in memory up to `memory` bytes, and more in files. `end` forgets them.
 */
export async function judgedRows(
  block: ForwardBlock,
  last: ModelLayer,
  weights: RowWeights<ModelLayer> | null,
  names: { target: string; rows: string },
  workspace: Workspace,
  memory: number,
  signal: AbortSignal | undefined,
): Promise<JudgedRows & { end(): Promise<void> }> {
  const { opened, stage, batches } = block;
  const { target } = stage;
  const store = new ValueStore(workspace, memory, 'targets');
  const network = await loadStage(
    {
      ...opened,
      ...{ nodes: stage.nodes, inputs: typesOf(await block.inputs(0, 'float')), outputs: [target] },
      substitutes: new Map<never, never>(),
    },
    `the float block that ends with "${target}"`,
  );
  const squares: Float64Array[] = [];
  try {
    for (const batch of batches.keys()) {
      signal?.throwIfAborted();
      const { [target]: value } = await network.run(await block.inputs(batch, 'float'), [target]);
      await store.put('float', target, batch, value!);
      squares.push(squaresOf(value!));
    }
  } finally {
    await network.release();
  }
  const total = squares.reduce((sum, own) => sum + own.reduce((part, square) => part + square, 0), 0);
  const mean =
    total /
    Math.max(
      1,
      squares.reduce((sum, { length }) => sum + length, 0),
    );
  const counts: Float32Array[] = [];
  const sizes: Record<Rows, number> = { fit: 0, heldOut: 0 };
  for (const [batch, own] of squares.entries()) {
    const given = weights?.reasonOf(last) === null ? await weights.of(last, batch) : null;
    const count = given ?? Float32Array.from(own, (square) => 1 / (square + floor * mean));
    counts.push(count);
    const kind = batches[batch]!.heldOut ? 'heldOut' : 'fit';
    for (const [row, square] of own.entries()) sizes[kind] += count[row]! * square;
  }
  return {
    sizes,
    of: async (batch) => {
      const value = await store.get('float', target, batch);
      const dims = [...value.dims.slice(0, -1), 1];
      return { [names.target]: value, [names.rows]: { data: counts[batch]!, dims, type: 'float32' } };
    },
    end: () => store.drop(target),
  };
}

/** Of each row along the last axis. */
function squaresOf({ data, dims }: TensorLike): Float64Array {
  const size = dims.at(-1)!;
  const values = data as Float32Array;
  const squares = new Float64Array(values.length / size);
  for (let row = 0; row < squares.length; row++) {
    let sum = 0;
    for (const value of values.subarray(row * size, (row + 1) * size)) sum += value * value;
    squares[row] = sum;
  }
  return squares;
}
