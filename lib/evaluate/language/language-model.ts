import { join } from 'node:path';
import { type Checkpoint, entryOf, openCheckpoint } from '../../containers/safetensors/checkpoint';
import { isFloat } from '../../containers/safetensors/dtypes';
import { isGgufPath, OpenGguf } from '../../checkpoints/gguf/open';
import { placesOf } from '../../checkpoints/network';
import { type ModelIdentity, identityOf } from '../../checkpoints/model-identity';
import { packedWeights, quantizationConfig } from '../../checkpoints/packed-weights';
import { ConfigReader } from '../../decoders/config';
import { embeddingOf, headOf } from '../../decoders/decoder';
import { type OpenDecoder, openDecoder } from '../../decoders/open';
import { type PackedWeight, plainWeight, Unpacker } from '../../encodings/safetensors/unpack';
import { withWayOut } from '../../decoders/shape';
import { namingMemory, VertexqError } from '../../errors';
import { readFolderFile } from '../../files/folder-file';
import { sharedBytes } from '../../native/shared';
import { TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import { describe } from '../../options/messages';
import { fewOf } from '../../reports/text';
import type { JobOptions } from '../../types';

type Fields = Readonly<Record<string, unknown>>;

/** Bytes of values of a table that are read at a time. */
const pieceBytes = 2 ** 24;
const tokenizerName = 'tokenizer.json';
/** More than any tokenizer's. */
const maxTokenizerBytes = 2 ** 28;

/** A language model's checkpoint, float or quantized: its network computes with what its weights stand for, in float32. */
export class LanguageModel {
  private constructor(
    private readonly checkpoint: Checkpoint,
    private readonly config: { path: string; fields: Fields },
    /** Weights in few bits, by the names that they have as floats. */
    private readonly packed: ReadonlyMap<string, PackedWeight>,
    private readonly options: JobOptions,
    private readonly gguf: OpenGguf | null = null,
  ) {}

  /**
   * Opens a checkpoint, or a GGUF file. `other`: what a file without a config beside it is a model of. Rejects with ERR_VERTEXQ_UNSUPPORTED where weights are quantized in a way
   * that is not known, ERR_VERTEXQ_DECODER where there is no config, and with what reading headers brings. It is for the caller to close.
   */
  static async open(path: string, options: JobOptions, other?: LanguageModel): Promise<LanguageModel> {
    if (isGgufPath(path)) return LanguageModel.ofGguf(path, options);
    const checkpoint = await openCheckpoint(path, options.signal);
    try {
      const identity = await identityOf(checkpoint);
      const packed = await packedIn(checkpoint, identity);
      const config = identity.config ?? other?.config;
      if (!config)
        throw new VertexqError(
          'ERR_VERTEXQ_DECODER',
          `${path} has no config.json, which says what the network computes: give the folder that has it`,
        );
      return new LanguageModel(checkpoint, config, packed, options);
    } catch (error) {
      await checkpoint.close();
      throw error;
    }
  }

  /** What is in few bits there is dequantized as it is read. */
  private static async ofGguf(path: string, options: JobOptions): Promise<LanguageModel> {
    const opened = await OpenGguf.open(path, options.signal);
    try {
      const { checkpoint, identity } = await opened.network();
      return new LanguageModel(checkpoint, identity.config!, new Map(), options, opened);
    } catch (error) {
      await opened.file.close();
      throw error;
    }
  }

  get path(): string {
    return this.checkpoint.input;
  }

  /** Its files, and where in them weights in few bits lie, by the names that they have as floats; null of a GGUF file. */
  get stored(): { checkpoint: Checkpoint; packed: ReadonlyMap<string, PackedWeight> } | null {
    return this.gguf ? null : { checkpoint: this.checkpoint, packed: this.packed };
  }

  /** Runs `use` with the folder that has the model's tokenizer; null where there is none. Rejects with ERR_VERTEXQ_TOKENIZER where a GGUF file's is none that is known. */
  withTokenizer<Result>(use: (folder: string | null) => Promise<Result>): Promise<Result> {
    return this.gguf ? this.gguf.withTokenizer(use) : use(this.checkpoint.folder);
  }

  /** Its tokenizer.json, or what a GGUF file has of one; undefined where there is none. */
  async tokenizer(): Promise<{ path: string; bytes: Buffer; isMade: boolean } | undefined> {
    const { folder } = this.checkpoint;
    if (this.gguf) {
      const data = this.gguf.tokenizer();
      return data && { path: this.path, bytes: data, isMade: true };
    }
    const bytes =
      folder === null ? undefined : await readFolderFile(folder, tokenizerName, maxTokenizerBytes);
    const made = bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return made && { path: join(folder!, tokenizerName), bytes: made, isMade: false };
  }

  /** Tokens of the longest sequence that the network was made for. */
  places(shape: OpenDecoder['shape']): number {
    return placesOf(new ConfigReader(this.config.path, this.config.fields), shape);
  }

  /** Its files of weights. */
  get files(): string[] {
    return [...this.checkpoint.shards.values()].map(({ path }) => path);
  }

  /** Of its files of weights. */
  get bytes(): number {
    return [...this.checkpoint.shards.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** The network, to be run on sequences of up to `longest` tokens. Throws ERR_VERTEXQ_DECODER where it is none that is known. */
  decoder(longest: number): OpenDecoder {
    const { config, checkpoint, packed, options } = this;
    // How weights are stored is known by now.
    const fields = Object.fromEntries(
      Object.entries(config.fields).filter(([key]) => key !== 'quantization_config'),
    );
    const unpacked = new Map(
      [...packed].map(([name, weight]) => [
        name,
        { weight, data: () => namingMemory(`${this.path}: tensor ${describe(name)}`, () => all(weight)) },
      ]),
    );
    const all = async (weight: PackedWeight) => {
      const values = sharedBytes(4 * weight.shape[0] * weight.shape[1]);
      await new Unpacker(checkpoint, weight).rows(
        0,
        weight.shape[0],
        { valuesTo: new Float32Array(values.buffer) },
        options,
      );
      return values;
    };
    return withWayOut(() =>
      openDecoder(checkpoint, new ConfigReader(config.path, fields), longest, { unpacked }),
    );
  }

  /** Reads rows of the head. */
  head(decoder: OpenDecoder): MatrixRows {
    return this.matrix(decoder, headOf(decoder.shape));
  }

  /**
   * Has a network look up `tokens` alone: what it takes for the token i is `tokens[i]`. A table of a large vocabulary is never there as a whole. The
   * network has no logits then where its head is the same tensor.
   */
  async narrow(decoder: OpenDecoder, tokens: Int32Array): Promise<void> {
    const name = embeddingOf(decoder.shape);
    const where = `${this.path}: tensor ${describe(name)}`;
    await namingMemory(where, () => this.narrowTo(decoder, name, tokens));
  }

  private async narrowTo(decoder: OpenDecoder, name: string, tokens: Int32Array): Promise<void> {
    const { rows, shape } = this.matrix(decoder, name);
    const [vocabulary, size] = shape;
    const found = new Float32Array(tokens.length * size);
    const step = Math.max(1, Math.floor(pieceBytes / (4 * size * 32))) * 32;
    const piece = new Float32Array(sharedBytes(4 * size * Math.min(step, vocabulary)).buffer);
    let at = 0;
    for (let begin = 0; begin < vocabulary && at < tokens.length; begin += step) {
      const end = Math.min(vocabulary, begin + step);
      if (tokens[at]! >= end) continue;
      await rows(begin, end, piece);
      for (; at < tokens.length && tokens[at]! < end; at++) {
        const row = tokens[at]! - begin;
        found.set(piece.subarray(row * size, (row + 1) * size), at * size);
      }
    }
    const table = decoder.graph.initializer(name)!;
    table.dims = [BigInt(tokens.length), BigInt(size)];
    table.dataType = DataType.FLOAT;
    decoder.weights.make(table, () => Promise.resolve(new Uint8Array(found.buffer)));
  }

  async close(): Promise<void> {
    await this.checkpoint.close();
    await this.gguf?.file.close();
  }

  private matrix(decoder: OpenDecoder, name: string): MatrixRows {
    const { tensor } = decoder.origins.get(decoder.graph.initializer(name)!)!;
    const weight = this.packed.get(tensor) ?? plainIn(this.checkpoint, tensor);
    const unpacker = new Unpacker(this.checkpoint, weight);
    const rows: MatrixRows['rows'] = async (begin, end, target) => {
      const valuesTo = target.subarray(0, (end - begin) * weight.shape[1]);
      await unpacker.rows(begin, end, { valuesTo }, this.options);
    };
    return { shape: weight.shape, rows };
  }
}

/** A matrix whose rows are read when they are needed. */
export interface MatrixRows {
  shape: readonly [number, number];
  /** Reads the rows [begin, end), `begin` a multiple of 32, as float32. */
  rows: (begin: number, end: number, target: Float32Array) => Promise<void>;
}

function plainIn(checkpoint: Checkpoint, name: string): PackedWeight {
  const { dtype, shape } = entryOf(checkpoint, name)!;
  // As the decoder has found it.
  return plainWeight(name, isFloat(dtype) ? dtype : 'F32', shape as [number, number]);
}

/** Throws ERR_VERTEXQ_UNSUPPORTED where a weight is in few bits and it is not known how. */
async function packedIn(
  checkpoint: Checkpoint,
  identity: ModelIdentity,
): Promise<ReadonlyMap<string, PackedWeight>> {
  const config = quantizationConfig(checkpoint, identity);
  const found = config ? await packedWeights(checkpoint, config) : [];
  // What else a module has, such as a bias, is a float.
  const known = new Set(found.map(({ inspected }) => inspected.name));
  const others = [...checkpoint.places.keys()].filter(
    (name) => !known.has(name.slice(0, name.lastIndexOf('.'))) && identity.quantized(name) !== undefined,
  );
  if (others.length > 0)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${checkpoint.input} is quantized in a way that is not known here: ${fewOf(others.map(describe), 3)}. Known are compressed-tensors (pack-quantized), gptq and gptq_v2, with a "quantization_config" in config.json`,
    );
  return new Map(found.map(({ inspected, packed }) => [`${inspected.name}.weight`, packed]));
}
