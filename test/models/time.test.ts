import test from 'ava';
import { join } from 'node:path';
import { type ModelOptions, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { runFake } from '../cli/fake';
import { temporaryFolder } from '../files/temporary-folder';
import { feed, files, float, network, random } from './networks';

const model = network({
  nodes: [node('MatMul', ['x', 'a'], ['r']), node('Tanh', ['r'], ['s']), node('MatMul', ['s', 'b'], ['y'])],
  constants: ['a', 'b'].map((name, i) => tensor(name, [32, 32], random(1024, i + 1))),
  inputs: [float('x', ['batch', 32])],
  outputs: [float('y', ['batch', 32])],
});
const calibration = [feed([200, 32], 1)];

test('as many passes as the time allows: what they make is what so many make without a clock', async (t) => {
  const { input } = files(t, model);
  const folder = temporaryFolder(t);
  const run = async (name: string, options: ModelOptions) => {
    const output = join(folder, name);
    const report = await quantizeModel(input, output, { calibration, bits: 3, ...options });
    const passes = report.layers.map((layer) => layer.passes);
    // Without what it says of its options.
    const told = report.provenance && JSON.stringify(report.provenance.options);
    return { report, passes, told };
  };
  const none = await run('none.onnx', { time: 1e-6 });
  const walk = await run('walk.onnx', { effort: 0 });
  t.deepEqual(none.passes, [0, 0]);
  t.deepEqual(none.report.warnings.filter((text) => text.includes('WARN_VERTEXQ_OVER_TIME')).length, 1);
  const errors = ({ report }: typeof walk) => report.layers.map(({ error }) => error.holdout);
  t.deepEqual(errors(none), errors(walk));
  // More than there can be use of.
  const much = await run('much.onnx', { time: 24 * 3600 });
  const many = await run('many.onnx', { effort: 1024 });
  t.deepEqual(much.passes, [1024, 1024]);
  t.deepEqual(errors(much), errors(many));
  t.deepEqual(much.report.warnings, many.report.warnings);
  t.regex(much.told, /"time":86400/);
});

for (const [options, message] of [
  [{ time: 60, effort: 3 }, /"time" and "effort" exclude each other/],
  [
    { time: 60, method: 'gptq' },
    /"time" option belongs to the method "vertex": the method "gptq" makes no passes/,
  ],
  [{ time: 60, preset: 'fast' }, /"time" option belongs to the method "vertex"/],
  [{ time: 60, calibration: undefined }, /"time" option is about fits to "calibration" data/],
  [{ time: 0 }, /"time" option to be seconds, above 0, not 0/],
] as const)
  test(`a time that cannot be is refused: ${JSON.stringify(options)}`, async (t) => {
    const { input, output } = files(t, model);
    const given: Record<string, unknown> = { calibration, ...options };
    if (given['calibration'] === undefined) delete given['calibration'];
    await t.throwsAsync(quantizeModel(input, output, given), { message });
  });

test('on a command line a time is typed as people do', async (t) => {
  const timeOf = async (typed: string) => {
    const { calls, stderr } = await runFake(['quantize', 'in.onnx', '-o', 'out.onnx', '--calibration', 'x.npz', '--time', typed]); // prettier-ignore
    return calls[0]?.options?.time ?? stderr;
  };
  for (const [typed, seconds] of [
    ['90', 90],
    ['90s', 90],
    ['30m', 1800],
    ['1h30m', 5400],
    ['1.5H', 5400],
    ['2d', 172_800],
  ] as const)
    // prettier-ignore
    t.is(await timeOf(typed), seconds);
  for (const typed of ['soon', '5 m', '-3m', '3x', 'm'])
    t.regex(String(await timeOf(typed)), /Expected a time, such as 90s, 30m or 1h30m/, typed);
});
