import { createHash } from 'node:crypto';
import { html, raw } from '../../reports/html/markup';
import { style as common } from '../../reports/html/style';
import { script } from './script';

const style = `${common}
progress{width:8rem;vertical-align:middle;height:.9rem;accent-color:var(--mark)}
.state{font-weight:600}
.state.failed,.state.lost{color:var(--warning)}
.alarm{border-left:4px solid var(--warning);padding:.4rem .6rem;background:var(--surface)}
.alarm:empty{display:none}
td{white-space:nowrap;overflow-wrap:normal}
`;

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Nothing but this style and script may take effect, and nothing is asked of another server. */
export const policy = [
  "default-src 'none'",
  `style-src ${hashOf(style)}`,
  `script-src ${hashOf(script)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The page of queues: it asks this server how they are, and shows it. */
export const page = html`<!doctype html>
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>vertexq: queues</title>
      ${raw(`<style>${style}</style>`)}
    </head>
    <body>
      <main>
        <h1>Queues</h1>
        <p class="muted" id="about">Asking …</p>
        <p class="alarm" id="trouble" role="alert"></p>
        <div id="queues"></div>
        <section id="run" aria-live="off"></section>
        <noscript>This page needs JavaScript. "vertexq status" tells the same.</noscript>
      </main>
      ${raw(`<script>${script}</script>`)}
    </body>
  </html> `.text;
