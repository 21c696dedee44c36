// The names of all encodings, as options, reports and the command line have them: the first of a container is its default. What else
// there is to know of each stands in its row, in the table of its container: onnx/table.ts, safetensors/table.ts.

/** Of ONNX files, each with what help says of it. */
export const modelFormats = {
  matmulnbits: 'com.microsoft.MatMulNBits for products, DequantizeLinear for the rest',
  qdq: 'DequantizeLinear for all',
  float: 'values on the grid in the original layout',
} as const;
/** What networks are written as. */
export type ModelFormat = keyof typeof modelFormats;

/** Of checkpoints: safetensors files, and the network of a language model. `gptq` and `gptq_v2` differ in how a zero point is stored. */
export const checkpointFormats = {
  'compressed-tensors': 'pack-quantized, a neuron a row',
  gptq: 'version 1: zero points less 1',
  gptq_v2: 'version 2: zero points as they are',
  float: modelFormats.float,
  gguf: 'a GGUF file, a type for each tensor by --target-size or --target-bits',
  'gguf:q4_0': 'a GGUF file, as the others behind it, for llama.cpp and node-llama-cpp',
  'gguf:q4_1': 'with minima',
  'gguf:q5_0': '5 bits',
  'gguf:q5_1': '5 bits with minima',
  'gguf:q8_0': '8 bits',
  'gguf:q2_k': 'mixed, as all with a k: 2 and 3 bits',
  'gguf:q3_k_s': '3 bits',
  'gguf:q3_k_m': '3 and 4 bits',
  'gguf:q3_k_l': '3 and 5 bits',
  'gguf:q4_k_s': '4 bits, few tensors in 5',
  'gguf:q4_k_m': '4 and 6 bits',
  'gguf:q5_k_s': '5 bits',
  'gguf:q5_k_m': '5 and 6 bits',
  'gguf:q6_k': '6 bits',
  'gguf:iq4_nl': '4 bits, uneven levels',
  'gguf:iq4_xs': 'the same in super-blocks',
  'gguf:f16': 'not quantized',
  'gguf:bf16': 'not quantized',
  onnx: 'a language model as a network with a cache, for transformers.js',
} as const;
/** Block types of GGUF files that weights become, as ggml has them: lib/encodings/gguf/table.ts has a row each. */
export const ggufTypeNames = [
  ...(['Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0'] as const),
  ...(['Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'IQ4_NL', 'IQ4_XS'] as const),
] as const;
export type GgufTypeName = (typeof ggufTypeNames)[number];

/** The format of GGUF files whose types follow from their size. */
export const anyGguf = 'gguf';
/** Whether a format writes a GGUF file. */
export const isGguf = (format: unknown): boolean =>
  typeof format === 'string' && (format === anyGguf || format.startsWith(`${anyGguf}:`));

/** What checkpoints are written as. */
export type CheckpointFormat = keyof typeof checkpointFormats;

/** What help says of some formats. */
export const helpOf = (formats: Readonly<Record<string, string>>): string =>
  Object.entries(formats)
    .map(([name, text]) => `${name} (${text})`)
    .join(', ');

/** Names in the order of their table. */
export const namesOf = <Name extends string>(formats: Readonly<Record<Name, string>>): readonly Name[] =>
  Object.keys(formats) as Name[];
