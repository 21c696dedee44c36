import test from 'ava';
import { latencyHints, unpackedEachRun } from '../../lib/evaluate/unpacked';
import { evaluationTable } from '../../lib/reports/evaluation-table';
import { node } from '../../lib/containers/onnx/make';
import { sampleEvaluation } from '../reports/samples';

const of = (median: number) => ({ median, lower: median, upper: median });

test('operators whose weights are unpacked at each run are named; products are not among them', (t) => {
  const nodes = [
    node('DequantizeLinear', ['w', 's'], ['wf'], {}),
    node('DequantizeLinear', ['v', 's'], ['vf'], {}),
    node('Conv', ['x', 'wf'], ['y'], {}),
    node('MatMul', ['y', 'vf'], ['z'], {}),
    node('Conv', ['z', 'plain'], ['u'], {}),
  ];
  t.deepEqual(unpackedEachRun(nodes), ['Conv']);
  t.deepEqual(unpackedEachRun(nodes.slice(3)), []);
});

test('eval says why a quantized network is slower, and the session option that changes it', (t) => {
  const [hint] = latencyHints(['Conv', 'LSTM'], { float: of(1.59), quantized: of(4.91) });
  t.regex(hint!, /Conv, LSTM .*disable_quant_qdq: '1'/);
  t.regex(
    evaluationTable(sampleEvaluation({ hints: [hint!] }), { color: false, width: 100 }),
    /disable_quant_qdq/,
  );
  t.deepEqual(latencyHints(['Conv'], { float: of(1.59), quantized: of(1.6) }), []);
  t.deepEqual(latencyHints([], { float: of(1.59), quantized: of(4.91) }), []);
  t.deepEqual(latencyHints(['Conv'], null), []);
});
