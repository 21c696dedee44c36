import { writeFileSync } from 'node:fs';
import { parse, View } from 'vega';
import { compile, type Config, type TopLevelSpec } from 'vega-lite';

const config: Config = {
  background: 'white',
  font: 'sans-serif',
  axis: { labelFontSize: 12, titleFontSize: 13, titleFontWeight: 'normal', gridColor: '#e6e6e6' },
  header: { labelFontSize: 14, labelFontWeight: 'bold' },
  legend: { labelFontSize: 13, labelLimit: 300, symbolStrokeWidth: 2.5, symbolSize: 120 },
  range: { category: ['#6e7781', '#bf8700', '#0969da', '#cf222e', '#1a7f37'] },
};

/** Renders a plot as an SVG file. */
export async function writePlot(path: string, spec: TopLevelSpec): Promise<void> {
  const view = new View(parse(compile({ ...spec, config }).spec), { renderer: 'none' });
  writeFileSync(path, `${await view.toSVG()}\n`);
  view.finalize();
}
