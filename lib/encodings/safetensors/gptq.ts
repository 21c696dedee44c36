import { moduleOf } from './tensor-names';
import { type Checkpoint, entryOf } from '../../containers/safetensors/checkpoint';
import { type FloatDtype, isFloat } from '../../containers/safetensors/dtypes';
import type { Turns } from '../../yielding';
import type { Scheme, Shape } from '../encoding';
import type { CheckpointFormat } from '../names';
import type { CheckpointEncoding, ConfiguredWeight, FoundWeights, ReaderConfig } from './encoding';
import { layoutOfParts, part, type WeightLayout, words } from './layout';
import { leftWhole, literal, refuseZeroFree, unevenGroups } from './packed';
import { type FoundWeight, foundIn } from './unpack';

/** Codes of these widths lie in words whole, or, 32 of 3 bits, in three of them. */
const widths = [2, 3, 4, 8];

/** `quant_method` in configs, of all versions. */
const method = 'gptq';

const found: FoundWeights = { method, formatKey: 'checkpoint_format', codes: '.qweight', weightOf };

/** Its first version: a zero point is stored less 1, and so the first of all cannot be. */
export const gptq: CheckpointEncoding = {
  ...row('gptq', -1),
  gridFor: () => 'full-range',
  check(scheme) {
    checkWidth('gptq', scheme);
    if (scheme.grid === 'asymmetric')
      throw new RangeError(
        'The format "gptq" cannot hold every zero point of an "asymmetric" grid: use the grid "full-range" or "integer", or the format "gptq_v2"',
      );
  },
};

/** With zero points as they are. */
export const gptqV2: CheckpointEncoding = {
  ...row('gptq_v2', 0),
  gridFor: () => 'asymmetric',
  check: (scheme) => checkWidth('gptq_v2', scheme),
};

/** A neuron a column, in words down the columns; value = (code − zero point)·scale. */
function row(name: CheckpointFormat, zeroShift: 0 | -1): Omit<CheckpointEncoding, 'gridFor' | 'check'> {
  return {
    isPlain: false,
    holdsTransposed: true,
    groupSize: 'channel',
    unfit,
    layout: (shape, _, scheme) => layoutOf(shape, scheme, zeroShift),
    config: (weights, fused, turns) => config(name, weights, fused, turns),
    configFile: 'quantize_config.json',
    warnings: () => [],
    found,
  };
}

function checkWidth(name: CheckpointFormat, scheme: Pick<Scheme, 'grid' | 'bits'>): void {
  refuseZeroFree(name, scheme);
  if (!widths.includes(scheme.bits))
    throw new RangeError(
      `The format "${name}" holds 2, 3, 4 or 8 bits, not ${scheme.bits}: use the format "compressed-tensors"`,
    );
}

function unfit(shape: Shape, scheme: Scheme): string | undefined {
  const uneven = unevenGroups(shape, scheme);
  if (uneven !== undefined) return uneven;
  const per = 32 / gcd(32, scheme.bits);
  const [outFeatures, inFeatures] = shape;
  for (const [count, what] of [
    [inFeatures, 'inputs'],
    [outFeatures, 'outputs'],
  ] as const)
    if (count % per !== 0) return `its ${count} ${what} fill no whole words: ${per} codes do`;
  return undefined;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function layoutOf(
  [outFeatures, inFeatures]: Shape,
  { bits, groupSize }: Scheme,
  zeroShift: 0 | -1,
  outType: FloatDtype = 'F16',
): WeightLayout {
  const groups = Math.ceil(inFeatures / groupSize);
  const groupOf = () => Int32Array.from({ length: inFeatures }, (_, i) => Math.floor(i / groupSize));
  return layoutOfParts({
    packing: { order: 'input-major', outType, zeroShift },
    stored: { scales: 'F16', values: null },
    codes: part('.qweight', 'I32', [words(inFeatures, bits), outFeatures]),
    scales: part('.scales', outType, [groups, outFeatures]),
    zeroPoints: part('.qzeros', 'I32', [groups, words(outFeatures, bits)]),
    constants: [{ part: part('.g_idx', 'I32', [inFeatures]), data: () => new Uint8Array(groupOf().buffer) }],
  });
}

/** The most frequent width is for all; what differs, and what is left, is told module by module, and by the names of what is fused. */
async function config(
  name: CheckpointFormat,
  weights: readonly ConfiguredWeight[],
  fused: readonly ConfiguredWeight[],
  turns: Turns,
): Promise<ReaderConfig> {
  const own = ({ bits, groupSize, grid }: Scheme) => ({
    bits,
    group_size: groupSize === Infinity ? -1 : groupSize,
    sym: grid !== 'asymmetric',
  });
  // Very many weights share one object.
  const keys = new Map<Scheme, string>();
  const keyOf = (scheme: Scheme) => {
    const key = keys.get(scheme) ?? JSON.stringify(own(scheme));
    keys.set(scheme, key);
    return key;
  };
  const counts = new Map<string, number>();
  for (const [, scheme] of weights)
    if (scheme) {
      const key = keyOf(scheme);
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  const [common] = [...counts].sort(([, a], [, b]) => b - a)[0]!;
  const dynamic: Record<string, unknown> = {};
  const tell = (module: string, scheme: Scheme | null) => {
    if (!scheme) dynamic[`-:^${literal(module)}$`] = {};
    else if (keyOf(scheme) !== common) dynamic[`+:^${literal(module)}$`] = own(scheme);
  };
  for (const [weight, scheme] of weights) {
    if (turns.due) await turns.next();
    tell(moduleOf(weight), scheme);
  }
  for (const [path, scheme] of fused) tell(path, scheme);
  for (const module of await leftWhole(weights, turns)) dynamic[`-:^${literal(module)}\\.`] = {};
  return {
    quant_method: method,
    ...(JSON.parse(common) as object),
    desc_act: false,
    lm_head: weights.some(([weight, scheme]) => scheme && moduleOf(weight) === 'lm_head'),
    checkpoint_format: name,
    ...(Object.keys(dynamic).length > 0 && { dynamic }),
  };
}

function weightOf(
  checkpoint: Checkpoint,
  module: string,
  { sym, checkpoint_format: version }: Readonly<Record<string, unknown>>,
): FoundWeight | undefined {
  const part = (suffix: string) => entryOf(checkpoint, `${module}.${suffix}`);
  const [codes, zeros, scales] = [part('qweight'), part('qzeros'), part('scales')];
  if (codes?.shape.length !== 2 || zeros?.shape.length !== 2 || scales?.shape.length !== 2) return undefined;
  const outFeatures = codes.shape[1]!;
  const bits = widths.find((width) => width === (32 * zeros.shape[1]!) / outFeatures);
  if (bits === undefined || !isFloat(scales.dtype)) return undefined;
  const shape: [number, number] = [outFeatures, (32 * codes.shape[0]!) / bits];
  const groupSize = Math.ceil(shape[1] / scales.shape[0]!);
  const scheme = { bits, levels: 2 ** bits, grid: 'asymmetric', groupSize } as const;
  const layout = layoutOf(shape, scheme, version === 'gptq_v2' ? 0 : -1, scales.dtype);
  const symmetric = sym !== false;
  return foundIn(checkpoint, module, layout, { shape, bits, groupSize, symmetric }, `${module}.g_idx`);
}
