import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { bytesOf, fileOf, type Tensors } from '../checkpoints/make';

/** What transformers computes with a small model (bench/language/decoder_goldens.py). */
export interface Golden {
  name: string;
  config: Record<string, unknown>;
  /** Shapes by name. */
  tensors: Record<string, number[]>;
  ids: number[][];
  /** [batch, sequence, vocabulary]. */
  logits: number[][][];
}

export const { cases } = JSON.parse(readFileSync(join(__dirname, 'goldens.json'), 'utf8')) as {
  cases: readonly Golden[];
};

/** The weights that follow from a tensor's name; each is exact in any float type. */
export function weightsOf(name: string, shape: readonly number[]): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1);
  const seed = crc32(name);
  const isFactor = shape.length === 1 && name.endsWith('weight');
  return Float32Array.from({ length: count }, (_, i) => {
    let mixed = (Math.imul(i, 2654435761) + seed) | 0;
    mixed = Math.imul(mixed ^ (mixed >>> 15), 2246822519);
    const whole = (mixed ^ (mixed >>> 13)) >>> 0;
    return isFactor ? ((whole % 127) + 65) / 128 : ((whole % 255) - 127) / 256;
  });
}

/** Weights by their names. */
export type Weights = Record<string, { shape: number[]; values: Float32Array }>;

export function weightsIn({ tensors }: Golden): Weights {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, shape]) => [name, { shape, values: weightsOf(name, shape) }]),
  );
}

/** The same with the weights of experts in a tensor for all: [experts, …]; `byInputs`: each transposed. */
export function fusedExperts(weights: Weights, byInputs = false): Weights {
  const fused: Weights = {};
  const layers = new Map<string, Map<number, Record<string, Weights[string]>>>();
  for (const [name, weight] of Object.entries(weights)) {
    const found = /^(.*\.experts)\.(\d+)\.(.*)\.weight$/.exec(name);
    if (!found) {
      fused[name] = weight;
      continue;
    }
    const [, list, expert, module] = found as unknown as [string, string, string, string];
    const experts = layers.get(list) ?? new Map<number, Record<string, Weights[string]>>();
    layers.set(list, experts);
    experts.set(Number(expert), { ...experts.get(Number(expert)), [module]: weight });
  }
  for (const [list, experts] of layers) {
    const inOrder = [...experts].sort(([a], [b]) => a - b).map(([, parts]) => parts);
    const joined = (modules: string[][], name: string) => {
      const parts = inOrder.flatMap((own) => modules.map((names) => own[names.find((key) => own[key])!]!));
      const [rows, cols] = [modules.length * parts[0]!.shape[0]!, parts[0]!.shape[1]!];
      const values = Float32Array.from(parts.flatMap((part) => [...part.values]));
      const shape = [inOrder.length, ...(byInputs ? [cols, rows] : [rows, cols])];
      const size = rows * cols;
      const from = (i: number) => i - (i % size) + ((i % size) % rows) * cols + Math.floor((i % size) / rows);
      fused[`${list}.${name}`] = {
        shape,
        values: byInputs ? values.map((_, i) => values[from(i)]!) : values,
      };
    };
    joined(
      [
        ['gate_proj', 'w1'],
        ['up_proj', 'w3'],
      ],
      'gate_up_proj',
    );
    joined([['down_proj', 'w2']], 'down_proj');
  }
  return fused;
}

/** A model of one block with so many tokens, and as small as can be otherwise. */
export function wide(vocabulary: number): Golden {
  const golden = cases.find(({ name }) => name === 'llama')!;
  const config = {
    ...{ ...golden.config, hidden_size: 8, intermediate_size: 8, num_attention_heads: 2 },
    ...{ num_key_value_heads: 1, head_dim: 4, num_hidden_layers: 1, vocab_size: vocabulary },
  };
  const tensors: Golden['tensors'] = { 'model.norm.weight': [8] };
  for (const name of ['model.embed_tokens', 'lm_head']) tensors[`${name}.weight`] = [vocabulary, 8];
  const sizes = { q_proj: [8, 8], k_proj: [4, 8], v_proj: [4, 8], o_proj: [8, 8] };
  for (const [name, shape] of Object.entries(sizes))
    tensors[`model.layers.0.self_attn.${name}.weight`] = shape;
  for (const name of ['gate_proj', 'up_proj', 'down_proj'])
    tensors[`model.layers.0.mlp.${name}.weight`] = [8, 8];
  for (const name of ['input_layernorm', 'post_attention_layernorm'])
    tensors[`model.layers.0.${name}.weight`] = [8];
  return { ...golden, config, tensors };
}

/** A model whose feed forward is so wide. */
export function withFeedForward(golden: Golden, width: number): Golden {
  const { intermediate_size: before } = golden.config;
  const tensors = Object.entries(golden.tensors).map(([name, shape]) => [
    name,
    shape.map((size) => (size === before ? width : size)),
  ]);
  return {
    ...golden,
    config: { ...golden.config, intermediate_size: width },
    tensors: Object.fromEntries(tensors) as Golden['tensors'],
  };
}

/** Writes a model into a folder. */
export function writeModel(
  folder: string,
  config: object,
  weights: Weights,
  dtype: 'F32' | 'F16' | 'BF16' = 'F32',
): void {
  const stored: Tensors = {};
  for (const [name, { shape, values }] of Object.entries(weights))
    stored[name] = { dtype, shape, data: bytesOf(values, dtype) };
  writeFileSync(join(folder, 'model.safetensors'), fileOf(stored));
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
}
