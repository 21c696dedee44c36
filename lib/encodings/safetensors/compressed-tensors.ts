import { moduleOf, splitName } from './tensor-names';
import { type Checkpoint, entryOf } from '../../containers/safetensors/checkpoint';
import { type FloatDtype, isFloat } from '../../containers/safetensors/dtypes';
import type { Turns } from '../../yielding';
import type { Scheme, Shape } from '../encoding';
import type { CheckpointEncoding, ConfiguredWeight, ReaderConfig } from './encoding';
import { layoutOfParts, part, type WeightLayout, words } from './layout';
import { leftWhole, literal, refuseZeroFree, unevenGroups } from './packed';
import { type FoundWeight, foundIn } from './unpack';
import { warn, type Warning } from '../../warning-codes';

const name = 'compressed-tensors';
const format = 'pack-quantized';
const codesSuffix = '.weight_packed';
/** Widths that every reader takes. */
const usualBits = [2, 4, 8];

/** A neuron a row, in words that codes may cross; value = (code − zero point)·scale. */
export const compressedTensors: CheckpointEncoding = {
  isPlain: false,
  holdsTransposed: false,
  groupSize: 'channel',
  // Zero points not all current readers load.
  gridFor: () => 'full-range',
  check: (scheme) => refuseZeroFree(name, scheme),
  unfit: unevenGroups,
  layout: layoutOf,
  config,
  configFile: null,
  warnings,
  found: { method: name, formatKey: 'format', codes: codesSuffix, weightOf },
};

const shapePart = part('.weight_shape', 'I64', [2]);

function layoutOf([outFeatures, inFeatures]: Shape, dtype: FloatDtype, scheme: Scheme): WeightLayout {
  const { bits, grid } = scheme;
  const groups = Math.ceil(inFeatures / scheme.groupSize);
  const outType = dtype === 'F64' ? 'F32' : dtype;
  const hasZeroPoints = grid === 'asymmetric';
  const sizes = () => new Uint8Array(BigInt64Array.of(BigInt(outFeatures), BigInt(inFeatures)).buffer);
  return layoutOfParts({
    packing: { order: 'neuron-major', outType, zeroShift: 0 },
    stored: { scales: outType, values: null },
    codes: part(codesSuffix, 'I32', [outFeatures, words(inFeatures, bits)]),
    scales: part('.weight_scale', outType, [outFeatures, groups]),
    zeroPoints: hasZeroPoints ? part('.weight_zero_point', 'I32', [words(outFeatures, bits), groups]) : null,
    constants: [{ part: shapePart, data: sizes }],
  });
}

/** One group of weights per scheme; the most frequent one is for all linear layers, the others name theirs. */
async function config(
  weights: readonly ConfiguredWeight[],
  _: readonly ConfiguredWeight[],
  turns: Turns,
): Promise<ReaderConfig> {
  const schemes = new Map<string, { scheme: Record<string, unknown>; names: string[] }>();
  // Very many weights share one object.
  const namesOf = new Map<Scheme, string[]>();
  const ignore = new Set<string>();
  let quantizesHead = false;
  for (const [weight, own] of weights) {
    if (turns.due) await turns.next();
    const module = moduleOf(weight);
    if (!own) {
      ignore.add(module);
      continue;
    }
    quantizesHead ||= module === 'lm_head';
    let names = namesOf.get(own);
    if (!names) {
      const scheme = weightScheme(own);
      const key = JSON.stringify(scheme);
      const known = schemes.get(key) ?? { scheme, names: [] };
      schemes.set(key, known);
      namesOf.set(own, (names = known.names));
    }
    names.push(module);
  }
  for (const module of await leftWhole(weights, turns)) ignore.add(`re:^${literal(module)}\\.`);
  // A head that shares its weight with the embedding is not in the file, and is a linear layer all the same.
  if (!quantizesHead) ignore.add('lm_head');
  const sorted = [...schemes.values()].sort((a, b) => b.names.length - a.names.length);
  const groups = sorted.map(({ scheme, names }, i) => [
    `group_${i}`,
    {
      targets: i === 0 && sorted.length === 1 ? ['Linear'] : names.map((module) => `re:^${literal(module)}$`),
      weights: scheme,
      input_activations: null,
      output_activations: null,
    },
  ]);
  return {
    quant_method: name,
    format,
    quantization_status: 'compressed',
    ignore: [...ignore],
    config_groups: Object.fromEntries(groups) as unknown,
  };
}

function weightScheme({ bits, grid, groupSize }: Scheme): Record<string, unknown> {
  const isChannel = groupSize === Infinity;
  return {
    num_bits: bits,
    type: 'int',
    symmetric: grid !== 'asymmetric',
    strategy: isChannel ? 'channel' : 'group',
    group_size: isChannel ? null : groupSize,
    dynamic: false,
    actorder: null,
  };
}

function warnings(weights: readonly ConfiguredWeight[]): Warning[] {
  const list: Warning[] = [];
  const schemes = weights.map(([, scheme]) => scheme).filter((scheme) => scheme !== null);
  const odd = new Set(schemes.map(({ bits }) => bits).filter((bits) => !usualBits.includes(bits)));
  if (odd.size > 0)
    list.push(
      warn(
        'WARN_VERTEXQ_READER',
        `Only readers from mid-2026 on take ${[...odd].sort().join(', ')} bits; 4 and 8 are read by all.`,
      ),
    );
  if (schemes.some(({ grid }) => grid === 'asymmetric'))
    list.push(
      warn(
        'WARN_VERTEXQ_READER',
        'transformers 5 with compressed-tensors 0.20 does not load the zero points of an "asymmetric" grid; "full-range" and "integer" are read by all.',
      ),
    );
  if (weights.some(([weight]) => splitName(moduleOf(weight))[1] === 'lm_head'))
    list.push(
      warn(
        'WARN_VERTEXQ_READER',
        'vLLM takes no packed "lm_head" in this format: the formats "gptq" and "gptq_v2" it does.',
      ),
    );
  return list;
}

async function weightOf(
  checkpoint: Checkpoint,
  module: string,
  config: Readonly<Record<string, unknown>>,
): Promise<FoundWeight | undefined> {
  const part = (suffix: string) => entryOf(checkpoint, module + suffix);
  const [codes, scales, size] = [part(codesSuffix), part('.weight_scale'), part('.weight_shape')];
  if (codes?.shape.length !== 2 || scales?.shape.length !== 2 || !isFloat(scales.dtype)) return undefined;
  if (size?.dtype !== 'I64' || size.byteLength !== 16) return undefined;
  const sizeName = `${module}.weight_shape`;
  const bytes = await checkpoint.shards.get(checkpoint.places.get(sizeName)!)!.read(sizeName);
  const shape = [...new BigInt64Array(bytes.buffer)].map(Number) as [number, number];
  const [, inFeatures] = shape;
  const bits = bitsOf(codes.shape[1]!, inFeatures, module, config);
  if (!shape.every((dim) => dim > 0 && dim < 2 ** 31) || bits === undefined) return undefined;
  const groupSize = Math.ceil(inFeatures / scales.shape[1]!);
  const symmetric = !part('.weight_zero_point');
  const grid = symmetric ? 'full-range' : 'asymmetric';
  const layout = layoutOf(shape, scales.dtype, { bits, levels: 2 ** bits, grid, groupSize });
  return foundIn(checkpoint, module, layout, { shape, bits, groupSize, symmetric }, `${module}.weight_g_idx`);
}

/** The width of codes that fill so many words; of few inputs several may: then the config tells. */
function bitsOf(
  width: number,
  inFeatures: number,
  module: string,
  { config_groups: groups }: Readonly<Record<string, unknown>>,
): number | undefined {
  const possible = ([1, 2, 3, 4, 5, 6, 7, 8] as const).filter((bits) => words(inFeatures, bits) === width);
  if (possible.length < 2) return possible[0];
  type Told = { targets?: unknown; weights?: { num_bits?: unknown } } | null;
  const all =
    typeof groups === 'object' && groups !== null ? Object.values(groups as Record<string, Told>) : [];
  const own = `re:^${literal(module)}$`;
  const told = all.find((group) => Array.isArray(group?.targets) && group.targets.includes(own)) ?? all[0];
  return possible.find((bits) => bits === told?.weights?.num_bits);
}
