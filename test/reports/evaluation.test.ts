import test from 'ava';
import { evaluationTable } from '../../lib/reports/evaluation-table';
import { sampleEvaluation } from './samples';

const plain = { color: false };

test('an output a line, then sizes, latencies and warnings', (t) => {
  const [output] = sampleEvaluation().outputs;
  const labels = { ...output!, name: 'label', type: 'int64', rows: 0 };
  const integers = { ...labels, cosine: null, error: null, sqnrDb: null, maxError: null, agreement: 1 };
  const lines = evaluationTable(
    sampleEvaluation({
      outputs: [output!, integers],
      score: { float: 0.9832, quantized: 0.97 },
      warnings: ['mind\u001b [WARN_VERTEXQ_NO_DATA]'],
    }),
    plain,
  ).split('\n');
  t.deepEqual(
    lines.map((line) => line.replace(/ {2,}/g, '  ')),
    [
      'output  type  rows  cosine  error  SQNR  largest error  same answer',
      'logits  float32  500  0.99876  5.00 %  26.0 dB  0.313  98.40 %',
      'label  int64  0  –  –  –  –  100.00 %',
      '',
      '500 samples in 3.2 s',
      'size:  438 MB → 98.0 MB (4.5×)',
      'latency: 12.3 ms [12.0 ms, 12.5 ms] → 5.00 ms [4.90 ms, 1.2 s] (32 samples; median and middle half of 10 runs)',
      'score:  0.98320 → 0.97000',
      'warning: mind\\x1b [WARN_VERTEXQ_NO_DATA]',
    ],
  );
});

test('what there is none of is left out or a dash; infinite errors are told', (t) => {
  const [output] = sampleEvaluation().outputs;
  const broken = { ...output!, error: Infinity, maxError: Infinity, sqnrDb: null, agreement: null };
  const text = evaluationTable(sampleEvaluation({ outputs: [broken], latency: null }), plain);
  t.regex(text, /logits .*∞ % +– +∞ +–\n/);
  t.notRegex(text, /latency|score|warning/);
});
