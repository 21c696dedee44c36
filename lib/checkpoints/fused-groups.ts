import type { LayerSettings } from '../fit/layer-settings';
import { fewOf } from '../reports/text';
import type { Left } from './choose-weights';
import type { Turns } from '../yielding';
import { moduleOf, splitName } from '../encodings/safetensors/tensor-names';

// vLLM makes one matrix of the projections that see the same, and one layer of all experts: their parts need one scheme.

/** What is fused, by the names of its parts in one module, and what it is called then. */
const families: readonly (readonly [fused: string, parts: readonly string[]])[] = [
  ['qkv_proj', ['q_proj', 'k_proj', 'v_proj']],
  ['qkv_proj', ['query', 'key', 'value']],
  ['qkv_proj', ['q_lin', 'k_lin', 'v_lin']],
  ['qkv', ['q', 'k', 'v']],
  ['qkv_proj', ['wq', 'wk', 'wv']],
  ['gate_up_proj', ['gate_proj', 'up_proj']],
  ['gate_up_proj', ['w1', 'w3']],
  ['fused_qkv_a_proj', ['q_a_proj', 'kv_a_proj_with_mqa']],
];
const familyOf = new Map(
  families.flatMap(([fused, parts]) => parts.map((part) => [part, `${fused}:${parts[0]}`])),
);

/** Where a weight belongs; undefined where it stands alone. `path` is what readers call the whole. */
function groupOf(module: string): { key: string; path: string; ofExperts: boolean } | undefined {
  const parts = module.split('.');
  const at = parts.lastIndexOf('experts');
  if (at >= 0 && at + 2 < parts.length && /^\d{1,9}$/.test(parts[at + 1]!)) {
    const path = parts.slice(0, at + 1).join('.');
    return { key: path, path, ofExperts: true };
  }
  const [parent, own] = splitName(module);
  const family = familyOf.get(own);
  if (family === undefined) return undefined;
  return { key: parent + family, path: parent + family.split(':')[0]!, ofExperts: false };
}

/** A matrix with what is to become of it. */
export interface Member {
  name: string;
  /** What holds it. */
  tensor: string;
  shape: readonly number[];
  /** null where it is left. */
  settings: LayerSettings | null;
  left: Left | undefined;
}

/** Members that readers make one of. */
export interface FusedGroup {
  /** What the whole is called. */
  path: string;
  members: Member[];
}

/** The groups among some matrices. Parts of different widths see different inputs, and are none. */
export async function fusedGroups(matrices: Iterable<Member>, turns: Turns): Promise<FusedGroup[]> {
  const groups = new Map<string, FusedGroup>();
  for (const member of matrices) {
    if (turns.due) await turns.next();
    const found = groupOf(moduleOf(member.name));
    if (!found) continue;
    const key = found.ofExperts ? found.key : `${found.key}:${member.shape[1]}`;
    const group = groups.get(key) ?? { path: found.path, members: [] };
    group.members.push(member);
    groups.set(key, group);
  }
  return [...groups.values()].filter(({ members }) => members.length > 1);
}

/** What readers must know of a weight to unpack it. */
function schemeKey({ settings }: Member): string {
  if (!settings) return 'left as they are';
  const { bits, groupSize, grid } = settings;
  const groups = groupSize === Infinity ? 'a scale per channel' : `groups of ${groupSize}`;
  return `${bits} bits, ${grid === 'asymmetric' ? 'asymmetric' : 'symmetric'}, ${groups}`;
}

/**
 * The tensors that have to stay as they are because the format cannot hold another of their members' group. Throws a RangeError where options give
 * the members of a group different schemes.
 */
export async function agree(
  groups: readonly FusedGroup[],
  format: string,
  turns: Turns,
): Promise<Map<string, Left>> {
  const left = new Map<string, Left>();
  for (const { path, members } of groups) {
    if (turns.due) await turns.next();
    const schemes = new Map<string, Member[]>();
    for (const member of members) {
      const key = schemeKey(member);
      const known = schemes.get(key);
      if (known) known.push(member);
      else schemes.set(key, [member]);
    }
    if (schemes.size === 1) continue;
    const unfit = members.find((member) => member.left?.choice === false);
    if (unfit) {
      const reason = `readers make one of it and "${unfit.name}", which cannot be quantized: ${unfit.left!.reason}`;
      for (const member of members)
        if (member.settings) {
          left.set(member.tensor, { reason, choice: false });
          member.settings = null;
        }
      continue;
    }
    const told = [...schemes].map(
      ([scheme, own]) =>
        `${fewOf(
          own.map(({ name }) => `"${name}"`),
          3,
        )}: ${scheme}${own[0]!.left ? ` (${own[0]!.left.reason})` : ''}`,
    );
    throw new RangeError(
      `In the format "${format}" all parts of "${path}" need one scheme, because vLLM makes one of them; they would get ${schemes.size}. ` +
        `${told.join('; ')}. Let "layers", "skip" and "overrides" take all of them or none, or use the format "float"`,
    );
  }
  return left;
}
