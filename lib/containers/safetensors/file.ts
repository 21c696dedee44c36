import { VertexqError } from '../../errors';
import { InputFile, type OpenOptions } from '../../files/input-file';
import { TensorFile } from '../tensor-file';
import { type Header, headerLength, parseHeader, prefixBytes } from './header';

/** A safetensors file open for reading. Only its header is in memory. */
export class SafetensorsFile extends TensorFile {
  private constructor(
    file: InputFile,
    tensors: Header['tensors'],
    readonly metadata: ReadonlyMap<string, string>,
    headerBytes: Uint8Array,
  ) {
    super(file, tensors, headerBytes);
  }

  /**
   * Opens `path` and checks its header. Rejects with ERR_VERTEXQ_FILE or ERR_VERTEXQ_SAFETENSORS. It is for the caller to close.
   */
  static async open(path: string, options?: OpenOptions): Promise<SafetensorsFile> {
    const file = await InputFile.open(path, options);
    try {
      if (file.size < prefixBytes)
        throw new VertexqError(
          'ERR_VERTEXQ_SAFETENSORS',
          `${path} is no valid safetensors file: it has ${file.size} bytes, and the header's length alone takes ${prefixBytes}`,
        );
      const length = headerLength(await file.read(0, prefixBytes), file.size, path);
      const bytes = await file.read(prefixBytes, length);
      const { tensors, metadata } = await parseHeader(bytes, file.size, path, options?.signal);
      return new SafetensorsFile(file, tensors, metadata, bytes);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Opens `path`, runs `use` and closes the file. */
  static async with<Result>(
    path: string,
    use: (file: SafetensorsFile) => Promise<Result>,
    options?: OpenOptions,
  ): Promise<Result> {
    const file = await SafetensorsFile.open(path, options);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }
}
