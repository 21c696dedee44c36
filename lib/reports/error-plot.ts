import type { ComparedRun, Comparison } from '../compare/types';
import { lookOfMethod, type Shape } from './colors';
import { formatBytes } from './units';

/** The error that says most of what a comparison has, and what it is called. */
export function errorOf({ runs }: Comparison): { title: string; of: (run: ComparedRun) => number | null } {
  const all = (of: (run: ComparedRun) => number | null | undefined) =>
    runs.every((run) => typeof of(run) === 'number');
  if (all(({ output }) => output?.error))
    return { title: 'output error on held-out samples', of: ({ output }) => output?.error ?? null };
  for (const [of, title] of [
    ['againstFloat', 'error against float'],
    ['own', "layers' own error"],
  ] as const)
    for (const [rows, where] of [
      ['holdout', 'held-out'],
      ['calibration', 'calibration'],
    ] as const)
      if (all(({ error }) => error[of]?.[rows]))
        return { title: `${title} on ${where} samples`, of: ({ error }) => error[of]?.[rows] ?? null };
  return { title: 'error of the weights', of: ({ layers }) => layers[0]?.error.weight ?? null };
}

const size = { width: 640, height: 400 };
const frame = { left: 76, right: 500, top: 64, bottom: 330 };
/** Between two names, in pixels. */
const lineHeight = 16;

const marks: Record<Shape, (x: number, y: number) => string> = {
  circle: (x, y) => `<circle cx="${n(x)}" cy="${n(y)}" r="4"/>`,
  square: (x, y) => `<rect x="${n(x - 3.5)}" y="${n(y - 3.5)}" width="7" height="7"/>`,
  triangle: (x, y) => `<path d="M${n(x)} ${n(y - 5)}l4.5 8h-9z"/>`,
  diamond: (x, y) => `<path d="M${n(x)} ${n(y - 5)}l5 5l-5 5l-5 -5z"/>`,
  'triangle-down': (x, y) => `<path d="M${n(x)} ${n(y + 5)}l4.5 -8h-9z"/>`,
};

/**
 * A comparison as an SVG image: error over the size of the weights, a line for each method, named at its end, the error in powers of ten. An error of 0
 * has no place there, and is left out.
 */
export function errorPlot(comparison: Comparison): string {
  const { of, title } = errorOf(comparison);
  const lines = comparison.methods.map((method) => ({
    method,
    points: comparison.runs
      .filter((run) => run.method === method)
      .map((run) => ({ bits: run.bits, bytes: run.bytes.after, error: of(run) ?? 0 }))
      .filter(({ error }) => error > 0 && error < Infinity)
      .sort((a, b) => a.bytes - b.bytes || a.bits - b.bits),
  }));
  const errors = lines.flatMap(({ points }) => points.map(({ error }) => error));
  const ticks = ticksFor(errors);
  const [low, high] = [Math.log10(ticks[0]!), Math.log10(ticks.at(-1)!)];
  const sizes = new Map<number, Set<number>>();
  for (const { bytes, bits } of comparison.runs) {
    const own = sizes.get(bytes.after) ?? new Set<number>();
    sizes.set(bytes.after, own.add(bits));
  }
  const [smallest, largest] = [Math.min(...sizes.keys()), Math.max(...sizes.keys())];
  const x = (bytes: number) =>
    smallest === largest
      ? (frame.left + frame.right) / 2
      : frame.left + 32 + ((bytes - smallest) / (largest - smallest)) * (frame.right - frame.left - 64);
  const y = (error: number) =>
    frame.bottom - ((Math.log10(error) - low) / (high - low)) * (frame.bottom - frame.top);

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="24" font-size="14" font-weight="bold">${escaped(shortName(comparison.input))}: ${title}</text>`,
    `<text x="12" y="42" fill="#57606a">lower is better</text>`,
    ...ticks.map(
      (tick) =>
        `<path d="M${frame.left} ${n(y(tick))}H${frame.right}" stroke="#ddd"/>` +
        `<text x="${frame.left - 8}" y="${n(y(tick) + 4)}" text-anchor="end">${percentOf(tick)}</text>`,
    ),
    ...[...sizes].map(
      ([bytes, bits]) =>
        `<text x="${n(x(bytes))}" y="${frame.bottom + 20}" text-anchor="middle">${formatBytes(bytes)}</text>` +
        `<text x="${n(x(bytes))}" y="${frame.bottom + 35}" text-anchor="middle" fill="#57606a">${[...bits].sort((a, b) => a - b).join(', ')} bits</text>` +
        `<path d="M${n(x(bytes))} ${frame.bottom}v5" stroke="#000"/>`,
    ),
    `<text x="${(frame.left + frame.right) / 2}" y="${frame.bottom + 58}" text-anchor="middle">size of the quantized weights</text>`,
    `<path d="M${frame.left} ${frame.top}V${frame.bottom}H${frame.right}" fill="none" stroke="#000"/>`,
  ];
  for (const { method, points } of lines) {
    const { color, shape } = lookOfMethod(method);
    const path = points.map(({ bytes, error }, k) => `${k === 0 ? 'M' : 'L'}${n(x(bytes))} ${n(y(error))}`);
    parts.push(
      `<g fill="${color}">`,
      `<path d="${path.join('')}" fill="none" stroke="${color}" stroke-width="1.5"/>`,
      ...points.map(({ bytes, error }) => marks[shape](x(bytes), y(error))),
      `</g>`,
    );
  }
  const ends = lines
    .flatMap(({ method, points }) => (points.length === 0 ? [] : [{ method, end: points.at(-1)! }]))
    .map(({ method, end }) => ({ method, x: x(end.bytes) + 10, y: y(end.error) + 4 }))
    .sort((a, b) => a.y - b.y);
  for (const [i, label] of ends.entries())
    if (i > 0) label.y = Math.max(label.y, ends[i - 1]!.y + lineHeight);
  // What would lie on the axis is moved up again.
  for (const [i, label] of ends.reverse().entries()) {
    label.y = Math.min(label.y, frame.bottom - 2 - i * lineHeight);
    parts.push(
      `<text x="${n(label.x)}" y="${n(label.y)}" fill="${lookOfMethod(label.method).color}">${escaped(label.method)}</text>`,
    );
  }
  return `${[...parts, '</svg>'].join('\n')}\n`;
}

/** Of round numbers, without digits that say nothing. */
const percentOf = (ratio: number) => `${Number((100 * ratio).toPrecision(3))} %`;

/** 1, 2 and 5 times powers of ten, from below the least error to above the largest. */
function ticksFor(errors: readonly number[]): number[] {
  const [least, most] = errors.length > 0 ? [Math.min(...errors), Math.max(...errors)] : [0.01, 1];
  const steps: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++)
    for (const digit of [1, 2, 5]) steps.push(Number(`${digit}e${power}`));
  const first = steps.findLastIndex((step) => step <= least * (1 + 1e-9));
  const last = steps.findIndex((step) => step >= most * (1 - 1e-9));
  const within = steps.slice(Math.max(0, first), Math.max(last, first + 1) + 1);
  // Errors of many powers of ten: only the powers.
  return within.length <= 12
    ? within
    : within.filter((_, i) => i === 0 || i === within.length - 1 || steps.indexOf(within[i]!) % 3 === 0);
}

/** Coordinates to a tenth of a pixel. */
function n(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function shortName(input: string): string {
  const name = input.split(/[\\/]/).at(-1)!;
  return name.length > 40 ? `${name.slice(0, 39)}…` : name;
}

function escaped(text: string): string {
  const safe: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  // XML has no control characters, not even escaped.
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x1f\x7f]/g, '�').replace(/[&<>"]/g, (character) => safe[character]!);
}
