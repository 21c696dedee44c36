import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { open, stat } from 'node:fs/promises';
import { VertexqError } from '../../errors';
import { ModelProtoSchema, type ModelProto } from './onnx_pb';

/** A protobuf message holds at most 2 GiB. */
const maxBytes = 2 ** 31 - 1;

/**
 * Reads an ONNX file. Throws VertexqError: ERR_VERTEXQ_FILE where the file cannot be read, ERR_VERTEXQ_ONNX where it is no
 * ONNX model.
 */
export async function readModel(file: string): Promise<ModelProto> {
  return parseModel(await readBytes(file), file);
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    // Asked before opening: opening a FIFO would wait for a writer.
    const found = await stat(file);
    if (!found.isFile()) throw new VertexqError('ERR_VERTEXQ_FILE', `${file} is not a regular file`);
    if (found.size > maxBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_ONNX',
        `${file}: an ONNX file holds at most 2 GiB, this one ${found.size} bytes`,
      );
    const handle = await open(file);
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    if (cause instanceof VertexqError) throw cause;
    throw new VertexqError('ERR_VERTEXQ_FILE', `${file} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Parses an ONNX model; `file` is for messages. Weights stay views of `bytes`. */
export function parseModel(bytes: Uint8Array, file: string): ModelProto {
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    // A RangeError is the stack's end: messages nested too deeply.
    const why =
      cause instanceof RangeError && /call stack/.test(cause.message)
        ? 'messages nested too deeply'
        : (cause as Error).message;
    throw new VertexqError('ERR_VERTEXQ_ONNX', `${file} is not an ONNX model: ${why}`, { cause });
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
