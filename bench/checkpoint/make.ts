import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { floatBytes, type FloatDtype } from '../../lib/containers/safetensors/dtypes';
import { type TensorSpec, writeSafetensors } from '../../test/containers/safetensors/write';
import { writeWhole } from '../../lib/files/output-file';
import { convertNow } from '../../lib/native/tensors';

/** The shape of a model like Llama. */
export interface Shape {
  hidden: number;
  intermediate: number;
  layers: number;
  vocabulary: number;
  /** Shape of one more weight of a layer of its own; null for none. */
  giant: [number, number] | null;
}

/** A shape whose BF16 weights take about `bytes`. */
export function shapeFor(bytes: number): Shape {
  const large = bytes >= 4e9;
  const hidden = large ? 4096 : bytes >= 2e8 ? 2048 : 512;
  const intermediate = Math.round((hidden * 2.6875) / 128) * 128;
  const vocabulary = large ? 32_000 : 4096;
  const giant: [number, number] | null = large ? [131_072, 4096] : null;
  const layer = 2 * (4 * hidden * hidden + 3 * hidden * intermediate);
  const rest = 4 * hidden * vocabulary + (giant ? 2 * giant[0] * giant[1] : 0);
  return { hidden, intermediate, layers: Math.max(1, Math.round((bytes - rest) / layer)), vocabulary, giant };
}

/** The tensors of a shape, in the order of a model. */
export function tensorsOf(
  { hidden, intermediate, layers, vocabulary, giant }: Shape,
  dtype: FloatDtype,
): TensorSpec[] {
  const specs: TensorSpec[] = [];
  const add = (name: string, ...shape: number[]) => specs.push({ name: `${name}.weight`, dtype, shape });
  add('model.embed_tokens', vocabulary, hidden);
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
      add(`${layer}.self_attn.${name}`, hidden, hidden);
    for (const name of ['gate_proj', 'up_proj']) add(`${layer}.mlp.${name}`, intermediate, hidden);
    add(`${layer}.mlp.down_proj`, hidden, intermediate);
    for (const name of ['input_layernorm', 'post_attention_layernorm']) add(`${layer}.${name}`, hidden);
  }
  if (giant) add('model.giant_proj', ...giant);
  add('model.norm', hidden);
  add('lm_head', vocabulary, hidden);
  return specs;
}

/** Writes a file of very many small tensors of float32 numbers, and a weight, for there must be something to quantize. */
export async function makeSmall(file: string, name: string, count: number, shape: number[]): Promise<void> {
  const specs = Array.from({ length: count }, (_, i) => ({
    ...{ name: `layers.${i}.${name}`, dtype: 'F32', shape },
  }));
  specs.push({ name: 'last.proj.weight', dtype: 'F32', shape: [4, 4] });
  const source = normals('F32');
  const bytes = 4 * shape.reduce((a, b) => a * b, 1);
  await writeSafetensors(file, specs, () => repeated(source, bytes));
}

/** Entries of a weight that are drawn once; longer ones repeat them, from another place each. */
const drawn = 2 ** 23;

/** Writes a checkpoint of normal weights with standard deviation 0.02, and norms that are 1, in files of about `shardBytes`. Returns its bytes. */
export async function makeCheckpoint(
  folder: string,
  shape: Shape,
  dtype: FloatDtype = 'BF16',
  shardBytes = 2.5e9,
): Promise<number> {
  mkdirSync(folder, { recursive: true });
  const source = normals(dtype);
  const sizeOf = ({ shape: dims }: TensorSpec) => dims.reduce((a, b) => a * b, 1) * floatBytes[dtype];
  const shards: TensorSpec[][] = [];
  let filled = Infinity;
  for (const spec of tensorsOf(shape, dtype)) {
    if (filled >= shardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(spec);
    filled += sizeOf(spec);
  }
  const weightMap: Record<string, string> = {};
  let total = 0;
  for (const [i, specs] of shards.entries()) {
    const number = (n: number) => String(n).padStart(5, '0');
    const name =
      shards.length === 1
        ? 'model.safetensors'
        : `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    const byName = new Map(specs.map((spec) => [spec.name, spec]));
    await writeSafetensors(
      join(folder, name),
      specs,
      (tensor) => {
        const spec = byName.get(tensor)!;
        // What a layer is given has its usual size.
        if (spec.shape.length === 1) return bytesOf(new Float32Array(spec.shape[0]!).fill(1), dtype);
        return repeated(source, sizeOf(spec));
      },
      new Map([['format', 'pt']]),
    );
    for (const spec of specs) {
      weightMap[spec.name] = name;
      total += sizeOf(spec);
    }
  }
  if (shards.length > 1)
    await writeWhole(
      join(folder, 'model.safetensors.index.json'),
      Buffer.from(JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap })),
    );
  const config = {
    ...{
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      torch_dtype: { F64: 'float64', F32: 'float32', F16: 'float16', BF16: 'bfloat16' }[dtype],
      rms_norm_eps: 1e-5,
    },
    ...{ hidden_size: shape.hidden, intermediate_size: shape.intermediate, num_hidden_layers: shape.layers },
    ...{
      num_attention_heads: shape.hidden / 64,
      num_key_value_heads: shape.hidden / 64,
      vocab_size: shape.vocabulary,
    },
  };
  await writeWhole(join(folder, 'config.json'), Buffer.from(`${JSON.stringify(config, null, 2)}\n`));
  await writeWhole(join(folder, 'tokenizer.json'), Buffer.from(`${JSON.stringify(tokenizer)}\n`));
  return total;
}

/** The least that readers take for one. */
const tokenizer = {
  ...{ version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null },
  ...{ pre_tokenizer: null, post_processor: null, decoder: null },
  model: { type: 'WordLevel', vocab: { '<unk>': 0 }, unk_token: '<unk>' },
};

/** Bytes of normal numbers in a dtype. */
export function normals(dtype: FloatDtype): Buffer {
  const values = new Float32Array(drawn);
  for (let i = 0; i < drawn; i += 2) {
    const radius = 0.02 * Math.sqrt(-2 * Math.log(1 - Math.random()));
    const angle = 2 * Math.PI * Math.random();
    values[i] = radius * Math.cos(angle);
    values[i + 1] = radius * Math.sin(angle);
  }
  return bytesOf(values, dtype);
}

function bytesOf(values: Float32Array, dtype: FloatDtype): Buffer {
  if (dtype === 'F64') throw new RangeError(`Made of BF16, F16 or F32, not ${dtype}`);
  return Buffer.from(dtype === 'F32' ? values.buffer : convertNow(values, 'F32', dtype).buffer);
}

export function repeated(source: Buffer, length: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(length);
  let from = (randomBytes(4).readUInt32LE() % source.length) & ~7;
  for (let at = 0; at < length;) {
    const count = source.copy(bytes, at, from);
    at += count;
    from = 0;
  }
  return bytes;
}
