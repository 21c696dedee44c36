import { InferenceSession, Tensor } from 'onnxruntime-node';
import { Sweep, type SweepTask } from '../../../lib/models/curvature/sweep';
import { askedOf } from '../../../lib/models/curvature/asked';
import { findLayers } from '../../../lib/models/layers/find-layers';
import { isSeen, type Layer } from '../../../lib/models/layers/layer';
import { Graph } from '../../../lib/containers/onnx/graph';
import { node, valueInfo } from '../../../lib/containers/onnx/make';
import { type ModelProto, TensorProto_DataType as DataType } from '../../../lib/containers/onnx/onnx_pb';
import { shallowCopy } from '../../../lib/containers/onnx/shallow-copy';
import { Weights } from '../../../lib/containers/onnx/weights';
import type { OpenModel } from '../../../lib/models/open-model';
import type { Feeds } from '../../../lib/models/types';
import { binding } from '../../../lib/native/binding';
import { finish } from '../../../lib/native/jobs';
import { Workspace } from '../../../lib/runs/workspace';
import { bytesOf } from '../networks';

/** A network that is in memory alone. */
export function opened(model: ModelProto): OpenModel {
  const graph = new Graph(model, 'test.onnx');
  return {
    file: 'test.onnx',
    size: 0,
    used: 0,
    dataFiles: [],
    model,
    graph,
    weights: new Weights('test.onnx', ''),
  };
}

export const layersOf = ({ graph }: OpenModel): Layer[] => findLayers(graph).layers.filter(isSeen);

/** What the sweep gives for each layer and batch. */
export async function swept(
  folder: string,
  task: Omit<SweepTask<Layer>, 'workspace' | 'memory'>,
  { threads = 2, memory = 2 ** 20 } = {},
) {
  const workspace = new Workspace(`${folder}/output`);
  const sweep = new Sweep<Layer>({ ...task, workspace, memory }, { threads });
  try {
    await sweep.run();
    const squares = new Map<string, Float32Array[]>();
    for (const layer of task.layers) {
      const own: Float32Array[] = [];
      for (const batch of task.feeds.keys()) {
        const found = await sweep.toldOf(layer, batch);
        if (found) own.push(found.slice());
      }
      squares.set(layer.name, own);
    }
    const reasons = new Map([...sweep.reasons].map(([layer, reason]) => [layer.name, reason]));
    return { squares, reasons };
  } finally {
    await workspace.end();
  }
}

/** Runs a network that adds `delta` to the first output of a node. */
class Moved {
  private constructor(
    private readonly session: InferenceSession,
    private readonly feeds: Feeds,
    private readonly asked: readonly string[],
    readonly dims: readonly number[],
  ) {}

  static async of(model: ModelProto, layer: Layer, feeds: Feeds, asked: readonly string[]): Promise<Moved> {
    const value = layer.node.output[0]!;
    const copy = shallowCopy(model);
    copy.graph = shallowCopy(model.graph!);
    const own = shallowCopy(layer.node);
    own.output = ['own/of/it', ...layer.node.output.slice(1)];
    copy.graph.node = model.graph!.node.flatMap((before) =>
      before === layer.node
        ? [own, node('Add', ['own/of/it', 'delta'], [value], { name: 'moved' })]
        : [before],
    );
    copy.graph.input = [...model.graph!.input, valueInfo('delta', DataType.FLOAT)];
    const outputs = [...new Set([...asked, 'own/of/it'])];
    copy.graph.output = outputs.map((name) => valueInfo(name, DataType.FLOAT));
    const session = await InferenceSession.create(bytesOf(copy), { logSeverityLevel: 3 });
    const one = new Moved(session, feeds, asked, [1]);
    const { dims } = (await one.run(new Float32Array(1), ['own/of/it']))[0]!;
    return new Moved(session, feeds, asked, dims);
  }

  async run(delta: Float32Array, names: readonly string[] = this.asked): Promise<Tensor[]> {
    const feeds = Object.fromEntries(
      Object.entries(this.feeds).map(([name, { data, dims, type }]) => [
        name,
        new Tensor(type as 'float32', data as Float32Array, dims),
      ]),
    );
    const made = await this.session.run({ ...feeds, delta: new Tensor('float32', delta, this.dims) }, [
      ...names,
    ]);
    return names.map((name) => made[name]!);
  }
}

/**
 * The mean square gradient of each of some rows of a layer in a batch by central differences; `entriesOf`: where the products of a row are in the
 * layer's output. The seeds and places of what is drawn are those of the sweep, whose batches before had `before` rows of outputs.
 */
export async function byDifferences(
  model: ModelProto,
  layer: Layer,
  feeds: Feeds,
  { before = 0, draws = 1, rows }: { before?: number; draws?: number; rows: number[] },
  entriesOf: (row: number, dims: readonly number[]) => number[],
  step = 0.02,
): Promise<number[]> {
  const asked = askedOf(new Graph(model, 'test.onnx'));
  const moved = await Moved.of(
    model,
    layer,
    feeds,
    asked.map(({ value }) => value),
  );
  const size = moved.dims.reduce((product, dim) => product * dim, 1);
  const outputs = await moved.run(new Float32Array(size));
  const cotangents: Float32Array[][] = [];
  for (let seed = 0; seed < draws; seed++)
    cotangents.push(
      await Promise.all(
        outputs.map(async ({ data, dims }, i) => {
          const values = data as Float32Array;
          const width = dims.at(-1)!;
          const drawn = new Float32Array(values.length);
          const count = values.length / width;
          const given = {
            rows: count,
            size: width,
            seed,
            first: before,
            threads: 1,
            values,
            cotangents: drawn,
          };
          await finish(() => binding().drawOutputs({ kind: asked[i]!.kind, ...given }), undefined);
          return drawn;
        }),
      ),
    );
  const found: number[] = [];
  for (const row of rows) {
    const entries = entriesOf(row, moved.dims);
    let squares = 0;
    for (const entry of entries) {
      const delta = new Float32Array(size);
      const sides: Tensor[][] = [];
      for (const sign of [1, -1]) {
        delta[entry] = sign * step;
        sides.push(await moved.run(delta));
      }
      for (const drawn of cotangents) {
        let change = 0;
        for (const [i, c] of drawn.entries()) {
          const [plus, minus] = sides.map((side) => side[i]!.data as Float32Array) as [
            Float32Array,
            Float32Array,
          ];
          for (const [k, cotangent] of c.entries()) change += cotangent * (plus[k]! - minus[k]!);
        }
        squares += (change / (2 * step)) ** 2;
      }
    }
    found.push(squares / draws / entries.length);
  }
  return found;
}
