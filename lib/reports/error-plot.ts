import type { ComparedRun, Comparison } from '../compare/types';
import { formatPercent } from './units';

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
const frame = { left: 76, right: 500, top: 48, bottom: 344 };
/** Okabe and Ito's, told apart with any colour vision; the shapes tell them apart in print. */
const colors = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#000000'];
const shapes = [
  (x: number, y: number) => `<circle cx="${n(x)}" cy="${n(y)}" r="4"/>`,
  (x: number, y: number) => `<rect x="${n(x - 3.5)}" y="${n(y - 3.5)}" width="7" height="7"/>`,
  (x: number, y: number) => `<path d="M${n(x)} ${n(y - 5)}l4.5 8h-9z"/>`,
  (x: number, y: number) => `<path d="M${n(x)} ${n(y - 5)}l5 5l-5 5l-5 -5z"/>`,
  (x: number, y: number) => `<path d="M${n(x)} ${n(y + 5)}l4.5 -8h-9z"/>`,
];

/**
 * A comparison as an SVG image: error over bits, both axes' values named, a line for each method, the error in powers of ten. An error
 * of 0 has no place there, and is left out.
 */
export function errorPlot(comparison: Comparison): string {
  const { of, title } = errorOf(comparison);
  const lines = comparison.methods.map((method) => ({
    method,
    points: comparison.runs
      .filter((run) => run.method === method)
      .map((run) => ({ bits: run.bits, error: of(run) ?? 0 }))
      .filter(({ error }) => error > 0 && error < Infinity)
      .sort((a, b) => a.bits - b.bits),
  }));
  const errors = lines.flatMap(({ points }) => points.map(({ error }) => error));
  const ticks = ticksFor(errors);
  const [low, high] = [Math.log10(ticks[0]!), Math.log10(ticks.at(-1)!)];
  const widths = [...comparison.bits].sort((a, b) => a - b);
  const [fewest, most] = [widths[0]!, widths.at(-1)!];
  const x = (bits: number) =>
    fewest === most
      ? (frame.left + frame.right) / 2
      : frame.left + 16 + ((bits - fewest) / (most - fewest)) * (frame.right - frame.left - 32);
  const y = (error: number) =>
    frame.bottom - ((Math.log10(error) - low) / (high - low)) * (frame.bottom - frame.top);

  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="${frame.left}" y="24" font-size="14">${escaped(shortName(comparison.input))}: ${title}</text>`,
    ...ticks.map(
      (tick) =>
        `<path d="M${frame.left} ${n(y(tick))}H${frame.right}" stroke="#ddd"/>` +
        `<text x="${frame.left - 8}" y="${n(y(tick) + 4)}" text-anchor="end">${formatPercent(tick)}</text>`,
    ),
    ...widths.map(
      (bits) =>
        `<text x="${n(x(bits))}" y="${frame.bottom + 20}" text-anchor="middle">${bits}</text>` +
        `<path d="M${n(x(bits))} ${frame.bottom}v5" stroke="#000"/>`,
    ),
    `<text x="${(frame.left + frame.right) / 2}" y="${frame.bottom + 42}" text-anchor="middle">bits per weight</text>`,
    `<path d="M${frame.left} ${frame.top}V${frame.bottom}H${frame.right}" fill="none" stroke="#000"/>`,
  ];
  for (const [i, { method, points }] of lines.entries()) {
    const color = colors[i % colors.length]!;
    const shape = shapes[i % shapes.length]!;
    const path = points.map(({ bits, error }, k) => `${k === 0 ? 'M' : 'L'}${n(x(bits))} ${n(y(error))}`);
    const row = frame.top + 8 + 20 * i;
    parts.push(
      `<g fill="${color}">`,
      `<path d="${path.join('')}" fill="none" stroke="${color}" stroke-width="1.5"/>`,
      ...points.map(({ bits, error }) => shape(x(bits), y(error))),
      shape(frame.right + 20, row),
      `</g>`,
      `<text x="${frame.right + 32}" y="${row + 4}">${escaped(method)}</text>`,
    );
  }
  return `${[...parts, '</svg>'].join('\n')}\n`;
}

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
