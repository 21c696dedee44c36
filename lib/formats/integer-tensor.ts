import { type Codes, integerForm, putBits, type Width } from './integer-codes';

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

/** Brings a layer into integers of one of `widths`. Throws ERR_VERTEXQ_FORMAT where none holds its alphabet. */
export function integerTensor(layer: Codes, widths: readonly Width[], order: Order): IntegerTensor {
  const { outFeatures, inFeatures, groupSize } = layer;
  const form = integerForm(layer, widths);
  const groups = Math.ceil(inFeatures / groupSize);
  const integers = layer.codes.map(form.integerOf);
  // Integers of few bits always have the same sign as in the 8 bits they are kept in here.
  const zeros = form.zeroPoints?.some((zero) => zero !== 0) ? Int8Array.from(form.zeroPoints) : null;
  const arrange = <Values extends Int8Array | Float32Array>(values: Values, columns: number): Values =>
    order.kind === 'input-major' ? inputMajor(values, outFeatures, columns, order.groups) : values;
  return {
    bits: form.bits,
    integers: packed(
      order.kind === 'scale-major' ? padded(integers, zeros, layer, groups) : arrange(integers, inFeatures),
      form.bits,
    ),
    scales: arrange(form.scales, groups),
    zeroPoints: zeros && packed(arrange(zeros, groups), form.bits),
  };
}

/** Values [rows, columns] as [groups, columns, rows / groups]; the same array where that changes nothing. */
export function inputMajor<Values extends Int8Array | Float32Array | Float64Array>(
  values: Values,
  rows: number,
  columns: number,
  groups: number,
): Values {
  const width = rows / groups;
  if (width === 1 || columns === 1) return values;
  const result = values.slice() as Values;
  for (let g = 0; g < groups; g++)
    for (let n = 0; n < width; n++)
      for (let k = 0; k < columns; k++)
        result[(g * columns + k) * width + n] = values[(g * width + n) * columns + k]!;
  return result;
}

/** Each neuron's integers, filled up to whole groups with what stands for 0. */
function padded(integers: Int8Array, zeros: Int8Array | null, layer: Codes, groups: number): Int8Array {
  const { outFeatures, inFeatures, groupSize } = layer;
  if (groups * groupSize === inFeatures) return integers;
  const result = new Int8Array(outFeatures * groups * groupSize);
  for (let n = 0; n < outFeatures; n++) {
    const end = (n + 1) * groups * groupSize;
    result.set(integers.subarray(n * inFeatures, (n + 1) * inFeatures), n * groups * groupSize);
    if (zeros) result.fill(zeros[(n + 1) * groups - 1]!, end - groups * groupSize + inFeatures, end);
  }
  return result;
}

function packed(values: Int8Array, bits: Width): Uint8Array {
  if (bits === 8) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const result = new Uint8Array(Math.ceil((values.length * bits) / 8));
  const mask = 2 ** bits - 1;
  for (let i = 0; i < values.length; i++) putBits(result, 0, i * bits, values[i]! & mask);
  return result;
}
