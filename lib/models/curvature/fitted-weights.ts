import { create } from '@bufbuild/protobuf';
import type { OutputFile } from '../../files/output-file';
import { VertexqError } from '../../errors';
import { sharedBytes } from '../../native/shared';
import type { Workspace } from '../../runs/workspace';
import type { WeightSource } from '../../traversal/layer';
import type { Sink, Stored } from '../../traversal/sink';
import type { FloatArray, QuantizedLayer } from '../../types';
import { storedValues } from '../forward/model-forward';
import type { Substitute } from '../forward/stage-network';
import type { ModelLayer } from '../layers/model-layers';
import { asNodeSees } from '../layers/weight-values';
import { roundedTensor } from '../../containers/onnx/float-tensor';
import { byFirstOutput, firstOutput, Graph, unusedPrefix } from '../../containers/onnx/graph';
import { type NodeProto, type TensorProto, TensorProtoSchema } from '../../containers/onnx/onnx_pb';
import { shallowCopy } from '../../containers/onnx/shallow-copy';
import type { Place } from '../../containers/onnx/skeleton';
import type { Weights } from '../../containers/onnx/weights';
import type { OpenModel } from '../open-model';
import type { Substitutes } from './part-networks';

/** A network with other weights, and the float one's by its nodes. */
export interface FittedNetwork {
  opened: OpenModel;
  floats: Substitutes;
}

/** What has become of a weight, but for its numbers, and where of these codes, scales, zero points and minima are. */
type Kept = Pick<QuantizedLayer, 'groupSize' | 'outFeatures' | 'inFeatures' | 'table'> & {
  places: readonly (Place | null)[];
};

/** Keeps what has become of layers' weights in a file, for the network to be run with them again. */
export class FittedWeights implements Sink<ModelLayer, Stored> {
  private readonly kept = new Map<WeightSource, Kept>();
  private file: OutputFile | undefined;

  constructor(
    private readonly workspace: Workspace,
    private readonly weights: Weights,
  ) {}

  async store(
    { source }: ModelLayer,
    { codes, scales, zeroPoints, minima, ...others }: QuantizedLayer,
    signal?: AbortSignal,
  ): Promise<Stored> {
    this.file ??= await this.workspace.create('fitted');
    const { groupSize, outFeatures, inFeatures, table } = others;
    const places: (Place | null)[] = [];
    for (const part of [codes, scales, zeroPoints, minima])
      places.push(part && (await this.file.append(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), signal))); // prettier-ignore
    this.kept.set(source, { groupSize, outFeatures, inFeatures, table: table && table.slice(), places });
    return { bytes: places.reduce((sum, place) => sum + (place?.length ?? 0), 0) };
  }

  /** The network with the weights that layers have got, which are read whenever they are run. Shares what it can with `opened`. */
  network(opened: OpenModel, layers: readonly ModelLayer[]): FittedNetwork {
    const { model, file } = opened;
    const graph = shallowCopy(model.graph!);
    const prefix = unusedPrefix(graph, 'fitted/');
    const nodes = byFirstOutput(graph.node);
    const changed = new Map<NodeProto, NodeProto>();
    const floats = new Map<NodeProto, Substitute[]>();
    graph.initializer = [...graph.initializer];
    for (const [i, layer] of layers.entries()) {
      if (!this.kept.has(layer.source)) continue;
      const before = nodes.get(firstOutput(layer.node))!;
      const own = changed.get(before) ?? shallowCopy(before);
      changed.set(before, own);
      own.input = [...own.input];
      own.input[layer.weightIndex] = `${prefix}${i}`;
      const fitted = this.tensor(layer, `${prefix}${i}`, () => this.read(layer));
      const float = this.tensor(layer, `${prefix}float/${i}`, () => layer.source.read());
      graph.initializer.push(fitted);
      floats.set(own, [...(floats.get(own) ?? []), { index: layer.weightIndex, tensor: float }]);
    }
    graph.node = graph.node.map((own) => changed.get(own) ?? own);
    const copy = shallowCopy(model);
    copy.graph = graph;
    return { opened: { ...opened, model: copy, graph: new Graph(copy, file) }, floats };
  }

  /** A layer's weight as its node sees it. `values`: [outFeatures, inFeatures]. */
  private tensor(layer: ModelLayer, name: string, values: () => Promise<FloatArray>): TensorProto {
    const { dims, dataType } = layer.constant;
    const tensor = create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType });
    this.weights.make(tensor, async () => {
      const seen = await asNodeSees(layer, await values());
      return (await roundedTensor(name, dims, dataType, seen)).tensor.rawData;
    });
    return tensor;
  }

  /** As they will be when the layer is read back from its file. */
  private async read(layer: ModelLayer): Promise<Float32Array> {
    const { places, ...others } = this.kept.get(layer.source)!;
    const parts: (SharedArrayBuffer | null)[] = [];
    for (const place of places) {
      const bytes = place && sharedBytes(place.length);
      if (bytes && !(await this.file!.fill(bytes, place.position)))
        throw new VertexqError('ERR_VERTEXQ_FILE', `${this.file!.temporary} was cut short while it was used`);
      parts.push(bytes && bytes.buffer);
    }
    const [codes, ...numbers] = parts;
    const [scales, zeroPoints, minima] = numbers.map((own) => own && new Float32Array(own));
    const coded = { ...others, codes: new Int8Array(codes!), scales: scales!, zeroPoints: zeroPoints!, minima: minima! }; // prettier-ignore
    return storedValues(layer, coded, undefined);
  }
}
