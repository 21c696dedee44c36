import { stat } from 'node:fs/promises';

export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Whether a path is that of a checkpoint: a folder, a safetensors file or an index, a GGUF file. */
export const isCheckpoint = async (input: string): Promise<boolean> =>
  /\.(safetensors(\.index\.json)?|gguf)$/i.test(input) || isFolder(input);
