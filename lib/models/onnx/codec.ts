import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { InputFile } from '../../formats/input-file';
import { requireHeap } from './budget';
import { ModelProtoSchema, type ModelProto } from './onnx_pb';

/** A protobuf message holds at most 2 GiB. */
const maxBytes = 2 ** 31 - 1;

/**
 * Reads an ONNX file of `size` bytes. Throws VertexqError: ERR_VERTEXQ_FILE where the file cannot be read, ERR_VERTEXQ_ONNX where
 * it is no ONNX model, ERR_VERTEXQ_MEMORY where it does not fit into memory.
 */
export async function readModel(file: string): Promise<{ model: ModelProto; size: number }> {
  const bytes = await InputFile.with(file, (opened) => {
    if (opened.size > maxBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_ONNX',
        `${file}: an ONNX file holds at most 2 GiB, this one ${opened.size} bytes`,
      );
    return opened.read(0, opened.size);
  });
  return { model: parseModel(bytes, file), size: bytes.length };
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

/** Throws ERR_VERTEXQ_ONNX where the model is too large for one file. */
export function modelBytes(model: ModelProto): Uint8Array {
  const bytes = toBinary(ModelProtoSchema, model);
  if (bytes.length > maxBytes)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the model would take ${bytes.length} bytes; one ONNX file holds 2 GiB`,
    );
  return bytes;
}
