import { stat } from 'node:fs/promises';
import { VertexqError } from '../errors';

// What kind of input a path is.

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Whether a path is that of a checkpoint: a folder, a safetensors file or an index, a GGUF file. */
export const isCheckpoint = async (input: string): Promise<boolean> =>
  /\.(safetensors(\.index\.json)?|gguf)$/i.test(input) || isFolder(input);

/** Throws ERR_VERTEXQ_UNSUPPORTED at a checkpoint, a folder or a safetensors file. */
export async function refuseCheckpoint(input: string): Promise<void> {
  if (!(await isCheckpoint(input))) return;
  const what = (await isFolder(input)) ? 'folder' : /\.gguf$/i.test(input) ? 'GGUF file' : 'safetensors file';
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `${input} is a ${what}: checkpoints are not supported in this version, give an ONNX file`,
  );
}
