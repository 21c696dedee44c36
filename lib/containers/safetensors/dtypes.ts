/** Bits of an element. A tensor of another dtype is carried along by its bytes alone. */
const bitsOf = new Map<string, number>([
  ...['F64', 'I64', 'U64', 'C64'].map((name) => [name, 64] as const),
  ...['F32', 'I32', 'U32'].map((name) => [name, 32] as const),
  ...['F16', 'BF16', 'I16', 'U16'].map((name) => [name, 16] as const),
  ...['I8', 'U8', 'BOOL', 'F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ'].map(
    (name) => [name, 8] as const,
  ),
  ...['F6_E2M3', 'F6_E3M2'].map((name) => [name, 6] as const),
  ['F4', 4],
]);

/** The dtypes whose tensors can be quantized, or calibrated with. */
export const floatDtypes = ['F64', 'F32', 'F16', 'BF16'] as const;
export type FloatDtype = (typeof floatDtypes)[number];

export function isFloat(dtype: string): dtype is FloatDtype {
  return (floatDtypes as readonly string[]).includes(dtype);
}

export const floatBytes: Readonly<Record<FloatDtype, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };

/**
 * Bytes of a tensor: undefined for an unknown dtype, and for a part of a byte; Infinity where they are more than can be
 * counted exactly.
 */
export function byteLengthOf(dtype: string, shape: readonly number[]): number | undefined {
  const bits = bitsOf.get(dtype);
  if (bits === undefined) return undefined;
  const bytes = (elementsOf(shape) * bits) / 8;
  return bytes > Number.MAX_SAFE_INTEGER ? Infinity : Number.isInteger(bytes) ? bytes : undefined;
}

export function isKnown(dtype: string): boolean {
  return bitsOf.has(dtype);
}

/** Bytes whose multiples the elements should lie at; 1 for dtypes that are not known. */
export function alignmentOf(dtype: string): number {
  return Math.max(1, Math.floor((bitsOf.get(dtype) ?? 8) / 8));
}

/** Entries of a tensor; Infinity where they are more than can be counted exactly. */
export function elementsOf(shape: readonly number[]): number {
  if (shape.includes(0)) return 0;
  let count = 1;
  for (const dim of shape) {
    count *= dim;
    if (count > Number.MAX_SAFE_INTEGER) return Infinity;
  }
  return count;
}
