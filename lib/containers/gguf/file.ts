import { InputFile, type OpenOptions } from '../../files/input-file';
import { TensorFile } from '../tensor-file';
import { type Header, readHeader } from './header';

/** A GGUF file open for reading. Only its header is in memory. */
export class GgufFile extends TensorFile {
  private constructor(
    file: InputFile,
    readonly header: Header,
    headerBytes: Uint8Array,
  ) {
    super(file, header.tensors, headerBytes);
  }

  /** Opens `path` and checks its header. Rejects with ERR_VERTEXQ_FILE or ERR_VERTEXQ_GGUF. It is for the caller to close. */
  static async open(path: string, options?: OpenOptions): Promise<GgufFile> {
    const file = await InputFile.open(path, options);
    try {
      const header = await readHeader(file, options?.signal);
      return new GgufFile(file, header, await file.read(0, header.length));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Opens `path`, runs `use` and closes the file. */
  static async with<Result>(
    path: string,
    use: (file: GgufFile) => Promise<Result>,
    options?: OpenOptions,
  ): Promise<Result> {
    const file = await GgufFile.open(path, options);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }
}
