import { isCheckpoint, isFolder } from '../checkpoints/is-checkpoint';
import { VertexqError } from '../errors';

// What kind of input a path is.

export { isCheckpoint };

/** Throws ERR_VERTEXQ_UNSUPPORTED at a checkpoint, a folder or a safetensors file. */
export async function refuseCheckpoint(input: string): Promise<void> {
  if (!(await isCheckpoint(input))) return;
  const what = (await isFolder(input)) ? 'folder' : /\.gguf$/i.test(input) ? 'GGUF file' : 'safetensors file';
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `${input} is a ${what}: checkpoints are not supported in this version, give an ONNX file`,
  );
}
