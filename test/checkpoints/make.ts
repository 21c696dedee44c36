import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { floatToHalf } from '../numbers';
import type { FloatDtype } from '../../lib/containers/safetensors/dtypes';
import { layoutOf, type TensorSpec } from '../containers/safetensors/write';

/** Tensors by name. */
export type Tensors = Record<string, { dtype: string; shape: number[]; data: Uint8Array }>;

/** Numbers between −1 and 1, the same wherever they are drawn. */
export function numbers(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  let state = seed * 7919 + 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    // The sum of a few is near enough to a normal number.
    const sum = (state & 255) + ((state >> 8) & 255) + ((state >> 16) & 255) + ((state >> 24) & 255);
    values[i] = (sum - 510) / 512;
  }
  return values;
}

export function bytesOf(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === 'F64') return new Uint8Array(Float64Array.from(values).buffer);
  if (dtype === 'F32') return new Uint8Array(values.slice().buffer);
  if (dtype === 'F16') return new Uint8Array(floatToHalf(values).buffer);
  const words = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < words.length; i++) words[i]! >>>= 16;
  return new Uint8Array(new Uint16Array(words).buffer);
}

export function tensor(dtype: FloatDtype, shape: number[], seed: number) {
  const count = shape.reduce((product, dim) => product * dim, 1);
  return { dtype, shape, data: bytesOf(numbers(count, seed), dtype) };
}

/** The bytes of a safetensors file. */
export function fileOf(tensors: Tensors, metadata?: Record<string, string>): Buffer {
  const specs: TensorSpec[] = Object.entries(tensors).map(([name, { dtype, shape, data }]) => ({
    ...{ name, dtype, shape, byteLength: data.length },
  }));
  const { head, tensors: places, size } = layoutOf(specs, new Map(Object.entries(metadata ?? {})));
  const bytes = Buffer.alloc(size);
  bytes.set(head);
  for (const [name, { position }] of places) bytes.set(tensors[name]!.data, position);
  return bytes;
}

/** A model's folder: shards, an index, a config and a tokenizer. */
export function writeFolder(
  folder: string,
  shards: Tensors[],
  config: object = { model_type: 'llama' },
): void {
  mkdirSync(folder, { recursive: true });
  const weightMap: Record<string, string> = {};
  for (const [i, tensors] of shards.entries()) {
    const name = `model-0000${i + 1}-of-0000${shards.length}.safetensors`;
    writeFileSync(join(folder, name), fileOf(tensors, { format: 'pt' }));
    for (const own of Object.keys(tensors)) weightMap[own] = name;
  }
  writeFileSync(
    join(folder, 'model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }),
  );
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'tokenizer.json'), '{}');
}

/** Two shards like those of a small Llama. */
export function smallModel(dtype: FloatDtype = 'BF16', hidden = 64): Tensors[] {
  const layer = (i: number): Tensors => {
    const own = `model.layers.${i}`;
    const attention = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map(
      (name, j) => [`${own}.self_attn.${name}.weight`, tensor(dtype, [hidden, hidden], 10 * i + j)] as const,
    );
    return {
      ...Object.fromEntries(attention),
      [`${own}.mlp.up_proj.weight`]: tensor(dtype, [2 * hidden, hidden], 10 * i + 5),
      [`${own}.mlp.down_proj.weight`]: tensor(dtype, [hidden, 2 * hidden], 10 * i + 6),
      [`${own}.input_layernorm.weight`]: tensor(dtype, [hidden], 10 * i + 7),
    };
  };
  return [
    { 'model.embed_tokens.weight': tensor(dtype, [100, hidden], 1), ...layer(0) },
    {
      ...layer(1),
      'model.norm.weight': tensor(dtype, [hidden], 2),
      'lm_head.weight': tensor(dtype, [100, hidden], 3),
      'model.steps': { dtype: 'I64', shape: [1], data: new Uint8Array(8).fill(7) },
    },
  ];
}
