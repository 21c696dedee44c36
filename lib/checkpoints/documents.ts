import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { indexName } from '../containers/safetensors/index-file';
import { parseJson, withMember } from '../files/json-text';
import { Pieces } from '../files/pieces';
import { VertexqError } from '../errors';
import { sortedInTurns, type Turns } from '../yielding';
import { configName } from './companions';
import { configText } from './model-config';
import type { ModelIdentity } from './model-identity';
import type { Plan } from './plan';
import { outputTensors } from './plan-views';
import { networkConfig } from './generator';

/** A file of text that a run writes beside the weights. */
export interface Document {
  name: string;
  data: Uint8Array;
}

/**
 * All texts of the output's folder, in the order in which they are written: the index last. They are made before any work, so that what
 * could not be written is known then. Throws ERR_VERTEXQ_FILE.
 */
export async function documentsOf(
  checkpoint: Checkpoint,
  { config }: ModelIdentity,
  plan: Plan,
  { configFile, network }: CheckpointEncoding,
  turns: Turns,
): Promise<Document[]> {
  const documents: Document[] = [];
  const add = async (name: string, make: () => string | Promise<Uint8Array>) => {
    try {
      const text = await make();
      documents.push({ name, data: typeof text === 'string' ? Buffer.from(text) : text });
    } catch (cause) {
      turns.throwIfAborted();
      throw new VertexqError(
        'ERR_VERTEXQ_FILE',
        `The output's ${name} cannot be made: ${(cause as Error).message}`,
        { cause },
      );
    }
  };
  const { quantization } = plan;
  if (config)
    await add(configName, () =>
      network ? networkConfig(config, plan, 0) : configText(config, quantization, plan.untied),
    );
  if (quantization && configFile !== null)
    await add(configFile, () => `${JSON.stringify(quantization, null, 2)}\n`);
  const { index } = checkpoint;
  if (index && !network) await add(indexName, () => indexText(index.text, plan, turns));
  return documents;
}

/** The input's index, of which `text` leaves the map out, with the places and the size of what is written. */
async function indexText(text: string, plan: Plan, turns: Turns): Promise<Uint8Array> {
  let size = 0;
  const places: [tensor: string, shard: string][] = [];
  for (const [tensor, shard, byteLength] of outputTensors(plan)) {
    if (turns.due) await turns.next();
    size += byteLength;
    places.push([tensor, shard]);
  }
  const sized = parseJson(text).members!.get('metadata')?.members
    ? withMember(text, ['metadata', 'total_size'], size)
    : withMember(text, ['metadata'], { total_size: size });
  // How one member is written, all are: to edit the whole would hold up the event loop.
  let mark = '@';
  while (sized.includes(mark)) mark += '@';
  const model = withMember(sized, ['weight_map'], { [mark]: mark });
  const key = JSON.stringify(mark);
  const at = model.indexOf(key);
  let begin = at;
  while (/\s/.test(model[begin - 1]!)) begin--;
  const [before, value] = [model.slice(begin, at), model.indexOf(key, at + key.length)];
  const colon = model.slice(at + key.length, value);
  const pieces = new Pieces();
  pieces.add(model.slice(0, begin));
  let comma = '';
  for (const [tensor, shard] of await sortedInTurns(places, byName, turns)) {
    if (turns.due) await turns.next();
    pieces.add(`${comma}${before}${JSON.stringify(tensor)}${colon}${JSON.stringify(shard)}`);
    comma = ',';
  }
  pieces.add(model.slice(value + key.length));
  return Buffer.concat(pieces.bytes());
}

const byName = ([a]: readonly [string, string], [b]: readonly [string, string]) =>
  a < b ? -1 : a > b ? 1 : 0;
