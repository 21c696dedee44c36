import { packIntegers, permuted } from '../../native/tensors';
import { type Codes, integerForm, type Width } from './integer-codes';

/** How the elements of a layer's weight are ordered. */
export type Order =
  /** [outFeatures, inFeatures]. */
  | { kind: 'neuron-major' }
  /** [groups, inFeatures, outFeatures / groups]: as many groups of neurons, one behind the other. */
  | { kind: 'input-major'; groups: number }
  /** [outFeatures · ⌈inFeatures / groupSize⌉, groupSize]: a row for each scale; what fills the last row of a neuron stands for 0. */
  | { kind: 'scale-major' };

/** A weight as ONNX integers: weight = (integer − zero point)·scale. */
export interface IntegerTensor {
  /** Of a signed type. */
  bits: Width;
  /** In the order asked for; several to a byte, the first lowest. */
  integers: Uint8Array;
  /** [outFeatures, groups], in the same order with the groups of inputs in place of inputs; one a row where `scale-major`. */
  scales: Float32Array;
  /** As the scales, of the type of the integers; null where all are 0. */
  zeroPoints: Uint8Array | null;
}

/** Brings a layer into integers of one of `widths`. Rejects with ERR_VERTEXQ_FORMAT where none holds its alphabet; with the signal's reason. */
export async function integerTensor(
  layer: Codes,
  widths: readonly Width[],
  order: Order,
  signal?: AbortSignal,
): Promise<IntegerTensor> {
  const { outFeatures, inFeatures, groupSize } = layer;
  const { bits, doubled, ...form } = integerForm(layer, widths);
  const groups = Math.ceil(inFeatures / groupSize);
  const zeros = form.zeroPoints?.some((zero) => zero !== 0) ? Int8Array.from(form.zeroPoints) : null;
  // [outFeatures, columns] as [groups, columns, outFeatures / groups].
  const arranged = <Values extends Int8Array | Float32Array>(values: Values, columns: number) =>
    order.kind === 'input-major'
      ? permuted(values, [order.groups, outFeatures / order.groups, columns], [0, 2, 1], signal)
      : values;
  const whole = order.kind === 'scale-major' ? groups * groupSize : inFeatures;
  // What fills a neuron's last group stands for 0.
  const fill =
    zeros && whole > inFeatures
      ? Int8Array.from({ length: outFeatures }, (_, n) => zeros[(n + 1) * groups - 1]!)
      : null;
  const rows = [outFeatures, inFeatures] as const;
  const codes = await arranged(layer.codes, inFeatures);
  return {
    bits,
    integers: await packIntegers(codes, rows, { bits, doubled, rowLength: whole, fill }, signal),
    scales: await arranged(form.scales, groups),
    zeroPoints:
      zeros &&
      (await packIntegers(
        await arranged(zeros, groups),
        [outFeatures, groups],
        { bits, doubled: false },
        signal,
      )),
  };
}
