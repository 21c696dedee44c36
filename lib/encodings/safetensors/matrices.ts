import { elementsOf } from '../../containers/safetensors/dtypes';
import type { TensorEntry } from '../../containers/tensor-file';
import { splitName } from './tensor-names';

/** A weight matrix, and where a file has its numbers. */
export interface Matrix {
  /** The weight's name; of an expert's in a tensor of several, what it would be called by itself. */
  name: string;
  dtype: string;
  /** [outFeatures, inFeatures]. */
  shape: readonly [number, number];
  /** Of its first number, in the file. */
  position: number;
  /** 0: neuron by neuron, [outFeatures, inFeatures]. Else input by input, which are so many numbers apart. */
  stride: number;
}

/** Bytes of a file. */
export interface Range {
  position: number;
  length: number;
}

/** A tensor of two dimensions as one; `transposed`: it is [inFeatures, outFeatures]. */
export function matrixOf(name: string, { dtype, shape, position }: TensorEntry, transposed: boolean): Matrix {
  const [rows, cols] = shape as [number, number];
  return transposed
    ? { name, dtype, shape: [cols, rows], position, stride: cols }
    : { name, dtype, shape: [rows, cols], position, stride: 0 };
}

/** What a matrix fills of its file, or of another in which it begins at `from`: in order, [inFeatures, outFeatures] where it has a stride. */
export function rangesOf(
  { shape: [rows, cols], stride }: Pick<Matrix, 'shape' | 'stride'>,
  from: number,
  bytes: number,
): Range[] {
  if (stride === 0 || stride === rows) return [{ position: from, length: rows * cols * bytes }];
  return Array.from({ length: cols }, (_, i) => ({
    position: from + i * stride * bytes,
    length: rows * bytes,
  }));
}

/** What the parts of an expert are called: its gate, up and down. */
const usual = ['gate_proj', 'up_proj', 'down_proj'] as const;
const ofMixtral = ['w1', 'w3', 'w2'] as const;

/**
 * The matrices in a tensor of all experts of a block, as they lie there: `gate_up_proj` [experts, 2 · inter, hidden], gates before ups, and
 * `down_proj` [experts, hidden, inter], or both with the last two dimensions exchanged. undefined of other tensors.
 */
export function expertMatrices(
  name: string,
  { dtype, shape, position, byteLength }: TensorEntry,
  entryOf: (name: string) => TensorEntry | undefined,
): Matrix[] | undefined {
  const [parent, own] = splitName(name);
  const isDown = own === 'down_proj';
  if (shape.length !== 3 || !/(^|\.)experts\.$/.test(parent) || !(isDown || own === 'gate_up_proj'))
    return undefined;
  const [both, down] = [entryOf(`${parent}gate_up_proj`)?.shape, entryOf(`${parent}down_proj`)?.shape];
  // There gates and ups take turns.
  if (both?.length !== 3 || down?.length !== 3 || entryOf(`${parent}gate_up_proj_bias`)) return undefined;
  const [count, first, second] = both as [number, number, number];
  const byNeurons = first === 2 * down[2]! && second === down[1];
  const byInputs = first === down[2] && second === 2 * down[1]!;
  if (count !== down[0] || !(byNeurons || byInputs)) return undefined;
  const [gate, up, out] = parent.endsWith('block_sparse_moe.experts.') ? ofMixtral : usual;
  const parts = isDown ? [out] : [gate, up];
  const [, rows, cols] = shape as [number, number, number];
  const size: readonly [number, number] = byNeurons
    ? [rows / parts.length, cols]
    : [cols / parts.length, rows];
  const number = byteLength / elementsOf(shape);
  return Array.from({ length: count }, (_, expert) =>
    parts.map((part, i) => ({
      name: `${parent}${expert}.${part}.weight`,
      ...{ dtype, shape: size, stride: byNeurons ? 0 : cols },
      position: position + number * (expert * rows * cols + i * size[0] * (byNeurons ? size[1] : 1)),
    })),
  ).flat();
}
