import { toBinary, create } from '@bufbuild/protobuf';
import { LayerRows } from '../../fit/layer-rows';
import type { LayerSettings } from '../../fit/layer-settings';
import { quantizeWeights } from '../../fit/quantize-weights';
import type { RowsKind } from '../../native/binding';
import { threadsFor } from '../../native/jobs';
import type { FitLayer } from '../../traversal/layer';
import {
  fitWork,
  type LayerWork,
  passesOf,
  type Rates,
  secondsBefore,
  secondsOfFit,
} from '../../traversal/work';
import type { JobOptions } from '../../types';
import { node, tensor, valueInfo } from '../../containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType as DataType,
} from '../../containers/onnx/onnx_pb';
import { loadSession, runSession } from '../runtime';

// How long a run takes on this machine, from small pieces of each kind of its work that are timed first.

/** Inputs, neurons, rows and passes of a piece. */
const most = { inputs: 512, neurons: 128, rows: 1024, heldOut: 128, passes: 4 };

/** Seconds of all that layers and `products` of other kinds take. */
export async function estimateSeconds(
  works: readonly LayerWork[],
  products: number,
  { threads, signal }: JobOptions,
): Promise<number> {
  const options = {
    threads: threadsFor(threads === undefined ? {} : { threads }),
    ...(signal && { signal }),
  };
  const perProduct = await timeProduct();
  const known = new Map<string, Promise<Omit<Rates, 'products'>>>();
  let seconds = products * perProduct;
  for (const work of works) {
    const { settings, inFeatures } = work.layer;
    const inputs = inputsFor(settings, inFeatures);
    const key = JSON.stringify([{ ...settings, groupSize: groupIn(settings, inputs) }, inputs, work.kind]);
    const timed = known.get(key) ?? timeFit(work.layer, work.kind, inputs, options);
    known.set(key, timed);
    const rates = { products: perProduct, ...(await timed) };
    seconds += secondsBefore(work, rates) + secondsOfFit(work, rates);
  }
  return seconds;
}

const groupIn = ({ groupSize }: LayerSettings, inputs: number) => Math.min(groupSize, inputs);

/** As many inputs as are enough, in whole groups where there are several. */
function inputsFor({ groupSize }: LayerSettings, inFeatures: number): number {
  const inputs = Math.min(inFeatures, most.inputs);
  return groupSize >= inputs ? inputs : inputs - (inputs % groupSize);
}

/** Seconds of one of the products that the runtime sums in a product of matrices: the first run is to get ready. */
export async function timeProduct(): Promise<number> {
  const [rows, width] = [most.rows, most.inputs];
  const graph = create(GraphProtoSchema, {
    name: 'product',
    node: [node('MatMul', ['x', 'w'], ['y'])],
    initializer: [tensor('w', [width, width], numbers(width * width, 1))],
    input: [valueInfo('x', DataType.FLOAT, [rows, width])],
    output: [valueInfo('y', DataType.FLOAT, [rows, width])],
  });
  const opsetImport = [create(OperatorSetIdProtoSchema, { domain: '', version: 17n })];
  const model = create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph });
  const session = await loadSession(toBinary(ModelProtoSchema, model), 'a product');
  try {
    const x = { data: numbers(rows * width, 2), dims: [rows, width] };
    const run = () => runSession(session, { x }, ['y'], 'a product');
    await run();
    const seconds = await timed(async () => {
      for (let i = 0; i < 3; i++) await run();
    });
    return seconds / 3 / (rows * width * width);
  } finally {
    await session.release();
  }
}

/** Sums and a fit of a layer like this one, of so many inputs. */
async function timeFit(
  layer: FitLayer,
  kind: RowsKind,
  inputs: number,
  options: JobOptions,
): Promise<Omit<Rates, 'products'>> {
  const neurons = Math.min(most.neurons, layer.outFeatures);
  const rowsOf = (rows: number, seed: number) => ({
    calibration: LayerRows.of(inputs, kind, options),
    own: numbers(rows * inputs, seed),
    float: kind === 'pairs' ? numbers(rows * inputs, seed + 1) : undefined,
  });
  const [data, held] = [rowsOf(most.rows, 3), rowsOf(most.heldOut, 5)];
  await held.calibration.add(held.own, held.float, options.signal);
  const sums = await timed(() => data.calibration.add(data.own, data.float, options.signal));
  const input = {
    ...{ name: layer.name, kind: layer.kind, weight: numbers(neurons * inputs, 7), outFeatures: neurons },
    ...{ inFeatures: inputs, calibration: data.calibration, holdout: held.calibration },
  };
  const settings = { ...layer.settings, groupSize: groupIn(layer.settings, inputs) };
  const fit = (passes: number) => timed(() => quantizeWeights(input, { ...settings, passes }, options));
  const passes = Math.min(most.passes, passesOf(layer));
  const first = await fit(passes > 0 ? 0 : settings.passes);
  const more = passes > 0 ? Math.max(0, (await fit(passes)) - first) / passes : 0;
  const steps = fitWork({ ...layer, inFeatures: inputs, outFeatures: neurons, groups: 1 });
  return { sums: sums / (most.rows * inputs ** 2), fit: first / steps, passes: more / steps };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** Numbers between −1 and 1 that look like none in particular. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
