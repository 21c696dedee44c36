import { VertexqError } from '../../errors';
import { matcher, NamesByGlob } from '../../globs';
import type { FoundLayers } from './find-layers';
import { defaultOperators } from './kinds';
import type { Layer, SkippedLayer } from './layer';

/** Which layers an option asks for; of operators `undefined` are those that are quantized by default. */
export interface LayerChoice {
  operators: readonly string[] | undefined;
  layers: readonly string[] | undefined;
  skip: readonly string[];
}

/**
 * The layers that operators and globs choose; a star also matches slashes. Throws a RangeError at a pattern that no layer matches, and
 * ERR_VERTEXQ_NO_LAYERS where nothing is left. `others`: what else is told of then, weights that are no layer's.
 */
export function chooseLayers(
  found: FoundLayers,
  file: string,
  choice: LayerChoice,
  others: () => readonly SkippedLayer[] = () => [],
): FoundLayers {
  const operators = choice.operators ?? defaultOperators;
  const possible = found.layers.filter(({ kind }) => operators.includes(kind));
  const { layers: include, skip } = choice;
  const names = namesIn(possible);
  requireMatches('layers', include ?? [], names, file);
  requireMatches('skip', skip, names, file);
  const wanted = include ? matcher(include) : () => true;
  const unwanted = matcher(skip);
  const reasonOf = ({ name, kind }: Layer) =>
    !operators.includes(kind)
      ? choice.operators
        ? `${kind}, not among "operators"`
        : embedding
      : unwanted(name)
        ? 'skipped'
        : wanted(name)
          ? undefined
          : 'not among "layers"';
  const chosen: FoundLayers = { layers: [], skipped: [...found.skipped] };
  for (const layer of found.layers) {
    const reason = reasonOf(layer);
    if (reason === undefined) chosen.layers.push(layer);
    else chosen.skipped.push({ name: layer.name, reason, choice: true, tensor: layer.constant.tensor });
  }
  if (chosen.layers.length === 0) throw noLayers(found, file, choice, others);
  return chosen;
}

/** Of the operators that are known, those that are left by default look up embeddings. */
const embedding = 'an embedding; "operators" may name Gather';

/** What patterns may be about. */
export const namesIn = (layers: readonly Layer[]) => new NamesByGlob(layers.map(({ name }) => name));

/** Throws a RangeError at a pattern that matches no layer. `option` is where it was given. */
export function requireMatches(
  option: string,
  patterns: readonly string[],
  names: NamesByGlob,
  file: string,
): void {
  for (const pattern of patterns)
    if (!names.has(pattern)) {
      const all = names.names;
      throw new RangeError(
        `The pattern "${pattern}" of the "${option}" option matches no layer of ${file}. ` +
          `It has: ${all.slice(0, 20).join(', ')}${all.length > 20 ? ` and ${all.length - 20} more` : ''}`,
      );
    }
}

function noLayers(
  { layers, skipped }: FoundLayers,
  file: string,
  { operators }: LayerChoice,
  others: () => readonly SkippedLayer[],
): VertexqError {
  const kinds = [...new Set(layers.map(({ kind }) => kind))].filter((kind) => !operators?.includes(kind));
  const left = skipped[0] ?? (kinds.length > 0 ? undefined : others()[0]);
  const hint =
    kinds.length > 0
      ? ` (it has weights of ${kinds.join(', ')}: name them in "operators")`
      : left
        ? ` (${left.name}: ${left.reason})`
        : '';
  return new VertexqError(
    'ERR_VERTEXQ_NO_LAYERS',
    `${file} has no layer to quantize: expected one of ${(operators ?? defaultOperators).join(', ')} with a constant weight${hint}`,
  );
}
