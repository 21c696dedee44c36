import { writeFileSync } from 'node:fs';
import { parse, View } from 'vega';
import { compile, type Config, type TopLevelSpec } from 'vega-lite';
import { lookOfMethod } from '../lib/reports/colors';

// The plots of the documents, in one style: a colour and a mark a method, names beside their lines instead of a legend.

const config: Config = {
  background: 'white',
  font: 'sans-serif',
  view: { stroke: null },
  title: {
    fontSize: 15,
    fontWeight: 'bold',
    anchor: 'start',
    subtitleFontSize: 12,
    subtitleColor: '#57606a',
    offset: 14,
  },
  axis: {
    ...{ labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', titleColor: '#57606a' },
    ...{ labelColor: '#1b1f24', gridColor: '#e6e8eb', domainColor: '#6e7781', tickColor: '#6e7781' },
  },
  header: { labelFontSize: 13, labelFontWeight: 'bold', labelAnchor: 'start' },
};

export interface Axis {
  title: string;
  /** Default linear, from 0. */
  type?: 'linear' | 'log';
  domain: readonly [number, number];
  ticks?: readonly number[];
  /** As Vega writes numbers (d3-format). */
  format?: string;
}

export interface Point {
  name: string;
  x: number;
  y: number;
  panel?: string;
}

export interface LinePlot {
  title: string;
  /** What is better, what the points are. */
  subtitle: string;
  points: readonly Point[];
  x: Axis;
  y: Axis;
  width?: number;
  height?: number;
  /** Of panels in a row. */
  columns?: number;
  /** Those that are drawn dashed: bounds, variants. */
  dashed?: readonly string[];
  /** Marks without lines. */
  dots?: boolean;
  /** Of names that are no methods. */
  colors?: Readonly<Record<string, string>>;
}

/** Pixels between two names. */
const labelHeight = 15;

/** Draws lines with marks, each named at its right end, as an SVG file. */
export async function writeLines(path: string, plot: LinePlot): Promise<void> {
  const {
    title,
    subtitle,
    points,
    x,
    y,
    width = 420,
    height = 280,
    columns = 2,
    dashed = [],
    dots = false,
    colors = {},
  } = plot;
  const names = [...new Set(points.map(({ name }) => name))];
  const values = points.map((point) => ({ ...point, panel: point.panel ?? '' }));
  const panels = [...new Set(values.map(({ panel }) => panel))];
  const labels = panels.flatMap((panel) =>
    labelsOf(
      values.filter((own) => own.panel === panel),
      y,
      height,
    ),
  );
  const color = {
    field: 'name',
    type: 'nominal' as const,
    legend: null,
    scale: { domain: names, range: names.map((name) => colors[name] ?? lookOfMethod(name).color) },
  };
  const axisOf = ({ title: named, type = 'linear', domain, ticks, format }: Axis, isAcross: boolean) => ({
    field: isAcross ? 'x' : 'y',
    type: 'quantitative' as const,
    title: named,
    scale: { type, domain: [...domain], nice: false, ...(type === 'log' && { base: 10 }) },
    axis: {
      ...(ticks && { values: [...ticks] }),
      ...(format !== undefined && { format }),
      grid: !isAcross,
      ...(ticks ? {} : { tickCount: 5 }),
    },
  });
  const across = axisOf(x, true);
  const upwards = axisOf(y, false);
  const layer = [
    {
      mark: { type: 'line' as const, strokeWidth: dots ? 0 : 2 },
      encoding: {
        x: across,
        y: upwards,
        color,
        strokeDash: {
          condition: { test: { field: 'name', oneOf: [...dashed] }, value: [6, 4] },
          value: [1, 0],
        },
      },
      transform: [{ filter: 'isValid(datum.x) && !isValid(datum.label)' }],
    },
    {
      mark: { type: 'point' as const, filled: true, size: 55, opacity: 1 },
      encoding: {
        x: across,
        y: upwards,
        color,
        shape: {
          field: 'name',
          type: 'nominal' as const,
          legend: null,
          scale: { domain: names, range: names.map((name) => lookOfMethod(name).shape) },
        },
      },
      transform: [{ filter: '!isValid(datum.label)' }],
    },
    {
      mark: { type: 'text' as const, align: 'left' as const, dx: 9, fontSize: 12, clip: false },
      encoding: { x: across, y: upwards, color, text: { field: 'label' } },
      transform: [{ filter: 'isValid(datum.label)' }],
    },
  ];
  const widest = Math.max(...names.map((name) => name.length)) * 6.6;
  const spec = { width, height, layer };
  await writePlot(path, {
    title: { text: title, subtitle },
    data: { values: [...values, ...labels] },
    padding: { left: 5, top: 5, bottom: 5, right: panels.length > 1 ? 5 + widest : 5 },
    ...(panels.length > 1
      ? {
          facet: { field: 'panel', type: 'nominal', title: null, sort: panels },
          columns,
          spacing: { column: widest + 20, row: 30 },
          spec,
        }
      : spec),
  });
}

/** Names at the ends of lines, apart from each other. */
function labelsOf(points: readonly (Point & { panel: string })[], { type, domain }: Axis, height: number) {
  const scale = type === 'log' ? Math.log : (value: number) => value;
  const [low, high] = [scale(domain[0]), scale(domain[1])];
  const ends = [...new Set(points.map(({ name }) => name))]
    .map((name) => points.filter((own) => own.name === name).reduce((a, b) => (b.x > a.x ? b : a)))
    .map((end) => ({ end, at: (height * (high - scale(end.y))) / (high - low) }))
    .sort((a, b) => a.at - b.at);
  for (let i = 1; i < ends.length; i++) ends[i]!.at = Math.max(ends[i]!.at, ends[i - 1]!.at + labelHeight);
  // What goes beyond the plot is moved up again.
  for (let i = ends.length - 1, most = height; i >= 0; i--, most -= labelHeight)
    ends[i]!.at = Math.min(ends[i]!.at, most);
  return ends.map(({ end, at }) => {
    const value = high - (at / height) * (high - low);
    return { ...end, y: type === 'log' ? Math.exp(value) : value, label: end.name };
  });
}

async function writePlot(path: string, spec: TopLevelSpec): Promise<void> {
  const view = new View(parse(compile({ ...spec, config }).spec), { renderer: 'none' });
  writeFileSync(path, `${await view.toSVG()}\n`);
  view.finalize();
}
