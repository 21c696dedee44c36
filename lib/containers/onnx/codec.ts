import { fromBinary } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { InputFile } from '../../files/input-file';
import { plainPath } from '../../files/plain-path';
import { requireHeap } from './budget';
import { ModelProtoSchema, type ModelProto } from './onnx_pb';
import { readSkeleton, type Skeleton, standInLength } from './skeleton';
import { isExternal } from './tensor';
import { Weights } from './weights';

/** A protobuf message holds at most 2 GiB. */
export const maxMessageBytes = 2 ** 31 - 1;

/** A model as read: its larger weights are still in their files. */
export interface ReadModel {
  model: ModelProto;
  weights: Weights;
  /** Length of the file in bytes. */
  size: number;
}

/**
 * Reads an ONNX file. Throws VertexqError: ERR_VERTEXQ_FILE where the file cannot be read, ERR_VERTEXQ_ONNX where it is no ONNX model,
 * ERR_VERTEXQ_MEMORY where it does not fit into memory.
 */
export async function readModel(path: string): Promise<ReadModel> {
  const file = plainPath(path);
  return InputFile.with(file, async (opened) => {
    if (opened.size > maxMessageBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_ONNX',
        `${file}: an ONNX file holds at most 2 GiB, this one ${opened.size} bytes`,
      );
    const skeleton = await readSkeleton(opened);
    const model = parseModel(skeleton.bytes, file);
    const weights = new Weights(file, opened.identity);
    locateHoles(model, skeleton, weights);
    return { model, weights, size: opened.size };
  });
}

/** The stand-ins are told by where they lie, which no file can imitate. */
function locateHoles(model: ModelProto, { bytes, holes }: Skeleton, weights: Weights): void {
  for (const tensor of model.graph!.initializer) {
    const { rawData } = tensor;
    if (rawData.length !== standInLength || rawData.buffer !== bytes.buffer) continue;
    const place = holes.get(rawData.byteOffset - bytes.byteOffset);
    // Data in another file too: the stand-in stays, for `Weights` to see that there is some here.
    if (!place || isExternal(tensor)) continue;
    weights.locate(tensor, { path: weights.file, ...place });
    tensor.rawData = new Uint8Array(0);
  }
}

/** Parses an ONNX model; `file` is for messages. Weights stay views of `bytes`. */
export function parseModel(bytes: Uint8Array, file: string): ModelProto {
  let model: ModelProto;
  requireHeap(bytes, file);
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_ONNX', `${file} is not an ONNX model: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (!model.graph)
    throw new VertexqError('ERR_VERTEXQ_ONNX', `${file} is not an ONNX model: it has no graph`);
  return model;
}
