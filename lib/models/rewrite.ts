import { packMatMulNBits } from '../formats/matmulnbits';
import type { QuantizedLayer } from '../types';
import { inTensorLayout, type Layer } from './find-layers';
import { floatAttribute, Graph, isStandard, namesOf } from './onnx/graph';
import { node, tensor } from './onnx/make';
import { create } from '@bufbuild/protobuf';
import { OperatorSetIdProtoSchema, type ModelProto, type NodeProto, type TensorProto } from './onnx/onnx_pb';
import { setFloatValues } from './onnx/tensor';

/** A quantized layer and where it goes. */
export interface Replacement {
  layer: Layer;
  quantized: QuantizedLayer;
  /** Rank of the layer's activation, where it is known: a weight on the left needs it. */
  activationRank: number | undefined;
}

/** Writes quantized weights into a model, which is changed. Returns each layer's bytes there, in the order of `replacements`. */
export type Rewrite = (model: ModelProto, replacements: readonly Replacement[]) => number[];

/** Names that nothing in the model has yet. */
class Names {
  private readonly taken: Set<string>;

  constructor(model: ModelProto) {
    this.taken = namesOf(model.graph!);
  }

  unused(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.taken.has(name); i++) name = `${wanted}_${i}`;
    this.taken.add(name);
    return name;
  }
}

/**
 * Format `float`: the values on the grid, in the original layout and, where nothing else uses the weight, under its name. Only
 * weights change.
 */
export const rewriteFloat: Rewrite = (model, replacements) => {
  const names = new Names(model);
  const fresh = new Map<QuantizedLayer, string>();
  const graph = new Graph(model, 'the model');
  const ownUses = new Map<QuantizedLayer, number>();
  for (const { quantized } of replacements) ownUses.set(quantized, (ownUses.get(quantized) ?? 0) + 1);
  const sizes = replacements.map(({ layer, quantized }) => {
    const { tensor: original, chain } = layer.constant;
    const values = inTensorLayout(layer, quantized.dequantize());
    if (isOnlyUsedBy(layer, ownUses.get(quantized)!, graph)) {
      setFloatValues(original, values);
    } else {
      // Another use needs the float weight: this one gets a tensor of its own, as the node sees it.
      let name = fresh.get(quantized);
      if (name === undefined) {
        name = names.unused(`${original.name || layer.name}_quantized`);
        fresh.set(quantized, name);
        model.graph!.initializer.push(tensor(name, original.dims.map(Number), values));
      }
      if (chain.length === 0 || !layer.constant.transposed) layer.node.input[layer.weightIndex] = name;
      else {
        const flipped = names.unused(`${name}_transposed`);
        insertBefore(model, layer.node, [
          node('Transpose', [name], [flipped], { attributes: { perm: [1n, 0n] } }),
        ]);
        layer.node.input[layer.weightIndex] = flipped;
      }
    }
    return values.byteLength;
  });
  dropUnused(model, replacements);
  return sizes;
};

/** Whether a weight's only uses, through every value it goes by, are `layers` many quantized layers. */
function isOnlyUsedBy(layer: Layer, layers: number, graph: Graph): boolean {
  const { tensor: original, chain } = layer.constant;
  const source = chain.find((step) => step.opType === 'Constant')?.output[0] ?? original.name;
  // Followed forward, as a tied weight may reach its layers on several ways.
  let uses = 0;
  const pending = [source];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const passing = graph.proto.node.filter(
      (step) =>
        step.input.includes(name) &&
        (step.opType === 'Transpose' || step.opType === 'Identity') &&
        isStandard(step),
    );
    uses += graph.usesOf(name) - passing.length;
    for (const step of passing) pending.push(step.output[0]!);
  }
  return uses === layers;
}

/** Format `matmulnbits`: com.microsoft.MatMulNBits nodes in place of MatMul and Gemm. */
export const rewriteMatMulNBits: Rewrite = (model, replacements) => {
  const names = new Names(model);
  const packed = new Map<
    QuantizedLayer,
    { names: string[]; attributes: Record<string, bigint>; scales: TensorProto; bytes: number }
  >();
  const sizes = replacements.map((replacement) => {
    const { layer, quantized } = replacement;
    let weight = packed.get(quantized);
    if (!weight) {
      const p = packMatMulNBits(quantized);
      const base = layer.constant.tensor.name || layer.node.input[layer.weightIndex]!;
      const codes = names.unused(`${base}_Q${p.bits}`);
      const scales = names.unused(`${base}_scales`);
      const scalesTensor = tensor(scales, [quantized.outFeatures, p.blocks], p.scales);
      const blockBytes = (p.blockSize * p.bits) / 8;
      const tensors = [tensor(codes, [quantized.outFeatures, p.blocks, blockBytes], p.codes), scalesTensor];
      const inputs = [codes, scales];
      if (p.zeroPoints) {
        const zeros = names.unused(`${base}_zero_points`);
        tensors.push(
          tensor(zeros, [quantized.outFeatures, p.zeroPoints.length / quantized.outFeatures], p.zeroPoints),
        );
        inputs.push(zeros);
      }
      model.graph!.initializer.push(...tensors);
      const attributes = {
        K: BigInt(quantized.inFeatures),
        N: BigInt(quantized.outFeatures),
        bits: BigInt(p.bits),
        block_size: BigInt(p.blockSize),
      };
      const bytes = p.codes.byteLength + p.scales.byteLength + (p.zeroPoints?.byteLength ?? 0);
      weight = { names: inputs, attributes, scales: scalesTensor, bytes };
      packed.set(quantized, weight);
    }
    insertBefore(model, layer.node, productNodes(replacement, weight, names, model));
    remove(model, layer.node);
    return weight.bytes;
  });
  dropUnused(model, replacements);
  if (!model.opsetImport.some(({ domain }) => domain === 'com.microsoft'))
    model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'com.microsoft', version: 1n }));
  return sizes;
};

/** What computes a layer's output from its packed weight. */
function productNodes(
  { layer, activationRank }: Replacement,
  weight: { names: string[]; attributes: Record<string, bigint> },
  names: Names,
  model: ModelProto,
): NodeProto[] {
  const output = layer.node.output[0]!;
  const base = layer.node.name || output;
  const bits = weight.attributes['bits']!;
  const nodes: NodeProto[] = [];
  const steps: ((input: string, output: string) => NodeProto)[] = [];
  const rank = activationRank ?? 2;
  // Exchanges the last two axes.
  const transpose = (input: string, result: string) => {
    const perm = Array.from({ length: rank }, (_, i) => BigInt(i < rank - 2 ? i : 2 * rank - 3 - i));
    return node('Transpose', [input], [result], {
      name: names.unused(`${base}_transpose`),
      attributes: { perm },
    });
  };
  // A vector is a row as it is.
  if (layer.featureAxis === -2 && rank > 1) steps.push(transpose);
  steps.push((input, result) =>
    node('MatMulNBits', [input, ...weight.names], [result], {
      name: names.unused(`${base}_Q${bits}`),
      domain: 'com.microsoft',
      attributes: weight.attributes,
    }),
  );
  if (layer.kind === 'MatMul' && layer.weightIndex === 0 && rank > 1) steps.push(transpose);
  if (layer.kind === 'Gemm') steps.push(...gemmSteps(layer, base, names, model));
  let value = layer.activation;
  for (const [i, step] of steps.entries()) {
    const result = i === steps.length - 1 ? output : names.unused(`${output}_${i}`);
    nodes.push(step(value, result));
    value = result;
  }
  return nodes;
}

/** Gemm's α and β·C, where they are not 1 and absent. */
function gemmSteps(
  layer: Layer,
  base: string,
  names: Names,
  model: ModelProto,
): ((input: string, output: string) => NodeProto)[] {
  const alpha = floatAttribute(layer.node, 'alpha', 1);
  const beta = floatAttribute(layer.node, 'beta', 1);
  let bias = layer.node.input[2] ?? '';
  const constant = (value: number) => {
    const name = names.unused(`${base}_factor`);
    model.graph!.initializer.push(tensor(name, [], Float32Array.of(value)));
    return name;
  };
  const steps: ((input: string, output: string) => NodeProto)[] = [];
  if (alpha !== 1)
    steps.push((input, output) =>
      node('Mul', [input, constant(alpha)], [output], { name: names.unused(`${base}_alpha`) }),
    );
  if (bias !== '' && beta !== 0) {
    if (beta !== 1) {
      const scaled = names.unused(`${base}_scaled_bias`);
      insertBefore(model, layer.node, [
        node('Mul', [bias, constant(beta)], [scaled], { name: names.unused(`${base}_beta`) }),
      ]);
      bias = scaled;
    }
    steps.push((input, output) =>
      node('Add', [input, bias], [output], { name: names.unused(`${base}_bias`) }),
    );
  }
  return steps;
}

function insertBefore(model: ModelProto, before: NodeProto, nodes: NodeProto[]): void {
  const all = model.graph!.node;
  all.splice(all.indexOf(before), 0, ...nodes);
}

function remove(model: ModelProto, unwanted: NodeProto): void {
  const all = model.graph!.node;
  all.splice(all.indexOf(unwanted), 1);
}

/** Takes out the float weights that nothing uses any more, the nodes they went through, and what is said about either. */
function dropUnused(model: ModelProto, replacements: readonly Replacement[]): void {
  const graph = new Graph(model, 'the model');
  const steps = new Set(replacements.flatMap(({ layer }) => layer.constant.chain));
  const weights = new Set(replacements.map(({ layer }) => layer.constant.tensor));
  // From the layer's end of the way to the weight's, for each step frees the one before.
  const freed = new Map<string, number>();
  const isFree = (name: string) => graph.usesOf(name) === (freed.get(name) ?? 0);
  const pending = [...steps];
  const gone = new Set<string>();
  for (let step = pending.shift(); step; step = pending.shift()) {
    if (!steps.has(step) || !step.output.every(isFree)) continue;
    steps.delete(step);
    remove(model, step);
    for (const name of step.output) gone.add(name);
    for (const name of step.input) {
      freed.set(name, (freed.get(name) ?? 0) + 1);
      const before = graph.producerOf(name);
      if (before) pending.push(before);
    }
  }
  for (const weight of weights)
    if (graph.initializer(weight.name) === weight && isFree(weight.name)) gone.add(weight.name);
  graph.proto.initializer = graph.proto.initializer.filter((kept) => !gone.has(kept.name));
  for (const list of ['input', 'valueInfo'] as const)
    graph.proto[list] = graph.proto[list].filter(({ name }) => !gone.has(name));
}
