import { elementCount } from '../../containers/npy/npy-header';
import { describe } from '../../options/messages';
import { batchAxisOf, calibrationError, type ModelInput, type TensorData } from './tensor-checks';

/** As many dimensions as NumPy has. */
const maxRank = 64;

/** A tensor of JSON in the type that the network's input has. */
export interface JsonTensor {
  data: TensorData;
  dims: number[];
  type: string;
}

/**
 * The tensor that a JSON value is: nested arrays, or `{ dims, data }` with all elements in one array, row-major. One dimension fewer
 * than the input has is a single sample. Integers of 64 bits may be strings. Throws ERR_VERTEXQ_CALIBRATION.
 */
export function jsonTensor(value: unknown, input: ModelInput, where: string): JsonTensor {
  const what = `the input ${describe(input.name)}`;
  const fail = (message: string) => calibrationError(where, `${what} ${message}`);
  if (typeof value === 'string' && input.type !== 'string')
    throw fail(
      `should be numbers, not the text ${describe(value)}: text needs a tokenizer (the option "tokenizer", or --tokenizer)`,
    );
  const { dims, elements } =
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? explicit(value, fail)
      : nested(value, fail);
  if (input.dims !== null && dims.length === input.dims.length - 1)
    dims.splice(batchAxisOf(input, input.dims.length) ?? 0, 0, 1);
  return { ...typed(elements, input.type, fail), dims };
}

type Fail = (message: string) => Error;

interface Elements {
  dims: number[];
  elements: unknown[];
}

function explicit(value: object, fail: Fail): Elements {
  const { dims, data } = value as { dims?: unknown; data?: unknown };
  if (!Array.isArray(dims) || !Array.isArray(data))
    throw fail('should be nested arrays of numbers, or an object of "dims" and "data", two arrays');
  const odd = dims.findIndex((dim) => !Number.isSafeInteger(dim) || dim < 0);
  if (odd >= 0 || dims.length > maxRank)
    throw fail(
      `should have "dims" of whole numbers, at most ${maxRank}, not ${odd >= 0 ? describe(dims[odd]) : dims.length}`,
    );
  const count = elementCount(dims as number[]);
  if (count !== data.length)
    throw fail(
      `has the dims [${dims.join(', ')}], so its data should have ${count} elements, not ${data.length}`,
    );
  return { dims: [...(dims as number[])], elements: data };
}

/** Throws where arrays side by side are of different lengths. */
function nested(value: unknown, fail: Fail): Elements {
  const dims: number[] = [];
  let elements: unknown[] = [value];
  // A level at a time: its arrays one behind the other.
  while (elements.length > 0 && Array.isArray(elements[0])) {
    if (dims.length === maxRank) throw fail(`has more than ${maxRank} dimensions`);
    const length = elements[0].length;
    const next: unknown[] = [];
    for (const item of elements) {
      if (!Array.isArray(item))
        throw fail(`is ragged: ${describe(item)} is beside an array, at depth ${dims.length}`);
      if (item.length !== length)
        throw fail(
          `is ragged: at depth ${dims.length} arrays have ${length} and ${item.length} elements. Expected equal lengths`,
        );
      for (const element of item as unknown[]) next.push(element);
    }
    dims.push(length);
    elements = next;
  }
  return { dims, elements };
}

const integers = {
  int8: [Int8Array, -(2 ** 7), 2 ** 7 - 1],
  int16: [Int16Array, -(2 ** 15), 2 ** 15 - 1],
  int32: [Int32Array, -(2 ** 31), 2 ** 31 - 1],
  uint8: [Uint8Array, 0, 2 ** 8 - 1],
  uint16: [Uint16Array, 0, 2 ** 16 - 1],
  uint32: [Uint32Array, 0, 2 ** 32 - 1],
} as const;

const floats = new Set(['float16', 'float32', 'float64']);

function typed(elements: unknown[], type: string, fail: Fail): { data: TensorData; type: string } {
  const wrong = (element: unknown, at: number, expected: string) =>
    fail(
      `should have ${expected}, not ${Array.isArray(element) ? 'an array beside numbers' : describe(element)}, at element ${at}`,
    );
  if (floats.has(type)) {
    // JSON has no NaN; 1e999 is read as infinite.
    const data = Float64Array.from(elements, (element, i) => {
      if (typeof element === 'number' && Number.isFinite(element)) return element;
      throw wrong(element, i, 'finite numbers');
    });
    return { data, type: 'float64' };
  }
  if (type === 'int64' || type === 'uint64') {
    const data = new (type === 'int64' ? BigInt64Array : BigUint64Array)(elements.length);
    for (const [i, element] of elements.entries()) {
      const number = bigOf(element);
      if (number !== undefined) data[i] = number;
      if (number === undefined || data[i] !== number)
        throw wrong(element, i, `whole numbers that fit ${type}, beyond 2^53 as strings`);
    }
    return { data, type };
  }
  if (Object.hasOwn(integers, type)) {
    const [Elements, least, most] = integers[type as keyof typeof integers];
    const data = new Elements(elements.length);
    for (const [i, element] of elements.entries()) {
      if (!Number.isInteger(element) || (element as number) < least || (element as number) > most)
        throw wrong(element, i, `whole numbers from ${least} to ${most}`);
      data[i] = element as number;
    }
    return { data, type };
  }
  if (type === 'bool') {
    const data = Uint8Array.from(elements as number[], (element: unknown, i) => {
      if (typeof element === 'boolean' || element === 0 || element === 1) return Number(element);
      throw wrong(element, i, 'true and false');
    });
    return { data, type };
  }
  if (type !== 'string') throw fail(`is ${type}, which JSON has no numbers for: give it in a .npz file`);
  const odd = elements.findIndex((element) => typeof element !== 'string');
  if (odd >= 0) throw wrong(elements[odd], odd, 'strings');
  return { data: elements as string[], type };
}

function bigOf(element: unknown): bigint | undefined {
  if (typeof element === 'string') return /^-?\d{1,20}$/.test(element) ? BigInt(element) : undefined;
  return Number.isSafeInteger(element) ? BigInt(element as number) : undefined;
}
