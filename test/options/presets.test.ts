import test from 'ava';
import { checkCheckpointOptions } from '../../lib/checkpoints/checkpoint-options';
import { checkModelOptions } from '../../lib/models/model-options';
import { mostPasses } from '../../lib/methods';
import { presetNames, presets } from '../../lib/options/presets';
import { runFake } from '../cli/fake';

const calibration = [{ x: { data: new Float32Array(8), dims: [2, 4] } }];

test('a preset is a method and its passes, for networks and checkpoints', (t) => {
  const passes = { fast: -1, balanced: -1, best: 128 };
  for (const preset of presetNames) {
    const { method } = presets[preset];
    t.like(checkModelOptions({ calibration, preset }), { method, passes: passes[preset] }, preset);
    const { options } = checkCheckpointOptions({ calibration: 'texts.txt', preset });
    t.like(options, { method, effort: passes[preset] === -1 ? options.effort : passes[preset] }, preset);
  }
  t.is(presets.best.effort, mostPasses);
});

test('the default is balanced', (t) => {
  const { method, passes } = checkModelOptions({ calibration });
  t.like(checkModelOptions({ calibration, preset: 'balanced' }), { method, passes });
});

test('what is given besides a preset wins, and a method that has no passes gets none', (t) => {
  t.like(checkModelOptions({ calibration, preset: 'best', effort: 3 }), { method: 'vertex', passes: 3 });
  t.like(checkModelOptions({ calibration, preset: 'best', method: 'gptq' }), { method: 'gptq', passes: -1 });
  t.like(checkModelOptions({ calibration, preset: 'fast', method: 'vertex' }), {
    method: 'vertex',
    passes: -1,
  });
});

test('a preset without data is refused', (t) => {
  for (const refused of [
    () => checkModelOptions({ preset: 'fast' }),
    () => checkCheckpointOptions({ preset: 'best' }),
  ])
    t.throws(refused, { instanceOf: RangeError, message: /"preset" option is about fits to data/ });
});

test('--preset names the three', async (t) => {
  const { calls, code } = await runFake(['quantize', 'a.onnx', '-o', 'b.onnx', '--preset', 'fast']);
  t.is(code, 0);
  t.is(calls[0]?.options?.preset, 'fast');
  const wrong = await runFake(['quantize', 'a.onnx', '-o', 'b.onnx', '--preset', 'slow']);
  t.is(wrong.code, 2);
  t.regex(wrong.stderr, /fast, balanced, best/);
});
