import { basename } from 'node:path';
import { change, headline, runOf } from '../shares';
import { provenanceRows } from '../provenance';
import { warningLines } from '../table';
import { commandLine, fewOf, painter } from '../text';
import { codeOf, warningCodes } from '../../warning-codes';
import { formatBytes, formatCount, formatPercent, formatSeconds, percentCell, plural } from '../units';
import { carriedDots, layerBars, namedBars, type Scales, shown } from './charts';
import { type AnyReport, dataFacts, errorOf, type Measure, measureOf, median, rankedBy } from './facts';
import { html, type Markup, raw } from './markup';

// The questions that a report answers, a section each.

/** Layers named one by one; of these, so many and at most this share of all stand out in the chart. */
const mostNamed = 10;
const hotShare = 1 / 3;
/** Layers drawn and listed, the worst of more: a page of these takes less than 2 MB. */
export const mostLayers = 1500;

const decimals = (value: number) => (Number.isFinite(value) ? value.toFixed(2) : '–');

/** Text of several lines, which stay lines. */
const lines = (text: string) => text.split('\n').map((line, i) => [i > 0 && raw('\n'), line]);

const names: Record<Measure, string> = {
  againstFloat: 'error against float',
  own: 'own error',
  weight: 'error of the weights',
};

/** What the errors of a report are, for those who see them for the first time. */
function meaning(measure: Measure, heldOut: boolean): string {
  const rows = heldOut ? 'rows that no fit saw' : 'the rows of the fit: none were held out';
  if (measure === 'againstFloat')
    return `How far a layer's outputs are from those of the float network, with what went wrong before it, on ${rows}. Lower is better.`;
  if (measure === 'own')
    return `How far a layer's outputs are from what its float weights give on the same inputs, on ${rows}. Lower is better.`;
  return 'How far the weights are from the float ones. No network was run, so what that does to its outputs is not known. Lower is better.';
}

/** The title, the answer in a few numbers, and what they mean. */
export function summary(report: AnyReport): Markup {
  const { layers, bytes, format, seconds, input, environment } = report;
  const measure = measureOf(layers);
  const errors = rankedBy(layers, measure);
  const middle = median(errors.map(({ error }) => error));
  const last = errors.find(({ index }) => index === layers.length - 1);
  const weights = layers.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
  const stored = weights > 0 ? (8 * bytes.weightsAfter) / weights : null;
  const methods = new Map<string, number>();
  for (const { method } of layers) methods.set(method, (methods.get(method) ?? 0) + 1);
  const tile = (value: string, what: string) =>
    html`<div class="tile"><b>${value}</b><span>${what}</span></div>`;
  return html`<header>
      <h1>${shown(basename(input))}</h1>
      <p class="lead">${headline(runOf(report))}.</p>
      <p class="muted">
        ${[...methods].map(([method, count]) => `${method}: ${plural(count, 'layer')}`).join(', ')} · format
        ${format} · vertexq ${environment.vertexq}
      </p>
    </header>
    <section aria-labelledby="good">
      <h2 id="good">How good is it?</h2>
      <div class="tiles">
        ${last && measure !== 'weight' && tile(formatPercent(last.error), `${names[measure]} of the last layer`)}
        ${tile(formatPercent(middle), `${names[measure]}, the median of ${plural(errors.length, 'layer')}`)}
        ${errors.length > 0 && tile(formatPercent(errors[0]!.error), `the largest: ${shown(errors[0]!.layer.name)}`)}
        ${tile(formatBytes(bytes.after), `the output, of ${formatBytes(bytes.before)}${bytes.after > 0 ? ` (${(bytes.before / bytes.after).toFixed(1)} times smaller)` : ''}`)}
        ${stored !== null && tile(decimals(stored), 'bits a quantized weight takes as it is stored')}
        ${tile(formatSeconds(seconds), 'for the whole run')}
      </div>
      <p>${meaning(measure, isHeldOut(report, measure))}</p>
      <p>${nextStep(report)}</p>
    </section>`;
}

const isHeldOut = ({ layers }: AnyReport, measure: Measure): boolean =>
  layers.some(
    ({ error }) => ((measure === 'againstFloat' ? error.againstFloat : error.own)?.holdout ?? null) !== null,
  );

/** How to learn what errors of layers do not tell. */
function nextStep({ input, output, format, copied }: AnyReport): Markup {
  if (copied && format === 'onnx')
    return html`What that does to answers is told by running both on texts of your own.`;
  return html`What that does to ${copied ? 'perplexity and next tokens' : "the network's own outputs"} is told
    by
    <code
      >${commandLine(['vertexq', 'eval', input, output, '--data', copied ? 'texts.txt' : 'test.npz'])}</code
    >`;
}

/** All layers as bars, and those with the largest errors by name. */
export function layersThatHurt(report: AnyReport, scales: Scales): Markup {
  const { layers } = report;
  const measure = measureOf(layers);
  const ranked = rankedBy(layers, measure);
  const worst = ranked.slice(0, mostNamed);
  const drawn = new Set(
    (ranked.length > mostLayers ? ranked.slice(0, mostLayers) : ranked).map(({ index }) => index),
  );
  const all = layers
    .map((layer, index) => ({ layer, index }))
    .filter(({ index }) => layers.length <= mostLayers || drawn.has(index));
  const hot = new Set(worst.slice(0, Math.ceil(hotShare * layers.length)).map(({ layer }) => layer));
  const total = ranked.reduce((sum, { error }) => sum + error ** 2, 0);
  const own = worst.reduce((sum, { error }) => sum + error ** 2, 0);
  return html`<section aria-labelledby="hurt">
    <h2 id="hurt">Which layers hurt most?</h2>
    ${all.length > 0 && layerBars(scales, all, measure, hot, `The ${names[measure]} of each layer, in the order of the network; the largest are listed below`)}
    <p class="muted">
      Each bar is a layer, in the order of the network; its height the ${names[measure]}.
      ${all.length < layers.length && `Of ${layers.length} layers those with the largest errors. `}The largest
      are orange.
      ${total > 0 && worst.length < ranked.length && `These ${worst.length} have ${formatPercent(own / total)} of all squared errors:`}
    </p>
    ${namedBars(worst, hot)}
  </section>`;
}

/** Whether more data would have helped. */
export function enoughData(report: AnyReport, scales: Scales): Markup {
  const { layers, calibration } = report;
  const { carried, ratio, fitted, few, verdict } = dataFacts(layers);
  const need = few.reduce((most, { shape }) => Math.max(most, 2 * shape[1]), 0);
  const times = ratio === null ? '' : ratio.toFixed(2);
  const answers: Record<typeof verdict, string> = {
    'no data':
      'There was none: the weights were rounded by themselves. Calibration data lowers errors at the same size.',
    'not known':
      'That is not known: it takes held-out rows and rows of the fit, and an error on both. Hold some out (holdout, --holdout 0.1).',
    enough: `Yes. On rows that no fit saw, errors are ${times} times those on the rows of the fits (the median of the layers): more data would gain little.`,
    some: `Nearly. On rows that no fit saw, errors are ${times} times those on the rows of the fits (the median of the layers): more data would gain something.`,
    'too little': `No. On rows that no fit saw, errors are ${times} times those on the rows of the fits (the median of the layers): the fits know the samples better than what these stand for. Give more data.`,
  };
  const counts = calibration && [
    `Fitted to ${countsOf(calibration.fit)}`,
    calibration.holdout.samples > 0 ? `held out: ${countsOf(calibration.holdout)}` : 'none held out',
  ];
  return html`<section aria-labelledby="data">
    <h2 id="data">Was the data enough?</h2>
    <p><b>${answers[verdict]}</b></p>
    ${counts && html`<p class="muted">${counts.join('; ')}.</p>`}
    ${
      few.length > 0 &&
      html`<p>
        ${few.length} of ${plural(fitted, 'fitted layer')} saw fewer than two rows an input,
        ${fewOf(
          few.map(({ name }) => shown(name)),
          3,
        )}:
        for these ${formatCount(need)} rows would do.
      </p>`
    }
    ${
      carried.length > 1 &&
      html`${carriedDots(scales, carried.slice(0, mostLayers))}
        <p class="muted">
          Each dot is a layer: its own error on rows of the fit (across) and on held-out rows (upwards). On
          the dashed line both are equal; far above it, a layer knows its samples by heart.
        </p>`
    }
  </section>`;
}

function countsOf({ documents, samples, tokens }: NonNullable<AnyReport['calibration']>['fit']): string {
  return [
    ...(documents === null ? [] : [plural(documents, 'document')]),
    plural(samples, documents === null ? 'sample' : 'window'),
    ...(tokens === null ? [] : [plural(tokens, 'token')]),
  ].join(', ');
}

/** The command, the widths that were chosen, and what else the numbers depend on. */
export function again(report: AnyReport): Markup {
  const { command, input, output, environment, copied, budget, provenance } = report;
  const call = copied ? 'quantizeCheckpoint' : 'quantizeModel';
  const options = { ...(provenance.data?.calibration && { calibration: '…' }), ...provenance.options };
  const code = `import { ${call} } from 'vertexq';\nawait ${call}(${JSON.stringify(input)}, ${JSON.stringify(output)}, ${JSON.stringify(options)});`;
  const rows = [
    ...provenanceRows(provenance),
    ...(Object.entries(environment) as [string, string | null][]).filter(
      ([name, value]) => value !== null && name !== 'vertexq' && name !== 'onnxruntime',
    ),
  ];
  return html`<section aria-labelledby="again">
    <h2 id="again">How to do it again</h2>
    <pre tabindex="0"><code>${lines(command ?? code)}</code></pre>
    <p class="muted">
      The same input, options, versions and processor kernels give the same bytes, whatever the number of
      threads.
    </p>
    ${
      budget &&
      html`<p>The chosen widths, as <code>overrides</code> of a configuration file:</p>
        <pre
          tabindex="0"
        ><code>${lines(JSON.stringify({ overrides: budget.overrides }, null, 1))}</code></pre>`
    }
    <dl>
      ${rows.map(
        ([name, value]) =>
          html`<dt>${name}</dt>
            <dd>${value}</dd>`,
      )}
    </dl>
  </section>`;
}

/** Everything that was warned of, with what to do about the first of each kind. */
export function warnings(report: AnyReport): Markup | null {
  const told = warningLines(report, painter(false)).split('\n').filter(Boolean);
  if (told.length === 0) return null;
  return html`<section aria-labelledby="warnings">
    <h2 id="warnings">Warnings</h2>
    <ul class="warnings">
      ${told.map((line) => {
        const code = codeOf(line);
        const isFirst = code !== null && told.find((other) => codeOf(other) === code) === line;
        return html`<li>
          ${line.replace(/^warning: /, '')} ${isFirst && html`<small>${warningCodes[code].remedy}</small>`}
        </li>`;
      })}
    </ul>
  </section>`;
}

/** All layers, to be sorted and searched. */
export function allLayers({ layers }: AnyReport): Markup {
  const measure = measureOf(layers);
  const listed =
    layers.length <= mostLayers
      ? new Set(layers.keys())
      : new Set(
          rankedBy(layers, measure)
            .slice(0, mostLayers)
            .map(({ index }) => index),
        );
  const columns = [
    'layer',
    '#',
    'operator',
    'shape',
    'method',
    'bits',
    'stored',
    'group',
    'rows',
    'own',
    'against float',
    'weights',
    'size',
    'time',
  ];
  const isNumber = (i: number) => i === 1 || i === 3 || i >= 5;
  const cell = (value: number | null, text: string) =>
    html`<td class="number" data-value="${value !== null && Number.isFinite(value) ? value : null}">
      ${text}
    </td>`;
  const rows = layers.flatMap((layer, i) => {
    if (!listed.has(i)) return [];
    const {
      name,
      kind,
      shape,
      method,
      fellBackFrom,
      bits,
      storedBits,
      groupSize,
      samples,
      error,
      bytes,
      seconds,
    } = layer;
    const [own, float] = [errorOf(layer, 'own'), errorOf(layer, 'againstFloat')];
    return html`<tr>
      <th scope="row">${shown(name)}</th>
      ${cell(i + 1, String(i + 1))}
      <td>${kind}</td>
      ${cell(shape[0] * shape[1], shape.join('×'))}
      <td>${method}${fellBackFrom !== null && `, not ${fellBackFrom}`}</td>
      ${cell(bits, String(bits))}${cell(storedBits, decimals(storedBits))}${cell(groupSize, String(groupSize))}${cell(samples, String(samples))}${cell(own, percentCell(own))}${cell(float, percentCell(float))}${cell(error.weight, percentCell(error.weight))}${cell(bytes.after, formatBytes(bytes.after))}${cell(seconds, formatSeconds(seconds))}
    </tr> `;
  });
  return html`<section aria-labelledby="all" class="wide">
    <h2 id="all">All layers</h2>
    <p class="muted">
      ${layers.length > mostLayers ? `The ${mostLayers} of ${layers.length} with the largest errors; all are in the JSON report. ` : ''}Sizes
      of weights:
      ${change({ before: layers.reduce((sum, layer) => sum + layer.bytes.before, 0), after: layers.reduce((sum, layer) => sum + layer.bytes.after, 0) })}.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="all">
      <table data-sortable data-searchable>
        <thead>
          <tr>
            ${columns.map((title, i) => html`<th scope="col" ${isNumber(i) && html` class="number"`}>${title}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows}
        </tbody>
      </table>
    </div>
  </section>`;
}
