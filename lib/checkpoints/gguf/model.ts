import { basename } from 'node:path';
import { type GgufValue, keyBytes } from '../../containers/gguf/values';
import type { Checkpoint } from '../../containers/safetensors/checkpoint';
import { isFloat } from '../../containers/safetensors/dtypes';
import type { TensorFile } from '../../containers/tensor-file';
import { ConfigReader } from '../../decoders/config';
import { GgufNames } from '../../decoders/gguf/architectures';
import { divisorsName } from '../../decoders/gguf/config';
import { networkKeys } from '../../decoders/gguf/metadata';
import { type TokenizerFiles, tokenizerKeys } from '../../decoders/gguf/tokenizer';
import { openDecoder } from '../../decoders/open';
import { embeddingOf, headOf } from '../../decoders/decoder';
import { withWayOut } from '../../decoders/shape';
import { VertexqError } from '../../errors';
import { templateName } from '../../models/data/chat-template';
import { readTextIn, readTokenizer, tokenizerPath } from '../../models/data/tokenizer';
import { describe } from '../../options/messages';
import type { ModelIdentity } from '../model-identity';
import { ExpertTensors } from './expert-tensors';
import type { GgufModel, GgufTensor } from './tensor';
import { asColumn, converted, permutedRows, requireHeads, rowsIn, type Rows, transposedRows } from './rows';

/** The model of a Hugging Face folder. Rejects with ERR_VERTEXQ_DECODER, ERR_VERTEXQ_TOKENIZER where it has what GGUF files do not tell. */
export async function modelOfFolder(checkpoint: Checkpoint, { config }: ModelIdentity): Promise<GgufModel> {
  const { folder, input, shards } = checkpoint;
  if (folder === null || !config)
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${input}: a GGUF file tells of the network and its tokenizer too: give the folder that has config.json and tokenizer.json`,
    );
  const reader = new ConfigReader(config.path, config.fields);
  const { shape } = withWayOut(() => openDecoder(checkpoint, reader, 1));
  const names = new GgufNames(shape.name);
  const { keys, frequencyDivisors, warnings } = networkKeys(reader, shape, names);
  const [embedding, head] = [embeddingOf(shape), headOf(shape)];
  const tensors: GgufTensor[] = [];
  const experts = new ExpertTensors(names, shape.blocks[0]!.experts?.count ?? 0);
  const entryOf = (name: string) => shards.get(checkpoint.places.get(name) ?? '')?.tensors.get(name);
  for (const file of shards.values())
    for (const [tensor, entry] of file.tensors) {
      if (experts.take(file, tensor, entry, entryOf)) continue;
      const found = names.ofTensor(tensor);
      // What openDecoder took for known: buffers, and a head that is the embedding.
      if (!found || (shape.tied && tensor === `${shape.architecture.modules.head}.weight`)) continue;
      if (!isFloat(entry.dtype)) throw new VertexqError('ERR_VERTEXQ_DECODER', `${file.path}: tensor ${describe(tensor)} is ${entry.dtype}, not a float type`); // prettier-ignore
      let rows = rowsIn(file, entry);
      if (found.transposed) rows = transposedRows(rows, entry.shape[1]!);
      if (found.plusOne) rows = converted(rows, `tensor ${describe(tensor)}`, 'F32', 1);
      const heads = { queries: shape.heads, keys: shape.keyValueHeads, none: null }[found.permuted ?? 'none'];
      if (heads !== null) {
        const own = entry.shape.length === 1 ? asColumn(rows, entry.shape[0]!) : rows;
        requireHeads(tensor, own.rows, heads);
        rows = permutedRows(own, heads, true);
      }
      const { name } = found;
      const shapeThere = found.transposed ? entry.shape.toReversed() : entry.shape;
      tensors.push({ name, tensor, raw: null, shape: shapeThere, rows, file, heads, isHead: tensor === head, isEmbedding: tensor === embedding }); // prettier-ignore
    }
  tensors.push(...experts.finish());
  if (frequencyDivisors) tensors.push(divisorsOf(frequencyDivisors, tensors[0]!.file));
  const name = basename(folder);
  const all = new Map<string, GgufValue>([...keys, ['general.name', { type: 'text', value: name }], ...tokenizerKeys(await tokenizerOf(folder), shape.vocabulary)]); // prettier-ignore
  return {
    ...{ input, tensors, warnings, files: [...shards.values()] },
    keys: [...all].map(([key, value]) => keyBytes(key, value)),
  };
}

function divisorsOf(values: Float32Array, file: TensorFile): GgufTensor {
  const read = () => Promise.resolve(new Uint8Array(values.buffer));
  const rows: Rows = { dtype: 'F32', rows: 1, rowBytes: values.byteLength, read };
  const name = divisorsName;
  return {
    name,
    tensor: name,
    raw: null,
    shape: [values.length],
    rows,
    file,
    heads: null,
    isHead: false,
    isEmbedding: false,
  };
}

async function tokenizerOf(folder: string): Promise<TokenizerFiles> {
  const path = await tokenizerPath(folder);
  const { json: tokenizer, config } = await readTokenizer(path);
  return { path, tokenizer, config, template: await readTextIn(folder, templateName) };
}
