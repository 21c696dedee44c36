import type * as scales from 'd3-scale';
import { shorten } from '../text';
import { formatBytes, formatCount, formatPercent } from '../units';
import { html, type Markup } from './markup';
import { type Carried, errorOf, type Measure, type Ranked } from './facts';
import type { LayerReport } from '../../types';
import type { Share } from '../shares';

// Charts as SVG whose lengths across are in percent: they are as wide as the page, and their text as large as its own.
// d3-scale, an ES module, tells where values lie and which ticks they get.

export type Scales = Pick<typeof scales, 'scaleLinear' | 'scaleLog'>;

/** Characters of a name in a chart or a table. */
export const mostCharacters = 120;
export const shown = (name: string): string => shorten(name, mostCharacters);

const height = 200;
const percent = (value: number) => `${Math.round(100 * value) / 100}%`;
const pixels = (value: number) => Math.round(10 * value) / 10;

/** Ticks of an axis upwards, beside a plot of `height`. */
function axis(ticks: readonly { at: number; text: string }[]): Markup {
  return html`<svg class="axis" width="58" height="${height + 24}" aria-hidden="true">
    ${ticks.map(({ at, text }) => html`<text x="52" y="${pixels(at + 12)}" text-anchor="end">${text}</text>`)}
  </svg>`;
}

const rules = (ticks: readonly { at: number }[]) =>
  ticks.map(
    ({ at }) => html`<line class="rule" x1="0" x2="100%" y1="${pixels(at + 8)}" y2="${pixels(at + 8)}" />`,
  );

/** What a layer's mark says when it is pointed at. */
function told(layer: LayerReport, index: number): string {
  const own = errorOf(layer, 'own');
  const float = errorOf(layer, 'againstFloat');
  return [
    `${index + 1}. ${shown(layer.name)}`,
    ...(float === null ? [] : [`against float ${formatPercent(float)}`]),
    ...(own === null ? [] : [`own ${formatPercent(own)}`]),
    `weights ${formatPercent(layer.error.weight)}`,
    `${layer.method}, ${layer.bits} bits (${formatCount(Math.round(100 * layer.storedBits) / 100)} stored)`,
    layer.shape.join(' × '),
  ].join(' · ');
}

/** Every layer's error as a bar, in the order of the network; `hot` are those that are named elsewhere. */
export function layerBars(
  { scaleLinear }: Scales,
  layers: readonly { layer: LayerReport; index: number }[],
  measure: Measure,
  hot: ReadonlySet<LayerReport>,
  title: string,
): Markup {
  const errors = layers.map(({ layer }) => errorOf(layer, measure) ?? 0);
  const most = errors.reduce((a, b) => Math.max(a, b), 0) || 1;
  const y = scaleLinear().domain([0, most]).range([height, 0]).nice(4);
  const ticks = y.ticks(4).map((tick) => ({ at: y(tick), text: formatPercent(tick) }));
  const step = 100 / layers.length;
  const width = Math.min(4, 0.82 * step);
  const bars = layers.map(({ layer, index }, i) => {
    const error = errorOf(layer, measure);
    const top = error === null ? height : Math.min(y(error), height - 1.5);
    const x = i * step + (step - width) / 2;
    return html`<rect
      class="${hot.has(layer) ? 'bar hot' : 'bar'}"
      x="${percent(x)}"
      width="${percent(width)}"
      y="${pixels(top + 8)}"
      height="${pixels(height - top)}"
      data-told="${told(layer, index)}"
      ><title>${told(layer, index)}</title></rect
    >`;
  });
  return html`<div class="plot" data-readout>
    ${axis(ticks)}<svg class="marks" width="100%" height="${height + 24}" role="img" aria-label="${title}">
      ${rules(ticks)}${bars}
      <text class="edge" x="0" y="${height + 22}">first layer</text>
      <text class="edge" x="100%" y="${height + 22}" text-anchor="end">last layer</text>
    </svg>
  </div>`;
}

/** Names, bars and numbers, a line each. */
export function namedBars(rows: readonly Ranked[], hot: ReadonlySet<LayerReport>): Markup {
  const most = rows.reduce((a, { error }) => Math.max(a, error), 0) || 1;
  return html`<ol class="bars">
    ${rows.map(
      ({ layer, index, error }) =>
        html`<li>
          <span class="name">${shown(layer.name)}</span
          ><svg width="100%" height="12" aria-hidden="true">
            <rect
              class="${hot.has(layer) ? 'bar hot' : 'bar'}"
              width="${percent((100 * error) / most)}"
              height="12"
            /></svg
          ><span class="number">${formatPercent(error)}</span
          ><span class="note"
            >layer ${index + 1}, ${layer.shape.join(' × ')}, ${layer.method}, ${layer.bits}
            bits${noteOf(layer)}</span
          >
        </li>`,
    )}
  </ol>`;
}

/** Whether an error came in with the inputs, or is the layer's own. */
function noteOf(layer: LayerReport): string {
  const [own, float] = [errorOf(layer, 'own'), errorOf(layer, 'againstFloat')];
  if (own === null || float === null) return '';
  return own < float / 2
    ? `; ${formatPercent(own)} of its own: most comes from the layers before it`
    : `; ${formatPercent(own)} of its own`;
}

/** Errors on held-out rows over those on the rows of the fit, both axes logarithmic, with the line on which they are equal. */
export function carriedDots({ scaleLog }: Scales, carried: readonly Carried[]): Markup {
  const all = carried.flatMap(({ fit, heldOut }) => [fit, heldOut]);
  const [least, most] = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  const domain = [least / 1.3, most * 1.3] as const;
  const y = scaleLog().domain(domain).range([height, 0]);
  const x = scaleLog().domain(domain).range([0, 100]);
  const few = thinned(y.ticks(4));
  const fewer = few.length > 3 ? few.filter((_, i) => i % 2 === 0) : few;
  const ticks = few.map((tick) => ({ at: y(tick), text: formatPercent(tick) }));
  const dots = carried.map(({ layer, fit, heldOut, ratio }) => {
    const text = `${shown(layer.name)} · fit ${formatPercent(fit)} · held out ${formatPercent(heldOut)} · ${ratio.toFixed(2)} times`;
    return html`<circle
      class="${ratio > 2 ? 'dot hot' : 'dot'}"
      cx="${percent(x(fit))}"
      cy="${pixels(y(heldOut) + 8)}"
      r="4"
      data-told="${text}"
      ><title>${text}</title></circle
    >`;
  });
  return html`<div class="plot" data-readout>
    ${axis(ticks)}<svg
      class="marks"
      width="100%"
      height="${height + 24}"
      role="img"
      aria-label="Each layer's own error on held-out rows, upwards, over that on the rows of its fit"
    >
      ${rules(ticks)}
      <line class="equal" x1="0" y1="${height + 8}" x2="100%" y2="8" />
      ${dots}${fewer.map(
        (tick) =>
          html`<text class="edge" x="${percent(x(tick))}" y="${height + 22}" text-anchor="middle"
            >${formatPercent(tick)}</text
          >`,
      )}
    </svg>
  </div>`;
}

/** At most five of a logarithmic axis: 1, 2 and 5 times powers of ten, or every second of these, and so on. */
function thinned(ticks: readonly number[]): number[] {
  const round = ticks.filter((tick) => ['1', '2', '5'].includes(tick.toExponential(0)[0]!));
  let few = round.length >= 2 ? round : [...ticks];
  while (few.length > 5) few = few.filter((_, i) => i % 2 === 0);
  return few;
}

/** Bytes before and after as two bars of one scale, cut by what became of them. `kinds`: a class a share. */
export function byteBars(shares: readonly Share[], kinds: readonly string[], whole: Share): Markup {
  const most = Math.max(whole.before, whole.after, 1);
  const bar = (of: 'before' | 'after') => {
    let at = 0;
    return html`<div class="bytes">
      <span class="name">${of}</span
      ><svg width="100%" height="22" role="img" aria-label="${`${of}: ${formatBytes(whole[of])}`}">
        ${shares.map((share, i) => {
          const width = (100 * Math.max(0, share[of])) / most;
          const text = `${share.title}: ${formatBytes(share[of])} (${formatPercent(share[of] / Math.max(1, whole[of]))})`;
          const part = html`<rect class="${kinds[i]}" x="${percent(at)}" width="${percent(width)}" height="22"
            ><title>${text}</title></rect
          >`;
          at += width;
          return part;
        })}</svg
      ><span class="number">${formatBytes(whole[of])}</span>
    </div>`;
  };
  return html`${bar('before')}${bar('after')}`;
}
