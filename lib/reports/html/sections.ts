import { basename } from 'node:path';
import { escaped } from '../../globs';
import { changeOf } from '../budget';
import { change, headline, runOf, sharesOf } from '../shares';
import { provenanceRows } from '../provenance';
import { warningLines } from '../table';
import { commandLine, fewOf, painter } from '../text';
import { formatBytes, formatCount, formatPercent, formatSeconds, plural } from '../units';
import { byteBars, carriedDots, layerBars, namedBars, type Scales, shown } from './charts';
import {
  type AnyReport,
  dataFacts,
  errorOf,
  type Measure,
  measureOf,
  median,
  moreFacts,
  rankedBy,
} from './facts';
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

/** Bytes and time. */
export function costs(report: AnyReport): Markup {
  const { seconds, layers } = report;
  const all = sharesOf(runOf(report));
  const [whole, shares] = [all.at(-1)!, all.slice(0, -1)];
  const fits = layers.reduce((sum, layer) => sum + layer.seconds, 0);
  const slowest = [...layers].sort((a, b) => b.seconds - a.seconds).slice(0, 3);
  const isTold = fits > 0 && slowest.length > 0;
  return html`<section aria-labelledby="cost">
    <h2 id="cost">What did it cost?</h2>
    ${byteBars(
      shares,
      shares.map(({ kind }) => kind),
      whole,
    )}
    <div class="scroll" tabindex="0" role="region" aria-label="What became of the bytes">
      <table>
        <thead>
          <tr>
            <th scope="col">what</th>
            <th scope="col" class="number">count</th>
            <th scope="col" class="number">before</th>
            <th scope="col" class="number">after</th>
            <th scope="col" class="number">of the output</th>
          </tr>
        </thead>
        <tbody>
          ${all.map(
            ({ title, kind, count, before, after }) =>
              html`<tr>
                <th scope="row">
                  <svg class="key" width="10" height="10" aria-hidden="true">
                    <rect class="${kind}" width="10" height="10" /></svg
                  >${title}
                </th>
                <td class="number">${count}</td>
                <td class="number">${formatBytes(before)}</td>
                <td class="number">${formatBytes(after)}</td>
                <td class="number">${formatPercent(whole.after > 0 ? after / whole.after : null)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p>
      The run took
      ${formatSeconds(seconds)}${isTold && `; ${formatSeconds(fits)} of work went into fits, most of it into ${slowest.map((layer) => `${shown(layer.name)} (${formatSeconds(layer.seconds)})`).join(', ')}`}.
      Wall times depend on what else the machine did.
    </p>
  </section>`;
}

/** What was not quantized, the largest first. */
export function stillFloat({ skipped, bytes }: AnyReport): Markup {
  const sum = skipped.reduce((total, weight) => total + weight.bytes, 0);
  const largest = [...skipped].sort((a, b) => b.bytes - a.bytes).slice(0, 2 * mostNamed);
  if (largest.length === 0)
    return html`<section aria-labelledby="float">
      <h2 id="float">What is still float?</h2>
      <p>No weight.</p>
    </section>`;
  return html`<section aria-labelledby="float">
    <h2 id="float">What is still float?</h2>
    <p>
      <b
        >${plural(skipped.length, 'weight')}, ${formatBytes(sum)}:
        ${formatPercent(bytes.after > 0 ? sum / bytes.after : null)} of the output.</b
      >
      Where options left it, the reason names them.
    </p>
    <div class="scroll" tabindex="0" role="region" aria-label="Weights that are still float">
      <table data-sortable>
        <thead>
          <tr>
            <th scope="col">weight</th>
            <th scope="col" class="number">bytes</th>
            <th scope="col">why</th>
            <th scope="col">by choice</th>
          </tr>
        </thead>
        <tbody>
          ${largest.map(
            ({ name, reason, bytes: size, choice }) =>
              html`<tr>
                <th scope="row">${shown(name)}</th>
                <td class="number" data-value="${size}">${formatBytes(size)}</td>
                <td>${shown(reason)}</td>
                <td>${choice ? 'yes' : 'no: it could not be'}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${largest.length < skipped.length && html`<p class="muted">The largest ${largest.length} of ${skipped.length}; all are in the JSON report.</p>`}
  </section>`;
}

/** What a tenth more would buy: as widths were measured, or by a rule that is told. */
export function tenthMore(report: AnyReport): Markup {
  const { budget, layers, bytes } = report;
  const { bytes: more, bits, left, picks } = moreFacts(report);
  const target = bytes.after + more;
  const measured =
    budget?.more &&
    html`<p>
      <b
        >With ${formatBytes(budget.more.bytes)} instead of ${formatBytes(budget.bytes)} for the
        ${budget.target.of}, the best widths would change the outputs by about
        ${changeOf(budget.more.change, budget.sensitivity)} instead of
        ${formatCount(budget.change)}${budget.change > 0 && ` (${formatPercent(budget.more.change / budget.change)} of it)`}.</b
      >
      That is how the widths of this run were chosen: each layer's alone, added up.
    </p>`;
  const ruled = html`<p>
      <b
        >${formatBytes(more)} more are ${formatCount(bits)} bits a quantized
        weight${bits > 0 && `: errors would go to about ${formatPercent(left)} of what they are`}.</b
      >
      That is a rule, each further bit halves the error, and no measurement.
    </p>
    ${
      picks.length > 0 &&
      html`<p>Or ${plural(picks.length, 'layer')} in 8 bits, where errors are largest for their size:</p>
        <ul>
          ${picks.map(
            ({ layer, bytes: size, error, left: rest }) =>
              html`<li>
                <code>${commandLine(['--override', `${escaped(layer.name)}=bits:8`])}</code> at most
                ${formatBytes(size)} more; own error ${formatPercent(error)}, then about
                ${formatPercent(rest)}
              </li>`,
          )}
        </ul>`
    }`;
  return html`<section aria-labelledby="more">
    <h2 id="more">What would 10 % more bytes buy?</h2>
    ${layers.length > 0 ? (measured ?? ruled) : html`<p>Nothing was quantized.</p>`}
    <p>
      To spend them where they help the outputs most, measured on calibration data, give
      <code>--target-size ${target}</code> in place of a width;
      <code
        >${commandLine(['vertexq', 'sensitivity', report.input, '--calibration', '…', '-o', 'sensitivity.json'])}</code
      >
      tells what each width of each layer does.
    </p>
  </section>`;
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

/** Everything that was warned of. */
export function warnings(report: AnyReport): Markup | null {
  const told = warningLines(report, painter(false)).split('\n').filter(Boolean);
  if (told.length === 0) return null;
  return html`<section aria-labelledby="warnings">
    <h2 id="warnings">Warnings</h2>
    <ul class="warnings">
      ${told.map((line) => html`<li>${line.replace(/^warning: /, '')}</li>`)}
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
      ${cell(bits, String(bits))}${cell(storedBits, decimals(storedBits))}${cell(groupSize, String(groupSize))}${cell(samples, String(samples))}${cell(own, formatPercent(own))}${cell(float, formatPercent(float))}${cell(error.weight, formatPercent(error.weight))}${cell(bytes.after, formatBytes(bytes.after))}${cell(seconds, formatSeconds(seconds))}
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
