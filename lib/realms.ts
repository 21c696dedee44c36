import { types } from 'node:util';
import type { FloatArray } from './types';

// `instanceof` knows the types of one realm alone, and callers come from others: a vm context, as test runners use it.

export function isFloat32Array(value: unknown): value is Float32Array {
  return types.isFloat32Array(value);
}

export function isFloat64Array(value: unknown): value is Float64Array {
  return types.isFloat64Array(value);
}

export function isFloatArray(value: unknown): value is FloatArray {
  return types.isFloat32Array(value) || types.isFloat64Array(value);
}

export function isAbortSignal(value: unknown): value is AbortSignal {
  if (value instanceof AbortSignal) return true;
  if (typeof value !== 'object' || value === null) return false;
  const { aborted, addEventListener, throwIfAborted } = value as Partial<AbortSignal>;
  return (
    typeof aborted === 'boolean' &&
    typeof addEventListener === 'function' &&
    typeof throwIfAborted === 'function'
  );
}

/** Whether a value of JSON is an object, and no list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
