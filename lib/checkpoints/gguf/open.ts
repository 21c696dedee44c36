import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GgufFile } from '../../containers/gguf/file';
import type { Checkpoint } from '../../containers/safetensors/checkpoint';
import { isFloat } from '../../containers/safetensors/dtypes';
import type { TensorEntry } from '../../containers/tensor-file';
import { ConfigReader } from '../../decoders/config';
import { type GgufName, GgufNames } from '../../decoders/gguf/architectures';
import { configOf, divisorsName } from '../../decoders/gguf/config';
import { tokenizerDocuments } from '../../decoders/gguf/tokenizer-json';
import { ggufTypes } from '../../encodings/gguf/table';
import type { GgufTypeName } from '../../encodings/names';
import { matrixOf } from '../../encodings/safetensors/matrices';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { fewOf } from '../../reports/text';
import { plural } from '../../reports/units';
import { noTemporary } from '../../runs/workspace';
import type { Document } from '../documents';
import type { ModelIdentity } from '../model-identity';
import type { GgufModel, GgufTensor } from './tensor';
import {
  asColumn,
  converted,
  dequantizedRows,
  permutedRows,
  requireHeads,
  type Rows,
  rowsIn,
  rowsOf,
  transposedRows,
} from './rows';
import { type Seen, ViewFile } from './view';
import { warn } from '../../warning-codes';

export const isGgufPath = (path: string): boolean => /\.gguf$/i.test(path);

/** Keys that tell of types, or of parts, and of what a file was quantized with: an output has its own. */
export const ownKeys = /^(general\.(file_type|quantization_version|alignment)|split\.(no|count|tensors\.count)|quantize\..*|vertexq\..*)$/; // prettier-ignore

/** A GGUF file that is quantized. */
export class OpenGguf {
  private constructor(
    readonly file: GgufFile,
    readonly model: GgufModel,
  ) {}

  /** Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_GGUF. It is for the caller to close. */
  static async open(path: string, signal: AbortSignal | undefined): Promise<OpenGguf> {
    const file = await GgufFile.open(path, { signal });
    return new OpenGguf(file, modelOf(file));
  }

  /** The file where no network is run: nothing need be known of it. */
  alone(): { checkpoint: Checkpoint; identity: ModelIdentity } {
    const { path } = this.file;
    const { checkpoint } = asCheckpoint(path, null);
    return { checkpoint, identity: { ...identityOf(path, {}), config: undefined } };
  }

  /**
   * The file as the checkpoint of a network: under the names that it has there, dequantized, with rows in its order; and what tells of it. Rejects with
   * ERR_VERTEXQ_DECODER where it is none that is known.
   */
  async network(): Promise<{ checkpoint: Checkpoint; identity: ModelIdentity }> {
    const { file, model } = this;
    const entry = file.tensors.get(divisorsName);
    const divisors = entry?.dtype === 'F32' ? new Float32Array((await file.read(divisorsName)).buffer) : null;
    const fields = configOf(file, divisors);
    const reader = new ConfigReader(file.path, fields);
    const names = new GgufNames(reader.texts('architectures', 1)[0]!);
    const headsOf = { queries: 'num_attention_heads', keys: 'num_key_value_heads' } as const;
    const seen: Seen[] = [];
    const turned = new Set<string>();
    for (const tensor of model.tensors) {
      const experts = tensor.shape.length === 3 ? names.expertsIn(tensor.name, tensor.shape[0]!) : undefined;
      if (experts) {
        tensor.experts = experts;
        seen.push(...eachExpert(tensor, experts, file));
        continue;
      }
      const found = names.ofGguf(tensor.name);
      if (tensor.name === divisorsName && divisors) continue;
      if (!found)
        throw new VertexqError(
          'ERR_VERTEXQ_DECODER',
          `${file.path}: tensor ${describe(tensor.name)} has no place in a network of "${names.gguf.name}" (--method msq runs none)`,
        );
      tensor.tensor = found.tensor;
      tensor.heads = found.permuted ? reader.count(headsOf[found.permuted]) : null;
      if (found.transposed) turned.add(found.tensor);
      const shape = inNetworkAs(tensor.shape, found);
      seen.push({ name: found.tensor, shape, file, rows: inNetwork(tensor, found) });
    }
    const view = new ViewFile(file.path, seen, [file], new Map([['format', 'pt']]));
    return { ...asCheckpoint(file.path, view), identity: identityOf(file.path, fields, turned) };
  }

  /** The files of a folder that tell of the tokenizer. Throws ERR_VERTEXQ_TOKENIZER where it is none that is known. */
  documents(): Document[] {
    return Object.entries(tokenizerDocuments(this.file)).map(([name, content]) => ({
      name,
      data: Buffer.from(`${JSON.stringify(content, null, 2)}\n`),
    }));
  }

  /** What a folder's tokenizer.json would be; undefined where it is none that is known. */
  tokenizer(): Buffer | undefined {
    try {
      return Buffer.from(JSON.stringify(tokenizerDocuments(this.file)['tokenizer.json']));
    } catch (error) {
      if (error instanceof VertexqError && error.code === 'ERR_VERTEXQ_TOKENIZER') return undefined;
      throw error;
    }
  }

  /** Runs `use` with a folder that has the file's tokenizer. Rejects with ERR_VERTEXQ_TOKENIZER where it is none that is known. */
  async withTokenizer<Result>(use: (folder: string) => Promise<Result>): Promise<Result> {
    const folder = await mkdtemp(join(tmpdir(), 'vertexq-tokenizer-')).catch((cause: unknown) => {
      throw noTemporary(cause);
    });
    try {
      for (const { name, data } of this.documents()) await writeFile(join(folder, name), data);
      return await use(folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

function asCheckpoint(input: string, view: ViewFile | null): { checkpoint: Checkpoint } {
  const name = 'model.safetensors';
  const checkpoint: Checkpoint = {
    ...{ input, folder: null, index: null, close: () => Promise.resolve() },
    shards: new Map(view ? [[name, view]] : []),
    places: new Map([...(view?.tensors.keys() ?? [])].map((own) => [own, name])),
  };
  return { checkpoint };
}

function modelOf(file: GgufFile): GgufModel {
  const { header, path } = file;
  const hasHead = file.tensors.has('output.weight');
  const few: string[] = [];
  const tensors = [...file.tensors].map(([name, entry]): GgufTensor => {
    const raw = rowsIn(file, entry);
    const isFew = Object.hasOwn(ggufTypes, entry.dtype);
    if (isFew) few.push(`"${name}" (${entry.dtype})`);
    const isEmbedding = name === 'token_embd.weight';
    return {
      ...{ name, tensor: name, shape: entry.shape, file, raw, heads: null, isEmbedding },
      rows: isFew ? dequantizedRows(raw, ggufTypes[entry.dtype as GgufTypeName]) : raw,
      isHead: name === 'output.weight' || (isEmbedding && !hasHead),
    };
  });
  return {
    ...{ input: path, tensors, files: [file] },
    keys: [...header.places.keys()].filter((key) => !ownKeys.test(key)).map((key) => file.keyBytes(key)),
    warnings:
      few.length === 0
        ? []
        : [warn('WARN_VERTEXQ_DEQUANTIZED_FIRST', `${path}: ${plural(few.length, 'tensor')} in few bits already are dequantized first, and what they have lost stays lost: ${fewOf(few, 2)}. Better give a file in F16 or BF16.`)], // prettier-ignore
  };
}

/** Experts in one tensor as the network has them. */
function eachExpert(
  { name, shape: [count, ...shape], rows }: GgufTensor,
  experts: readonly string[],
  file: GgufFile,
): Seen[] {
  if (!isFloat(rows.dtype)) throw unreadType(name, rows.dtype);
  const each = rows.rows / count!;
  return experts.map((own, i) => ({ name: own, shape, file, rows: rowsOf(rows, i * each, (i + 1) * each) }));
}

const unreadType = (name: string, dtype: string) =>
  new VertexqError('ERR_VERTEXQ_DECODER', `tensor ${describe(name)} is of type ${dtype}, which is not read here (--method msq reads none that it does not quantize)`); // prettier-ignore

/** A tensor's shape as the network has it. */
function inNetworkAs(shape: readonly number[], { transposed, isRow }: GgufName): readonly number[] {
  if (transposed) return shape.toReversed();
  return isRow && shape.length === 1 ? [1, ...shape] : shape;
}

/** A tensor's numbers as the network has them. */
function inNetwork({ name, shape, rows, heads }: GgufTensor, { plusOne, transposed }: GgufName): Rows {
  if (!isFloat(rows.dtype)) throw unreadType(name, rows.dtype);
  if (heads !== null) {
    const own = shape.length === 1 ? asColumn(rows, shape[0]!) : rows;
    requireHeads(name, own.rows, heads);
    return permutedRows(own, heads, false);
  }
  if (transposed) return transposedRows(rows, shape[1]!);
  return plusOne ? converted(rows, `tensor ${describe(name)}`, 'F32', -1) : rows;
}

function identityOf(
  path: string,
  fields: Record<string, unknown>,
  turned: ReadonlySet<string> = new Set(),
): ModelIdentity {
  const isTransposed = (name: string) => turned.has(name);
  return {
    config: { path, text: `${JSON.stringify(fields, null, 2)}\n`, fields },
    modelTypes: [String(fields['model_type'])],
    architectures: fields['architectures'] as string[],
    tied: fields['tie_word_embeddings'] === true,
    isTransposed,
    matricesIn: (name: string, entry: TensorEntry) =>
      entry.shape.length === 2 ? [matrixOf(name, entry, isTransposed(name))] : [],
    quantizedBy: undefined,
    quantized: () => undefined,
    quantizedWeights: [],
  };
}
