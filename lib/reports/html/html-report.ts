import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { CheckpointReport } from '../../checkpoints/types';
import type { Report } from '../../models/types';
import { costs, stillFloat, tenthMore } from './bytes';
import { shown } from './charts';
import { html, type Markup, raw } from './markup';
import { script } from './script';
import { again, allLayers, enoughData, layersThatHurt, summary, warnings } from './sections';
import { style } from './style';

/**
 * A report as a page: one file of HTML without any request to elsewhere, readable without scripts, in light and dark, on phones and by keyboard. It says how good the
 * output is, which layers hurt most, whether the data was enough, what it cost, what is still float, what a tenth more bytes would buy, and how to do it again.
 * Names and texts of files are escaped. `report`: as `quantizeModel` or `quantizeCheckpoint` gave it, or as it was read from JSON.
 */
export async function htmlReport(report: Report | CheckpointReport): Promise<string> {
  const scales = await import('d3-scale');
  const warned = warnings(report);
  const contents = [
    ['good', 'How good'],
    ['hurt', 'Which layers'],
    ['data', 'Data'],
    ['cost', 'Cost'],
    ['float', 'Still float'],
    ['more', '10 % more'],
    ...(warned ? [['warnings', 'Warnings']] : []),
    ['again', 'Again'],
    ['all', 'All layers'],
  ] as const;
  const main = html`<main>
    ${summary(report)}
    <nav aria-label="On this page">
      <ul>
        ${contents.map(([id, title]) => html`<li><a href="#${id}">${title}</a></li>`)}
      </ul>
    </nav>
    ${layersThatHurt(report, scales)} ${enoughData(report, scales)} ${costs(report)} ${stillFloat(report)}
    ${tenthMore(report)} ${warned} ${again(report)} ${allLayers(report)}
  </main>`;
  return page(`${shown(basename(report.input))}: vertexq report`, main);
}

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Nothing but the style and the script of a page may take effect in it, whatever else it holds. */
const policy = [
  "default-src 'none'",
  `style-src ${hashOf(style)}`,
  `script-src ${hashOf(script)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

function page(title: string, main: Markup): string {
  const whole = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        ${raw(`<style>${style}</style>`)}
      </head>
      <body>
        ${main} ${raw(`<script>${script}</script>`)}
      </body>
    </html> `;
  return whole.text;
}
