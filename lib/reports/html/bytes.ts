import { escaped } from '../../globs';
import { changeOf } from '../budget';
import { runOf, sharesOf } from '../shares';
import { commandLine } from '../text';
import { formatBytes, formatCount, formatPercent, formatSeconds, plural } from '../units';
import { byteBars, shown } from './charts';
import { type AnyReport, moreFacts } from './facts';
import { html, type Markup } from './markup';

// The questions about bytes, a section each.

/** Weights listed, the largest. */
const mostListed = 20;

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
  const largest = [...skipped].sort((a, b) => b.bytes - a.bytes).slice(0, mostListed);
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
