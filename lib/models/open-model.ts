import type { ModelEncoding } from '../encodings/onnx/encoding';
import { readModel } from '../containers/onnx/codec';
import { dataFilesOf } from '../containers/onnx/data-files';
import { Graph, tensorsOf } from '../containers/onnx/graph';
import { inlineFunctions } from '../containers/onnx/inline-functions';
import type { ModelProto } from '../containers/onnx/onnx_pb';
import { isExternal } from '../containers/onnx/tensor';
import type { Weights } from '../containers/onnx/weights';

/** An ONNX file as read. */
export interface OpenModel {
  file: string;
  /** Bytes of the file and of those of its external data. */
  size: number;
  /** The same without what no tensor refers to: networks may share a file of data. */
  used: number;
  /** Those of external data. */
  dataFiles: readonly string[];
  model: ModelProto;
  graph: Graph;
  weights: Weights;
}

/**
 * Opens a model; where it is to be written in an encoding, so that it can be. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_ONNX, ERR_VERTEXQ_MEMORY, also where data
 * in other files is not as the model says.
 */
export async function openModel(file: string, encoding?: ModelEncoding): Promise<OpenModel> {
  const { model, weights, size } = await readModel(file);
  inlineFunctions(model, file);
  encoding?.prepare(model);
  const graph = new Graph(model, file);
  for (const tensor of tensorsOf(graph.proto)) if (isExternal(tensor)) await weights.check(tensor);
  const { paths, bytes, used } = await dataFilesOf(graph, weights);
  return { file, size: size + bytes, used: size + used, dataFiles: paths, model, graph, weights };
}
