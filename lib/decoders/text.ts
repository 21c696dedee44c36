import { valueInfo } from '../containers/onnx/make';
import { TensorProto_DataType as DataType, type ValueInfoProto } from '../containers/onnx/onnx_pb';
import type { Operations } from './operations';
import type { DecoderShape } from './shape';

/** How a network is given its tokens: what of it depends on whether there are others before them. */
export interface Text {
  inputs: ValueInfoProto[];
  /** Besides the logits, once all blocks are made. */
  outputs: ValueInfoProto[];
  /** What [batch, sequence] is called in inputs and outputs. */
  dims: [batch: string, sequence: string];
  /** [1], int64: how many tokens are given; how many are seen. */
  sequence: string;
  total: string;
  /** [sequence] or [batch, sequence], int64: the place of each token in its text. */
  positions: string;
  /** [sequence, total] or [batch, 1, 1, sequence, total]: whether the token of a row sees that of a column, which may be one of the last `window`. */
  visible(window: number | null, path: string): string;
  /** The next block's keys and values, [batch, keyValueHeads, sequence, headSize], behind those of the tokens before. */
  withPast(key: string, value: string): readonly [key: string, value: string];
}

/** Whole texts without padding. */
export function wholeText(operations: Operations): Text {
  const sequence = operations.add('Shape', 'sequence', ['input_ids'], { start: 1n, end: 2n });
  const places = range(operations, 'places', operations.integer(0), scalar(operations, sequence));
  const dims: Text['dims'] = ['batch', 'sequence'];
  return {
    inputs: [valueInfo('input_ids', DataType.INT64, dims)],
    ...{ outputs: [], dims, sequence, total: sequence, positions: places },
    visible: (window, path) => causal(operations, places, places, window, `${path}attention/visible`).visible,
    withPast: (key, value) => [key, value],
  };
}

/**
 * Texts that begin in a cache, padded at the left or not, with inputs and outputs as transformers.js names them: `attention_mask` is of all
 * tokens, `position_ids` of those that are given.
 */
export function cachedText(operations: Operations, shape: DecoderShape): Text {
  const dims: Text['dims'] = ['batch_size', 'sequence_length'];
  const cacheOf = (tokens: string) => [dims[0], shape.keyValueHeads, tokens, shape.headSize];
  const names = shape.blocks.flatMap((_, block) => ['key', 'value'].map((what) => `${block}.${what}`));
  const sequence = operations.add('Shape', 'sequence', ['input_ids'], { start: 1n, end: 2n });
  const total = operations.add('Shape', 'total', ['attention_mask'], { start: 1n, end: 2n });
  const all = scalar(operations, total);
  const past = operations.add('Sub', 'past', [all, scalar(operations, sequence)]);
  const rows = range(operations, 'places', past, all);
  const columns = range(operations, 'places/all', operations.integer(0), all);
  const known = operations.add('Unsqueeze', 'mask/known', [
    operations.add('Cast', 'mask', ['attention_mask'], { to: BigInt(DataType.BOOL) }),
    operations.integers([1, 2, 3]),
  ]);
  const made = new Map<number | null, string>();
  const visible = (window: number | null) => {
    const name = `visible/${window ?? 'all'}`;
    const inOrder = causal(operations, rows, columns, window, name);
    // Padding sees itself: a row of nothing but -∞ has no shares.
    const itself = operations.add('Equal', `${name}/itself`, [inOrder.columns, inOrder.rows]);
    const some = operations.add('Or', `${name}/known`, [known, itself]);
    return operations.add('And', `${name}/seen`, [inOrder.visible, some]);
  };
  let block = 0;
  return {
    inputs: [
      valueInfo('input_ids', DataType.INT64, dims),
      valueInfo('attention_mask', DataType.INT64, [dims[0], 'total_sequence_length']),
      valueInfo('position_ids', DataType.INT64, dims),
      ...names.map((name) =>
        valueInfo(`past_key_values.${name}`, DataType.FLOAT, cacheOf('past_sequence_length')),
      ),
    ],
    outputs: names.map((name) =>
      valueInfo(`present.${name}`, DataType.FLOAT, cacheOf('total_sequence_length')),
    ),
    ...{ dims, sequence, total, positions: 'position_ids' },
    visible(window) {
      if (!made.has(window)) made.set(window, visible(window));
      return made.get(window)!;
    },
    withPast(...values) {
      const [key, value] = (['key', 'value'] as const).map((what, i) =>
        operations.add(
          'Concat',
          `present.${block}.${what}`,
          [`past_key_values.${block}.${what}`, values[i]!],
          { axis: 2n },
        ),
      );
      block++;
      return [key!, value!];
    },
  };
}

const scalar = (operations: Operations, length: string) =>
  operations.add('Squeeze', `${length}/length`, [length]);

const range = (operations: Operations, name: string, begin: string, end: string) =>
  operations.add('Range', name, [begin, end, operations.integer(1)]);

/** Whether the tokens at `rows` see those at `columns`, which come before or are near enough. */
function causal(
  operations: Operations,
  rowPlaces: string,
  columnPlaces: string,
  window: number | null,
  name: string,
) {
  const at = (what: string) => `${name}/${what}`;
  const rows = operations.add('Unsqueeze', at('rows'), [rowPlaces, operations.integers([1])]);
  const columns = operations.add('Unsqueeze', at('columns'), [columnPlaces, operations.integers([0])]);
  const before = operations.add('LessOrEqual', at('before'), [columns, rows]);
  if (window === null) return { rows, columns, visible: before };
  const since = operations.add('Sub', at('since'), [rows, operations.integer(window)]);
  const near = operations.add('Greater', at('near'), [columns, since]);
  return { rows, columns, visible: operations.add('And', at('both'), [before, near]) };
}
