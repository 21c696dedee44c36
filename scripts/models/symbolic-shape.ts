/**
 * Shapes whose dimensions may be unknown until the model runs.
 *
 * A dimension is a number, a symbol such as `batch`, or a product such as `4*batch*tokens`, written with the
 * number first and the symbols in alphabetical order, so that equal dimensions are equal strings.
 */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** The number and the symbols whose product a dimension is. */
function factors(dim: Dim): { number: number; symbols: string[] } {
  if (typeof dim === 'number') return { number: dim, symbols: [] };
  const parts = dim.split('*');
  const number = Number(parts[0]);
  return Number.isNaN(number) ? { number: 1, symbols: parts } : { number, symbols: parts.slice(1) };
}

function join(number: number, symbols: string[]): Dim {
  if (symbols.length === 0 || number === 0) return number;
  return [...(number === 1 ? [] : [number]), ...symbols.sort()].join('*');
}

/** The product of the dimensions: the number of elements of a shape. */
export function product(dims: Shape): Dim {
  const all = dims.map(factors);
  return join(
    all.reduce((n, f) => n * f.number, 1),
    all.flatMap((f) => f.symbols),
  );
}

/** `dividend / divisor`. Throws a RangeError when the quotient is not a whole product. */
export function quotient(dividend: Dim, divisor: Dim): Dim {
  const over = factors(dividend);
  const under = factors(divisor);
  const number = over.number / under.number;
  for (const symbol of under.symbols) {
    const at = over.symbols.indexOf(symbol);
    if (at < 0) throw new RangeError(`${divisor} does not divide ${dividend}`);
    over.symbols.splice(at, 1);
  }
  if (!Number.isInteger(number)) throw new RangeError(`${divisor} does not divide ${dividend}`);
  return join(number, over.symbols);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** Whether `shape` ends with the dimensions of `tail`. */
export function endsWith(shape: Shape, tail: Shape): boolean {
  return tail.length <= shape.length && sameShape(shape.slice(shape.length - tail.length), tail);
}

/** The shape of an elementwise result. Throws a RangeError when the operands do not broadcast. */
export function broadcastShape(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x !== y && x !== 1 && y !== 1) throw new RangeError(`[${a}] and [${b}] do not broadcast`);
    return x === 1 ? y : x;
  });
}

/** `target` with its -1, if it has one, replaced by the dimension that keeps the number of elements. */
export function resolveShape(from: Shape, target: Shape): Shape {
  const unknown = target.indexOf(-1);
  if (unknown < 0) return target;
  const known = product(target.filter((_, i) => i !== unknown));
  return target.with(unknown, quotient(product(from), known));
}

/** `shape` without its unit dimensions. */
export function withoutUnits(shape: Shape): Shape {
  return shape.filter((dim) => dim !== 1);
}
