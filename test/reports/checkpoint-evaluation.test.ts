import test from 'ava';
import { checkpointEvaluationTable, formatEstimate } from '../../lib/reports/checkpoint-evaluation-table';
import { sampleCheckpointEvaluation } from './checkpoint-samples';

test('a checkpoint a line, the float one first, then the worst documents and warnings', (t) => {
  const lines = checkpointEvaluationTable(sampleCheckpointEvaluation(), { color: false }).split('\n');
  t.deepEqual(
    lines.map((line) => line.replace(/ {2,}/g, '  ')),
    [
      'checkpoint  size  perplexity  × float  KL  99.9 %  same token',
      'float  269 MB  38.0 ± 1.2',
      'out  93.0 MB  41.2 ± 1.3  1.0830 ± 0.0041  0.1140 ± 0.0021  1.23  84.3 % ± 0.310 %',
      '',
      '4000 tokens of 5 documents in windows of up to 512, in 12.5 s',
      'documents farthest from the float model: 1 (KL 0.3, 800 tokens), 2 (KL 0.2, 800 tokens), 3 (KL 0.15, 800 tokens)',
      'warning: mind\\x1b [WARN_VERTEXQ_NO_DATA]',
    ],
  );
});

test('an estimate has the digits that its error leaves any sense in', (t) => {
  t.is(formatEstimate({ mean: 38.04321, standardError: null }), '38.043');
  t.is(formatEstimate({ mean: 0, standardError: 0 }), '0');
  t.is(formatEstimate({ mean: 12345.6, standardError: 250 }), '12346 ± 250');
  t.is(formatEstimate({ mean: 0.000123456, standardError: 0.0000021 }), '0.0001235 ± 0.0000021');
});
