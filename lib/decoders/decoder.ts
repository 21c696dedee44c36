import { create } from '@bufbuild/protobuf';
import { valueInfo } from '../containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type TensorProto,
} from '../containers/onnx/onnx_pb';
import { Block, normOf, type Surroundings } from './blocks';
import type { ConfigReader } from './config';
import { Operations } from './operations';
import type { Rotation } from './rotation';
import { type DecoderShape, shapeOf } from './shape';
import { cachedText, type Text, wholeText } from './text';
import { DecoderWeights, type Origin, type StoredTensors } from './weights';

/** A language model's network, made from its config and its checkpoint's headers. */
export interface Decoder {
  shape: DecoderShape;
  /**
   * Takes `input_ids` [batch, sequence], int64, all of it text without padding, and gives `logits` [batch, sequence, vocabulary]; the form with
   * a cache as runtimes of language models have it.
   */
  model: ModelProto;
  /** What each block gives, and last what the head takes. */
  ends: readonly string[];
  /** Where its initializers lie: they hold no data. */
  origins: ReadonlyMap<TensorProto, Origin>;
  /** By what an expert's layers see, what they would see of all tokens: values that nothing in the network takes. Empty but where it was asked for. */
  wider: ReadonlyMap<string, string>;
}

/** Forms of one network. */
export interface DecoderForm {
  /** The one that generates text, with keys and values of the tokens before as inputs and outputs. */
  isCached?: boolean;
  /** With what each expert would see of all tokens, for fits to experts that few tokens reach: see `wider`. */
  widens?: boolean;
}

const opset = 20n;
const irVersion = 9n;

/**
 * The network that a config describes, with a checkpoint's tensors; `longest`: tokens of the longest sequence that it is to be run on.
 * No weight is read. Throws ERR_VERTEXQ_DECODER where the config or a tensor is not as an architecture known here has it.
 */
export function decoderOf(
  config: ConfigReader,
  stored: StoredTensors,
  file: string,
  longest: number,
  { isCached = false, widens = false }: DecoderForm = {},
): Decoder {
  const shape = shapeOf(config, longest);
  const operations = new Operations();
  const weights = new DecoderWeights(stored, operations, file, shape.name, shape.architecture.optionalPrefix);
  const { modules } = shape.architecture;
  const text = isCached ? cachedText(operations, shape) : wholeText(operations);
  const turns = turnsOf(shape, operations, text, isCached);
  const wider = new Map<string, string>();
  const around: Surroundings = { shape, operations, weights, text, turns, wider: widens ? wider : null };
  let tokens = embedded(around);
  const ends: string[] = [];
  for (const [index, block] of shape.blocks.entries()) {
    tokens = new Block(around, block, `${modules.blocks}.${index}.`).apply(tokens);
    ends.push(tokens);
  }
  const normed = normOf(around, modules.norm, tokens, shape.hidden);
  ends.push(normed);
  const product = operations.add('MatMul', modules.head, [
    normed,
    weights.matrix(headOf(shape), shape.vocabulary, shape.hidden),
  ]);
  const scaled = operations.scaled('logits/scaled', product, shape.scale.logits);
  const logits = operations.softCapped('logits', scaled, shape.softCap.logits);
  operations.add('Identity', 'logits', [logits]);
  ignoreBuffers(weights, shape);
  weights.requireNoOthers();
  return { shape, model: modelOf(operations, weights, text), ends, origins: weights.origins, wider };
}

/** The tensors that tokens are looked up in, and that logits are made with. */
export const embeddingOf = ({ architecture: { modules } }: DecoderShape) => `${modules.embedding}.weight`;
export const headOf = (shape: DecoderShape) =>
  shape.tied ? embeddingOf(shape) : `${shape.architecture.modules.head}.weight`;

function embedded({ shape, operations, weights, text }: Surroundings): string {
  const { embedding, positions } = shape.architecture.modules;
  const lookUp = (module: string, entries: number, indices: string) => {
    const found = operations.add('Gather', module, [
      weights.table(`${module}.weight`, entries, shape.hidden),
      indices,
    ]);
    return operations.add('Cast', `${module}/float`, [found], { to: BigInt(DataType.FLOAT) });
  };
  const tokens = operations.scaled(
    `${embedding}/scaled`,
    lookUp(embedding, shape.vocabulary, 'input_ids'),
    shape.scale.embedding,
  );
  if (positions === undefined) return tokens;
  return operations.add('Add', `${embedding}/placed`, [
    tokens,
    lookUp(positions, shape.positions, text.positions),
  ]);
}

/** Sine and cosine of each rotation's angles. */
function turnsOf(
  { blocks }: DecoderShape,
  operations: Operations,
  { positions }: Text,
  isCached: boolean,
): Surroundings['turns'] {
  const turns = new Map<Rotation, { cosine: string; sine: string }>();
  for (const rotation of new Set(blocks.map((block) => block.rotation))) {
    if (!rotation) continue;
    const at = (name: string) => `rotation/${turns.size}/${name}`;
    const count = operations.add('Cast', at('places'), [positions], { to: BigInt(DataType.FLOAT) });
    const column = operations.add('Unsqueeze', at('column'), [
      count,
      operations.integers(isCached ? [1, 3] : [1]),
    ]);
    const frequencies = operations.floats(
      at('frequencies'),
      [1, rotation.size / 2],
      new Float32Array(rotation.frequencies),
    );
    const angles = operations.add('Mul', at('angles'), [column, frequencies]);
    const of = (opType: string, name: string) =>
      operations.scaled(at(`${name}/scaled`), operations.add(opType, at(name), [angles]), rotation.factor);
    turns.set(rotation, { cosine: of('Cos', 'cosine'), sine: of('Sin', 'sine') });
  }
  return turns;
}

/** What files hold besides weights. */
function ignoreBuffers(weights: DecoderWeights, { architecture, tied }: DecoderShape): void {
  const { modules, buffers = [] } = architecture;
  weights.ignore(
    (name) =>
      (tied && name === `${modules.head}.weight`) ||
      (name.startsWith(`${modules.blocks}.`) && buffers.some((end) => name.endsWith(`.${end}`))),
  );
}

function modelOf(
  { nodes, constants }: Operations,
  { initializers }: DecoderWeights,
  { inputs, outputs, dims }: Text,
): ModelProto {
  return create(ModelProtoSchema, {
    irVersion,
    opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: opset })],
    graph: create(GraphProtoSchema, {
      name: 'decoder',
      node: nodes,
      initializer: [...initializers.values(), ...constants.values()],
      input: inputs,
      output: [valueInfo('logits', DataType.FLOAT, [...dims, 'vocabulary']), ...outputs],
    }),
  });
}
