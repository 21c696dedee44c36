import test from 'ava';
import { meanErrors } from '../../lib/compare/run-errors';
import { layerErrors, noErrors } from '../../lib/fit/layer-errors';
import { comparisonTable } from '../../lib/reports/comparison-table';
import { errorPlot } from '../../lib/reports/error-plot';
import { comparedRun, layerReport, sampleComparison } from './samples';
import { warn } from '../../lib/warning-codes';

const plain = { color: false };

test('the table has a run a line, the layers by method, and who was best', (t) => {
  const text = comparisonTable(sampleComparison(), plain);
  t.regex(
    text,
    /^method +bits +output +cosine +own +against float +weights +time\nvertex +2 +20\.0 % +0\.90000 +4\.56 % +5\.67 %/,
  );
  t.regex(text, /\nlayer, 2 bits, against float +vertex +msq\nfirst +5\.67 % +5\.67 %\nsecond/);
  t.regex(text, /\n4 runs in 1 min 23 s\n/);
  t.regex(text, /\n2 bits, output error on held-out samples: vertex 20\.0 %, msq 50\.0 %\n/);
  t.regex(text, /\n4 bits, output error on held-out samples: vertex 2\.00 %, msq 4\.00 %$/);
});

test('what there is none of is left out or a dash; warnings and skipped layers are told once', (t) => {
  const error = layerErrors({ calibration: 0.01, holdout: null }, null, 0.1);
  const layers = [layerReport('layer', { error, warnings: ['few [WARN_VERTEXQ_FEW_ROWS]'] })];
  const run = comparedRun({ layers, output: null, ...meanErrors(layers) });
  const runs = [run, { ...run, method: 'msq' as const }];
  const text = comparisonTable(
    sampleComparison({
      runs,
      bits: [4],
      warnings: ['mind [WARN_VERTEXQ_NO_DATA]'],
      skipped: [{ name: 'a\u001b', reason: 'r', bytes: 8, choice: false }],
    }),
    plain,
  );
  t.notRegex(text, /cosine|output|layer, 4 bits|against float/);
  t.regex(text, /4 bits, layers' own error on calibration samples: vertex 1\.00 %/);
  t.regex(text, /1 weight left as it is: a\\x1b \(r\)/);
  t.regex(text, /warning: mind \[WARN_VERTEXQ_NO_DATA\]\nwarning: layer: few \[WARN_VERTEXQ_FEW_ROWS\]$/);
  const many = layerReport('layer', {
    warnings: [1, 2, 3, 4, 5, 6].map((i) => warn('WARN_VERTEXQ_FEW_ROWS', `${i}`)),
  });
  const folded = comparisonTable(sampleComparison({ runs: [comparedRun({ layers: [many] })] }), plain);
  t.regex(
    folded,
    /warning: layer: 4 \[WARN_VERTEXQ_FEW_ROWS\]\n {2}… and 2 more of single layers, all of them in the JSON$/,
  );
  const scored = comparisonTable(
    sampleComparison({ score: 0.9832, runs: [comparedRun({ score: 0.97 })], bits: [4] }),
    plain,
  );
  t.regex(scored, /score \(float 0\.9832\)/);
  t.regex(scored, /0\.9700/);
  const half = [layerReport('first'), layerReport('dead', { error: layerErrors(noErrors, noErrors, 0) })];
  const dead = comparedRun({ layers: half, ...meanErrors(half), output: null });
  t.regex(
    comparisonTable(sampleComparison({ runs: [dead], bits: [4] }), plain),
    / 4\.56 % \(1 of 2\) +5\.67 % \(1 of 2\) /,
  );
  for (const width of [20, 40, 60, 80])
    t.true(comparisonTable(sampleComparison(), { color: false, width }).includes('vertex'));
});

test('the plot is an SVG with a line for each method, whatever the numbers', (t) => {
  const svg = errorPlot(sampleComparison({ input: '/path/<b>&"x\u0007.onnx' }));
  t.regex(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /);
  t.regex(svg, /&lt;b&gt;&amp;&quot;x�\.onnx: output error on held-out samples/);
  t.is(svg.match(/<g fill="#/g)?.length, 2);
  t.true(svg.includes('>20 %<') && svg.includes('>size of the quantized weights<'));
  for (const method of ['vertex', 'msq']) t.regex(svg, new RegExp(`<text [^>]*>${method}</text>`));
  for (const errors of [
    [0, 0],
    [1e-12, 1e3],
    [0.5, 0.5],
    [0.1, 0.1000001],
    [Infinity, 0.1],
    [1, 1],
    [1e-300, 1e-9],
  ])
    for (const bits of [[2, 4], [4]]) {
      const made = errorPlot(
        sampleComparison({
          bits,
          runs: bits.map((width, i) =>
            comparedRun({ bits: width, output: { error: errors[i]!, cosine: 1, rows: 1 } }),
          ),
        }),
      );
      t.notRegex(made, /NaN|Infinity|undefined/);
      for (const [, y] of made.matchAll(/c?y="(-?[\d.]+)"/g)) t.true(Number(y) >= 0 && Number(y) <= 400);
    }
});
