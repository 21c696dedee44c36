import type { CheckedTensor } from './tensor-checks';

const constructors = { int32: Int32Array, float32: Float32Array, float64: Float64Array } as const;

/** The types that token ids, masks and positions come in. */
export function isTokenType(type: string): boolean {
  return type === 'int64' || Object.hasOwn(constructors, type);
}

/** A tensor of small whole numbers in the type that the network wants, which `isTokenType` has passed. */
export function integerTensor(
  type: string,
  values: ArrayLike<number>,
  dims: readonly number[],
): CheckedTensor {
  if (type === 'int64')
    return { data: BigInt64Array.from({ length: values.length }, (_, i) => BigInt(values[i]!)), dims, type };
  const Elements = constructors[type as keyof typeof constructors];
  return { data: Elements.from(values), dims, type };
}
