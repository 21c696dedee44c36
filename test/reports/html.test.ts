import test from 'ava';
import { createHash } from 'node:crypto';
import { Script } from 'node:vm';
import fc from 'fast-check';
import type { CheckpointReport } from '../../lib/checkpoints/types';
import { layerErrors } from '../../lib/fit/layer-errors';
import { htmlReport } from '../../lib/index';
import { dataFacts, measureOf, median, moreFacts, rankedBy } from '../../lib/reports/html/facts';
import { dark, leastContrast, light, type Theme } from '../../lib/reports/html/palette';
import { sampleCheckpointReport } from './checkpoint-samples';
import { all, attribute, type Element, page, textOf } from './page';
import { layerReport, sampleReport } from './samples';
import type { Warning } from '../../lib/warning-codes';

const errors = (own: number, float: number, fit = own) =>
  layerErrors({ calibration: fit, holdout: own }, { calibration: float, holdout: float }, 0.1);

const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</title></style></script><h1>no</h1>',
  '&lt;b&gt;&#60;',
  'a\u202eb\x00\x1b[31m\ud800\uffff',
  '${1}`<!--',
];

test('what comes from files is text: names, reasons, warnings, paths, versions', async (t) => {
  for (const name of hostile) {
    const report = sampleCheckpointReport({
      ...{ input: name, output: name, format: name, command: name, warnings: [name as Warning] },
      layers: [
        layerReport(name, { kind: name, method: name, fellBackFrom: name, warnings: [name as Warning] }),
        layerReport('b', { error: errors(0.2, 0.4) }),
      ],
      skipped: [{ name, reason: name, bytes: 10, choice: true }],
      environment: { ...sampleReport().environment, blas: name },
      budget: {
        ...{ target: { bytes: 10, of: 'files' }, bytes: 9, change: 1, bound: 1, gap: 0, more: null },
        ...{
          overrides: [{ layers: [name], bits: 4 }],
          sensitivity: { how: 'estimated', unit: 'kl', rows: 1 },
        },
      },
    });
    const text = await htmlReport(report);
    const root = page(text);
    t.is(all(root, 'script').length, 1);
    t.is(all(root, 'style').length, 1);
    t.is(all(root, 'h1').length, 1);
    t.deepEqual(all(root, 'img'), []);
    for (const { attrs } of all(root)) for (const { name: own } of attrs) t.notRegex(own, /^on|^style$/);
    // eslint-disable-next-line no-control-regex
    t.notRegex(text, /[\x00-\x08\x0e-\x1f\u202e\ufffe\uffff]/);
    if (/^[\x20-\x7e]*$/.test(name)) t.true(textOf(root).includes(name), name);
  }
});

test('a page asks for nothing elsewhere, and runs and styles nothing but its own', async (t) => {
  const text = await htmlReport(sampleCheckpointReport());
  const root = page(text);
  t.notRegex(text, /https?:|\burl\(|@import|\bsrc=|srcset|<(link|iframe|object|embed|base|form)\b/);
  const ids = new Set(all(root).map((element) => attribute(element, 'id')));
  for (const link of all(root, 'a')) {
    const href = attribute(link, 'href')!;
    t.true(href.startsWith('#') && ids.has(href.slice(1)), href);
  }
  const policy = attribute(
    all(root, 'meta').find((meta) => attribute(meta, 'http-equiv') === 'Content-Security-Policy')!,
    'content',
  )!;
  t.regex(policy, /^default-src 'none';/);
  t.notRegex(policy, /unsafe|\*|data:|http/);
  for (const [tag, directive] of [
    ['style', 'style-src'],
    ['script', 'script-src'],
  ] as const) {
    const hash = createHash('sha256')
      .update(textOf(all(root, tag)[0]!))
      .digest('base64');
    t.true(policy.includes(`${directive} 'sha256-${hash}'`), tag);
  }
  t.notThrows(() => new Script(textOf(all(root, 'script')[0]!)));
});

test('headings, tables, charts and regions have names and roles', async (t) => {
  const report = sampleCheckpointReport({
    layers: [layerReport('a'), layerReport('b'), layerReport('c', { error: errors(0.2, 0.4, 0.1) })],
    skipped: [{ name: 'e', reason: 'an embedding', bytes: 100, choice: true }],
    warnings: ['w [WARN_VERTEXQ_NO_DATA]'],
  });
  const root = page(await htmlReport(report));
  t.is(attribute(all(root, 'html')[0]!, 'lang'), 'en');
  t.true(textOf(all(root, 'title')[0]!).length > 0);
  const levels = all(root).flatMap(({ tagName }) => (/^h[1-6]$/.test(tagName) ? [Number(tagName[1])] : []));
  t.is(levels.filter((level) => level === 1).length, 1);
  for (const [i, level] of levels.entries()) t.true(level <= (levels[i - 1] ?? 0) + 1);
  const ids = all(root).flatMap((element) => attribute(element, 'id') ?? []);
  t.is(new Set(ids).size, ids.length);
  for (const element of all(root)) {
    const by = attribute(element, 'aria-labelledby');
    if (by !== null) t.true(ids.includes(by), by);
    if (element.tagName === 'svg')
      t.true(attribute(element, 'aria-hidden') === 'true' || Boolean(attribute(element, 'aria-label')));
    if (element.tagName === 'th') t.true(['col', 'row'].includes(attribute(element, 'scope')!));
    // What scrolls can be reached by keyboard, and says what it is.
    if (attribute(element, 'class') === 'scroll') {
      t.is(attribute(element, 'tabindex'), '0');
      t.true((attribute(element, 'aria-label') ?? attribute(element, 'aria-labelledby')) !== null);
    }
  }
  for (const table of all(root, 'table')) {
    const columns = all(all(table, 'thead')[0]!, 'th').length;
    for (const row of all(all(table, 'tbody')[0]!, 'tr'))
      t.is(all(row).filter(({ tagName }) => tagName === 'td' || tagName === 'th').length, columns);
  }
});

/** Relative luminance, WCAG 2.2. */
function luminance(color: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

test('colours: AA on both grounds of both themes, as the page has them', async (t) => {
  t.is(Math.round(contrast('#000000', '#ffffff')), 21);
  const style = textOf(all(page(await htmlReport(sampleReport())), 'style')[0]!);
  const found = [...style.matchAll(/:root\{(?:color-scheme:light dark;)?(--[^}]*)\}/g)].map(([, variables]) =>
    Object.fromEntries(variables!.split(';').map((pair) => pair.slice(2).split(':') as [string, string])),
  ) as unknown as Theme[];
  t.deepEqual(found, [light, dark]);
  for (const theme of found)
    for (const [name, color] of Object.entries(theme) as [keyof Theme, string][])
      for (const ground of [theme.ground, theme.surface])
        t.true(contrast(color, ground) >= leastContrast(name), `${name} ${color} on ${ground}`);
  // Colours come by these names alone.
  t.notRegex(style.replace(/--\w+:#[0-9a-f]{6}/g, ''), /#[0-9a-f]{3,8}\b|\brgb|\bhsl/i);
});

/** The text of a section. */
const section = (root: Element, id: string) =>
  textOf(all(root, 'section').find((own) => attribute(own, 'aria-labelledby') === id)!).replace(/\s+/g, ' ');

test('the five questions are answered from the page', async (t) => {
  const layers = [
    layerReport('good', { error: errors(0.01, 0.01, 0.0095) }),
    layerReport('bad', { error: errors(0.08, 0.09, 0.079), shape: [10, 100], samples: 100 }),
    layerReport('late', { error: errors(0.01, 0.06, 0.0095) }),
  ];
  const report = sampleReport({
    layers,
    skipped: [
      { name: 'table', reason: 'an embedding; "operators" may name Gather', bytes: 49e6, choice: true },
    ],
    calibration: {
      fit: { documents: null, samples: 900, tokens: null },
      holdout: { documents: null, samples: 100, tokens: null },
    },
    command: 'vertexq quantize in.onnx -o out.onnx --bits 4',
  });
  const root = page(await htmlReport(report));
  t.regex(section(root, 'good'), /6\.00 %error against float of the last layer/);
  t.regex(section(root, 'good'), /9\.00 %the largest: bad/);
  t.regex(
    section(root, 'hurt'),
    /bad\s*9\.00 %.*late\s*6\.00 %.*1\.00 % of its own: most comes from the layers before it.*good/s,
  );
  t.regex(section(root, 'data'), /Yes\. On rows that no fit saw, errors are 1\.05 times/);
  t.regex(
    section(root, 'data'),
    /1 of 3 fitted layers saw fewer than two rows an input, bad: for these 200 rows/,
  );
  t.regex(section(root, 'float'), /1 weight, 49\.0 MB: 50\.0 % of the output.*Gather/s);
  t.regex(section(root, 'more'), /9\.80 MB more are.*--override bad=bits:8.*--target-size 107800000/s);
  t.regex(section(root, 'again'), /vertexq quantize in\.onnx -o out\.onnx --bits 4/);
  t.regex(section(root, 'cost'), /438 MB.*98\.0 MB/s);

  const budget: CheckpointReport['budget'] = {
    ...{ target: { bytes: 100e6, of: 'files' }, bytes: 99e6, change: 0.4, bound: 0.4, gap: 0 },
    ...{ more: { bytes: 109e6, change: 0.3 }, overrides: [{ layers: ['bad'], bits: 8 }] },
    sensitivity: { how: 'estimated', unit: 'kl', rows: 100 },
  };
  const chosen = page(await htmlReport({ ...report, budget }));
  t.regex(
    section(chosen, 'more'),
    /With 109 MB instead of 99\.0 MB.*0\.300 nats of KL divergence.*instead of 0\.400 \(75\.0 % of it\)/s,
  );
  t.regex(section(chosen, 'again'), /"overrides"/);
});

test('reports of all kinds, and those with nothing in them, have no NaN, Infinity, null or undefined', async (t) => {
  const none = layerErrors({ calibration: null, holdout: null }, null, 0.1);
  const odd = layerErrors(
    { calibration: Infinity, holdout: NaN },
    { calibration: 0, holdout: Infinity },
    Infinity,
  );
  for (const report of [
    sampleReport({ layers: [] }),
    sampleReport({ layers: [], bytes: { before: 0, after: 0, weightsBefore: 0, weightsAfter: 0 } }),
    sampleReport({ layers: [layerReport('a', { error: none, samples: 0 })] }),
    sampleReport({ layers: [layerReport('a', { error: odd, seconds: NaN, storedBits: NaN })] }),
    sampleReport({ layers: [layerReport('a', { error: errors(0, 0, 0) })], seconds: 0 }),
    sampleCheckpointReport({ format: 'gguf:q4_k_m' }),
    sampleCheckpointReport({ format: 'onnx' }),
  ]) {
    const root = page(await htmlReport(report));
    t.notRegex(textOf(all(root, 'main')[0]!), /NaN|Infinity|null|undefined/);
    for (const { attrs } of all(all(root, 'main')[0]!))
      for (const { value } of attrs) t.notRegex(value, /NaN|Infinity|null|undefined/);
  }
});

test('300 layers of long names: less than 2 MB; of 5000 the worst, and it says so', async (t) => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      layerReport(`${'encoder.'.repeat(200)}${i}`, { error: errors(0.001 * (i + 1), 0.002 * (i + 1)) }),
    );
  const text = await htmlReport(sampleReport({ layers: many(300) }));
  t.true(Buffer.byteLength(text) < 2e6, String(Buffer.byteLength(text)));
  const large = await htmlReport(sampleReport({ layers: many(5000) }));
  t.true(Buffer.byteLength(large) < 4e6, String(Buffer.byteLength(large)));
  t.regex(large, /The 1500 of 5000 with the largest errors/);
});

test('what is ranked: the error that says most, the largest first; medians', (t) => {
  const layers = [
    layerReport('a', { error: errors(0.1, 0.2) }),
    layerReport('b', { error: errors(0.2, 0.1) }),
  ];
  t.is(measureOf(layers), 'againstFloat');
  t.deepEqual(
    rankedBy(layers, 'againstFloat').map(({ index }) => index),
    [0, 1],
  );
  t.deepEqual(
    rankedBy(layers, 'own').map(({ index }) => index),
    [1, 0],
  );
  t.is(
    measureOf([layerReport('a', { error: layerErrors({ calibration: 0.1, holdout: null }, null, 1) })]),
    'own',
  );
  t.is(
    measureOf([layerReport('a', { error: layerErrors({ calibration: null, holdout: null }, null, 1) })]),
    'weight',
  );
  t.deepEqual([median([]), median([3]), median([1, 9, 2]), median([4, 1])], [null, 3, 2, 2.5]);
});

test('whether data was enough goes by held-out errors and rows', (t) => {
  const of = (ratio: number, changes = {}) =>
    dataFacts([layerReport('a', { error: errors(0.1 * ratio, 0.1 * ratio, 0.1), ...changes })]).verdict;
  t.deepEqual(
    [1.1, 1.6, 2.5].map((ratio) => of(ratio)),
    ['enough', 'some', 'too little'],
  );
  t.is(of(1.1, { samples: 10 }), 'some');
  t.is(of(1, { samples: 0 }), 'no data');
  t.is(
    dataFacts([layerReport('a', { error: layerErrors({ calibration: 0.1, holdout: null }, null, 1) })])
      .verdict,
    'not known',
  );
});

test('a tenth more: layers in 8 bits, within it, none of which a better one could replace', (t) => {
  const layer = fc.record({
    bits: fc.integer({ min: 1, max: 8 }),
    shape: fc.tuple(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 64 })),
    own: fc.double({ min: 1e-4, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(layer, { maxLength: 12 }), fc.integer({ min: 0, max: 40_000 }), (given, after) => {
      const layers = given.map(({ own, ...rest }, i) =>
        layerReport(String(i), { ...rest, error: errors(own, own) }),
      );
      const bytes = { before: 1e6, after, weightsBefore: 1e5, weightsAfter: after };
      const { picks, bytes: more } = moreFacts(sampleReport({ layers, bytes }));
      t.true(picks.reduce((sum, pick) => sum + pick.bytes, 0) <= more && more <= 0.1 * after);
      const left = more - picks.reduce((sum, pick) => sum + pick.bytes, 0);
      for (const { layer: picked, left: rest, error } of picks) {
        t.true(picked.bits < 8);
        t.true(Math.abs(rest - error / 2 ** (8 - picked.bits)) < 1e-12);
      }
      // What would still fit is picked, up to eight.
      if (picks.length < 8)
        for (const other of layers)
          if (other.bits < 8 && !picks.some((pick) => pick.layer === other))
            t.true(Math.ceil((other.shape[0] * other.shape[1] * (8 - other.bits)) / 8) > left);
    }),
  );
});
