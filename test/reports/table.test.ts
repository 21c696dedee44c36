import test from 'ava';
import { stripVTControlCharacters } from 'node:util';
import { layerErrors, noErrors } from '../../lib/fit/layer-errors';
import type { InspectedLayer } from '../../lib/models/types';
import { inspectionTable, layerSummary, layerTable } from '../../lib/reports/table';
import type { LayerReport } from '../../lib/types';
import { layerReport, sampleInspection, sampleReport } from './samples';
import { warn } from '../../lib/warning-codes';

const lines = (text: string) => text.split('\n');

test('a line for each layer, and totals', (t) => {
  const [totals, , head, first, second, legend, empty, ...rest] = lines(
    layerTable(sampleReport(), { color: false }),
  );
  t.deepEqual(head!.split(/ {2,}/), [
    'layer', 'shape', 'method', 'bits', 'stored', 'group', 'samples', 'rank', 'off alphabet', 'own', 'against float', 'SQNR', 'size', 'time',
  ]); // prettier-ignore
  t.deepEqual(first!.split(/ {2,}/), [
    '/encoder/layer.0/query/MatMul', '768×3072', 'maly-saab', '4', '4.50', '32', '18000', '2100', '1834 (59.7 %)', '4.56 %', '5.67 %',
    '26.8 dB', '9.44 MB → 1.33 MB', '12.3 s',
  ]); // prettier-ignore
  t.true(second!.startsWith('/encoder/layer.0/key/MatMul  '));
  // Numbers are aligned to the right.
  t.is(head!.indexOf('SQNR') + 4, first!.indexOf('26.8 dB') + 7);
  t.regex(legend!, /^own: error of the layer alone.*; against float: .* \(on held-out rows\)$/);
  t.is(empty, '');
  t.is(totals, '2 layers: file 438 MB → 98.0 MB (4.5×); weights 340 MB → 48.0 MB (7.1×); in 1 min 23 s');
  t.deepEqual(
    rest.map((line) => line.split(/ {2,}/)),
    [
      ['what', 'count', 'before', 'after', 'ratio'],
      ['quantized', '2', '340 MB', '48.0 MB', '7.1×'],
      ['all else', '98.0 MB', '50.0 MB', '2.0×'],
      ['whole', '2', '438 MB', '98.0 MB', '4.5×'],
    ],
  );
});

test('what is not known is a dash', (t) => {
  const report = sampleReport({
    layers: [layerReport('x', { error: layerErrors(noErrors, noErrors, 0), sqnrDb: null }), layerReport('y')],
  });
  t.regex(layerTable(report, { color: false }), /^x .* – +– +– /m);
});

test('without data the errors of the weights are shown, of layers by themselves their own alone', (t) => {
  const tableOf = (error: LayerReport['error']) =>
    layerTable(sampleReport({ layers: [layerReport('x', { error })] }), { color: false });
  const rounded = tableOf(layerErrors(noErrors, null, 0.0712));
  t.regex(rounded, / weight error +SQNR/);
  t.regex(rounded, /^x .* 7\.12 % /m);
  t.notRegex(rounded, /own|float:/);
  const alone = tableOf(layerErrors({ calibration: 0.0123, holdout: null }, null, 0.0712));
  t.regex(alone, / off alphabet +own +SQNR/);
  t.regex(alone, /^x .* 1\.23 % /m);
  t.regex(alone, /^own: .*, on the inputs that it sees \(on the rows of the fit: none were held out\)$/m);
});

test('what is off the alphabet is told of the walk alone', (t) => {
  const tableOf = (...methods: string[]) =>
    lines(
      layerTable(sampleReport({ layers: methods.map((method) => layerReport(method, { method })) }), {
        color: false,
      }),
    ).slice(2);
  for (const method of ['vertex', 'gptq', 'gpfq', 'msq']) {
    t.notRegex(tableOf(method)[0]!, /off alphabet/);
    t.notRegex(tableOf(method)[1]!, /59.7 %/);
  }
  const [head, walked, other] = tableOf('maly-saab', 'vertex');
  const end = head!.indexOf('off alphabet') + 'off alphabet'.length;
  t.is(walked!.slice(0, end).split(/ {2,}/).at(-1), '1834 (59.7 %)');
  t.regex(other!.slice(0, end), / –$/);
});

test('a layer that fell back says to what, and from what', (t) => {
  const fell = layerReport('x', {
    method: 'msq',
    fellBackFrom: 'vertex',
    warnings: ['plain rounding [WARN_VERTEXQ_FELL_BACK]'],
  });
  const table = layerTable(sampleReport({ layers: [fell, layerReport('y', { method: 'vertex' })] }), {
    color: false,
  });
  t.regex(table, /^x +768×3072 +msq, not vertex +4 /m);
  t.regex(table, /^y +768×3072 +vertex +4 /m);
  t.regex(table, /warning: x: plain rounding/);
});

test('lines fit the terminal', (t) => {
  const names = Array.from(
    { length: 5 },
    (_, i) => `/model/encoder/layer.${i}/attention/self/${'query'.repeat(i)}/MatMul`,
  );
  const report = sampleReport({
    layers: names.map((name, i) => layerReport(name, { rank: 100 + i, seconds: i })),
  });
  for (const width of [200, 150, 120, 100, 80, 60, 45]) {
    const table = lines(layerTable(report, { color: false, width })).slice(2, 9);
    const start = table.findIndex((line) => line.startsWith('layer '));
    for (const line of table.slice(start)) t.true(line.length <= width, `${width}: ${line}`);
    t.regex(table[start]!, /own +against float/);
    const shown = table.slice(start + 1, start + 6).map((line) => line.split('  ')[0]);
    t.is(new Set(shown).size, 5, `names can be told apart: ${shown.join()}`);
  }
  const [, , common] = lines(layerTable(report, { color: false, width: 80 }));
  t.regex(common!, /shape 768×3072, .*group 32, samples 18000/);
});

test('colours only if asked for', (t) => {
  const report = sampleReport({ warnings: ['w [WARN_VERTEXQ_NO_DATA]'] });
  const [plain, colored] = [false, true].map((color) => layerTable(report, { color }));
  // eslint-disable-next-line no-control-regex
  t.notRegex(plain!, /\x1b/);
  // eslint-disable-next-line no-control-regex
  t.regex(colored!, /\x1b\[33mwarning:/);
  t.is(stripVTControlCharacters(colored!), plain!);
});

test('weights that were left, by reason: the names of those that could not be quantized', (t) => {
  const skipped = [
    ...Array.from({ length: 9 }, (_, i) => ({
      name: `conv${i}`,
      reason: 'no room',
      bytes: 1e6,
      choice: false,
    })),
    { name: 'x\x1b[2J', reason: 'an odd\x1b name', bytes: 8, choice: false },
    { name: 'embedding', reason: 'an embedding', bytes: 5e7, choice: true },
  ];
  const text = layerSummary(sampleReport({ skipped }), { color: false });
  t.deepEqual(
    lines(text).map((line) => line.replace(/ {2,}/g, '  ')),
    [
      '2 layers: file 438 MB → 98.0 MB (4.5×); weights 340 MB → 48.0 MB (7.1×); in 1 min 23 s',
      '',
      'what  count  before  after  ratio',
      'quantized  2  340 MB  48.0 MB  7.1×',
      'left by choice: an embedding  1  50.0 MB  50.0 MB  1.0×',
      'could not be quantized: no room  9  9.00 MB  9.00 MB  1.0×',
      'could not be quantized: an odd\\x1b name  1  8 B  8 B  1.0×',
      'all else  39.0 MB  -9.00 MB',
      'whole  13  438 MB  98.0 MB  4.5×',
      '',
      '10 weights could not be quantized and are as they were:',
      '  no room: conv0, conv1, conv2, conv3, conv4, conv5 and 3 more',
      '  an odd\\x1b name: x\\x1b[2J',
    ],
  );
});

test('equal warnings are told once, and many are folded', (t) => {
  const layers = ['a', 'b', 'c'].map((name) =>
    layerReport(name, {
      warnings: [
        'few rows [WARN_VERTEXQ_FEW_ROWS]',
        `only ${name} [WARN_VERTEXQ_OVERFIT]`,
        'few rows [WARN_VERTEXQ_FEW_ROWS]',
      ],
    }),
  );
  t.deepEqual(
    lines(
      layerSummary(
        sampleReport({ layers, warnings: ['w [WARN_VERTEXQ_NO_DATA]', 'w [WARN_VERTEXQ_NO_DATA]'] }),
        { color: false },
      ),
    ).slice(7),
    [
      'warning: w [WARN_VERTEXQ_NO_DATA]',
      'warning: a, b, c: few rows [WARN_VERTEXQ_FEW_ROWS]',
      'warning: a: only a [WARN_VERTEXQ_OVERFIT]',
      'warning: b: only b [WARN_VERTEXQ_OVERFIT]',
      'warning: c: only c [WARN_VERTEXQ_OVERFIT]',
    ],
  );
  const warnings = Array.from({ length: 100 }, (_, i) => warn('WARN_VERTEXQ_NO_EFFECT', `${i}`));
  const folded = lines(layerSummary(sampleReport({ warnings }), { color: false })).slice(7);
  t.is(folded.length, 21);
  t.is(folded[20], '  … and 80 more, all of them in the JSON report');
});

test('warnings of layers that differ in numbers alone are one line, with the worst', (t) => {
  const layers = [2.1, 14, 3.5, 2.1, 2].map((times, i) =>
    layerReport(`l${i}`, {
      warnings: [
        `${times} times the error of 7 rows [WARN_VERTEXQ_OVERFIT]`,
        ...(i === 2 ? ['none [WARN_VERTEXQ_FEW_ROWS]' as const] : []),
      ],
    }),
  );
  t.deepEqual(
    lines(
      layerSummary(
        sampleReport({
          layers,
          warnings: ['1 file [WARN_VERTEXQ_NO_DATA]', '2 file [WARN_VERTEXQ_NO_DATA]'],
        }),
        { color: false },
      ),
    ).slice(7),
    [
      'warning: 1 file [WARN_VERTEXQ_NO_DATA]',
      'warning: 2 file [WARN_VERTEXQ_NO_DATA]',
      'warning: l1, l2, l0, l3, l4, the worst first: 14 times the error of 7 rows [WARN_VERTEXQ_OVERFIT]',
      'warning: l2: none [WARN_VERTEXQ_FEW_ROWS]',
    ],
  );
});

test('a report without layers, and one of thousands', (t) => {
  t.is(lines(layerTable(sampleReport({ layers: [] }), { color: false })).length, 6);
  const layers = Array.from({ length: 3000 }, (_, i) => layerReport(`layer${i}`));
  t.is(lines(layerTable(sampleReport({ layers }), { color: false, width: 80 })).length, 3010);
  const most = inspectionTable(
    sampleInspection({ layers: new Array<InspectedLayer>(200_000).fill(sampleInspection().layers[0]!) }),
    { color: false, width: 80 },
  );
  t.true(lines(most).includes('… and 195000 more, all of them in the JSON'));
  t.regex(most, /200000 layers can be quantized/);
});

test('an inspection', (t) => {
  t.is(
    inspectionTable(sampleInspection(), { color: false }),
    `in.onnx: ONNX IR 8, opset ai.onnx 17, from pytorch 2.4
  input   ids  int64[batch, ?, 3]
  output  logits  float32[batch, 10]

layer       operator   shape  parameters     size  weight
/fc/MatMul  MatMul    10×300        3000  12.0 kB  fc.weight

1 layer can be quantized: 12.0 kB of 20.0 kB (60.0 %)
Other weights, 4.10 kB: 2 of Gather (4.10 kB)`,
  );
  const none = inspectionTable(sampleInspection({ layers: [], others: [], producer: '' }), { color: false });
  t.regex(none, /0 layers can be quantized/);
  t.notRegex(none, /Other weights|from/);
});

test('errors under weights of rows are a column where rows have some', (t) => {
  const weighted = { calibration: 0.02, holdout: 0.0345, effectiveRows: 1234.4 };
  const layers = [layerReport('x', { weighted }), layerReport('y')];
  const table = layerTable(sampleReport({ layers }), { color: false });
  t.regex(table, /against float +weighted +effective/);
  t.regex(table, /^x .*3\.45 % +1,?234/m);
  t.notRegex(layerTable(sampleReport({}), { color: false }), /weighted/);
});
