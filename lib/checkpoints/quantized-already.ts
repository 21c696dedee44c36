import type { Checkpoint } from '../containers/safetensors/checkpoint';
import type { TensorEntry } from '../containers/tensor-file';
import { Turns } from '../yielding';
import { splitName } from '../encodings/safetensors/tensor-names';

// Weights in few bits that others made: what their tensors are called, and of which types.

/** By the last part of a name, what no float weight has beside it. */
const companion =
  /^(weight_(packed|scale|scale_inv|scale_2|scales|zero_point|zeros|shape|g_idx|blocks|quantized)|scale_weight|qweight|qzeros|q_weight|q_scale|q_scale_max|q_groups|q_invperm|g_idx|W_q|SCB|weight_format|absmax|quant_map|nested_absmax|nested_quant_map|bitsandbytes__\w{1,20}|trellis|codebooks|_data|_scale)$/;
const narrowFloat = /^F[468]_|^F4$/;
const integer = /^[IU](8|16|32)$/;
const scaleName = /scale|zero|absmax/i;

/** Of tensors that are part of a weight in few bits, what tells so; undefined for others. */
export type QuantizedAlready = (name: string) => string | undefined;

/** Finds the weights of a checkpoint that are quantized already, with all that belongs to them. */
export async function quantizedIn({ shards }: Checkpoint): Promise<{
  of: QuantizedAlready;
  /** A sentence for each module. */
  found: readonly string[];
}> {
  const turns = new Turns();
  const modules = new Map<string, string>();
  const perhaps: [module: string, why: string][] = [];
  const scaled = new Set<string>();
  for (const { tensors } of shards.values())
    for (const [name, entry] of tensors) {
      if (turns.due) await turns.next();
      const [, own] = splitName(name);
      if (scaleName.test(own)) scaled.add(moduleWith(name));
      if (companion.test(own) || isNarrow(entry) || isPacked(own, entry)) mark(modules, name, entry);
      else if (isPacked('weight', entry)) perhaps.push([moduleWith(name), whyOf(name, entry)]);
    }
  // Integers that have a scale beside them.
  for (const [module, why] of perhaps)
    if (scaled.has(module) && !modules.has(module)) modules.set(module, why);
  return {
    of: (name) => (modules.size === 0 ? undefined : modules.get(moduleWith(name))),
    found: [...modules.values()],
  };
}

/** The first one of the codes themselves tells more than a scale does. */
function mark(modules: Map<string, string>, name: string, entry: TensorEntry): void {
  const module = moduleWith(name);
  if (!modules.has(module) || /weight$|packed$|blocks$/.test(name)) modules.set(module, whyOf(name, entry));
}

const whyOf = (name: string, { dtype, shape }: TensorEntry) => `"${name}" is ${dtype} [${shape.join(', ')}]`;

const isNarrow = ({ dtype }: TensorEntry) => narrowFloat.test(dtype);

const isPacked = (own: string, { dtype, shape }: TensorEntry) =>
  shape.length >= 2 && integer.test(dtype) && /weight|_blocks$/.test(own);

/** The module a tensor is part of: `a` of `a.weight`, `a.weight_scale`, `a.weight.absmax`, `a.qweight`. */
function moduleWith(name: string): string {
  const at = name.indexOf('.weight.');
  return at >= 0 ? name.slice(0, at) : splitName(name)[0].slice(0, -1);
}
