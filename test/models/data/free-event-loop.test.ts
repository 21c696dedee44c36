import test from 'ava';
import { prepareCalibrationSet, type ModelInput } from '../../../lib/models/calibration-set';
import { node, tensor as constant } from '../../../lib/containers/onnx/make';
import { openModel } from '../../../lib/models/open-model';
import { ThreadedSession } from '../../../lib/models/threaded-session';
import type { CalibrationData } from '../../../lib/models/types';
import { holdsUp } from '../../event-loop';
import { bytesOf, files, float, network } from '../networks';

const input = (name: string, dims: ModelInput['dims'], type = 'float32'): ModelInput => ({
  name,
  dims,
  type,
});
const tensor = (dims: number[]) => ({ data: new Float32Array(dims.reduce((a, b) => a * b)).fill(1), dims });

const prepared = (data: CalibrationData, inputs: ModelInput[], batchAxis?: Record<string, number | null>) =>
  holdsUp(() => prepareCalibrationSet(data, { inputs, batchAxis }));

test.serial('trust item 4: batches that are gathered leave the event loop free', async (t) => {
  t.is(await prepared({ x: tensor([2 ** 12, 2 ** 13]) }, [input('x', ['n', 2 ** 13])]), null);
});

test.serial('trust item 4: many samples leave the event loop free', async (t) => {
  t.is(await prepared({ x: tensor([2 ** 21, 1]) }, [input('x', ['n', 1])]), null, 'in one piece');
  t.is(await prepared({ x: tensor([2 ** 15, 1, 2]) }, [input('x', [1, 2])]), null, 'stacked');
});

test.serial('trust item 4: what all samples share leaves the event loop free', async (t) => {
  const inputs = [input('x', ['n', 4]), input('shared', ['m'])];
  t.is(await prepared({ x: tensor([8, 4]), shared: tensor([2 ** 26]) }, inputs, { shared: null }), null);
});

test.serial('trust item 4: truth values in an array leave the event loop free', async (t) => {
  const data = new Array<boolean>(2 ** 23).fill(true);
  const given = { x: { data, dims: [2 ** 13, 2 ** 10] } } as unknown as CalibrationData;
  t.is(await prepared(given, [input('x', ['n', 2 ** 10], 'bool')]), null);
});

test.serial('trust item 4: what a network is fed leaves the event loop free', async (t) => {
  const identity = network({
    nodes: [node('ReduceMax', ['x'], ['y'])],
    constants: [],
    inputs: [float('x', ['n'])],
    outputs: [float('y')],
  });
  const session = await ThreadedSession.load(Uint8Array.from(bytesOf(identity)), 'the network');
  const x = { ...tensor([2 ** 25]), type: 'float32' };
  t.is(await holdsUp(() => session.run({ x }, ['y'])), null);
  await session.release();
});

test.serial('trust item 4: computed weights leave the event loop free', async (t) => {
  const dims = [2 ** 23, 2];
  const nodes = [
    node('Neg', ['w'], ['m']),
    node('ReduceMean', ['m'], ['r'], { attributes: { axes: [1n], keepdims: 1n } }),
    node('Concat', ['w', 'm'], ['c'], { attributes: { axis: 0n } }),
    ...['m', 'r', 'c'].map((name) => node('MatMul', ['x', name], [`x${name}`])),
  ];
  const outputs = [float('xm'), float('xr'), float('xc')];
  const { input: path } = files(
    t,
    network({ nodes, constants: [constant('w', dims, tensor(dims).data)], outputs }),
  );
  const { graph, weights } = await openModel(path);
  for (const name of ['m', 'r', 'c'])
    t.is(await holdsUp(() => weights.floats(graph.constant(name)!.tensor)), null, name);
});
