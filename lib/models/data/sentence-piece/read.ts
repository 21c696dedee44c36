import { fromBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { InputFile } from '../../../files/input-file';
import { VertexqError } from '../../../errors';
import { describe } from '../../../options/messages';
import { tokenTypes } from '../piece-tokenizer';
import { type SentencePieceModel, SentencePieceModelSchema } from './sentence_piece_pb';

/** The tokenizer in a SentencePiece model: pieces by their numbers, and what goes with them. */
export interface SentencePieces {
  tokens: string[];
  scores: Float32Array;
  /** As `tokenTypes` has them. */
  types: Uint8Array;
  /** Whether a text gets a space before it. */
  prefix: boolean;
  /** The numbers of special tokens; null where there is none. */
  ids: { bos: number | null; eos: number | null; unk: number | null; pad: number | null };
}

/** The largest that are known have some 5 MB, 2^18 pieces and 31 characters. */
const [maxBytes, maxPieces, maxCharacters] = [2 ** 25, 2 ** 20, 256];
const bytePairs = 2;
const bytes = 256;

/**
 * Reads a tokenizer.model: pieces that are joined pair by pair, with bytes for what is none of them (Llama 2, Mistral, Gemma). Rejects with
 * ERR_VERTEXQ_FILE, and ERR_VERTEXQ_TOKENIZER where it is damaged or another kind, with what it is.
 */
export async function readSentencePieces(path: string): Promise<SentencePieces> {
  const data = await InputFile.with(path, (file) => {
    if (file.size > maxBytes) throw wrong(path, `has ${file.size} bytes: expected at most ${maxBytes}`);
    return file.read(0, file.size);
  });
  return piecesOf(path, messageOf(path, data));
}

function messageOf(path: string, data: Uint8Array): SentencePieceModel {
  try {
    const count = countPieces(data);
    if (count > maxPieces) throw wrong(path, `has more than ${maxPieces} pieces`);
    return fromBinary(SentencePieceModelSchema, data);
  } catch (cause) {
    if (cause instanceof VertexqError) throw cause;
    throw wrong(path, `is no SentencePiece model: ${(cause as Error).message}`, cause);
  }
}

/** How many pieces there are, at most one more than are allowed: before there is an object for each. */
function countPieces(data: Uint8Array): number {
  const reader = new BinaryReader(data);
  let count = 0;
  while (reader.pos < reader.len && count <= maxPieces) {
    const [field, wire] = reader.tag();
    reader.skip(wire, field);
    if (field === SentencePieceModelSchema.field.pieces.number) count++;
  }
  return count;
}

function piecesOf(path: string, { pieces, trainerSpec, normalizerSpec }: SentencePieceModel): SentencePieces {
  const cannot = (what: string) => wrong(path, `${what}, which is not known here: give a tokenizer.json`);
  if (pieces.length === 0) throw wrong(path, 'is no SentencePiece model: it has no pieces');
  const type = trainerSpec?.modelType ?? 1;
  if (type !== bytePairs)
    throw cannot(`is a SentencePiece model of type ${type === 1 ? '"unigram"' : describe(type)}, not "bpe"`);
  if (trainerSpec?.treatWhitespaceAsSuffix) throw cannot('puts spaces behind words');
  if ((normalizerSpec?.precompiledCharsmap.length ?? 0) > 0)
    throw cannot('changes characters before it splits texts');
  if (normalizerSpec?.removeExtraWhitespaces !== false) throw cannot('takes away spaces beside spaces');
  if (!normalizerSpec.escapeWhitespaces) throw cannot('leaves spaces as they are');
  const found = {
    tokens: [] as string[],
    scores: new Float32Array(pieces.length),
    types: new Uint8Array(pieces.length),
  };
  const known = new Set<string>();
  let byteCount = 0;
  for (const [id, { piece, score, type: own }] of pieces.entries()) {
    const what = `piece ${id}, ${describe(piece)},`;
    if (piece === '' || [...piece].length > maxCharacters)
      throw wrong(path, `has ${what} of ${[...piece].length} characters: expected 1 to ${maxCharacters}`);
    if (!Number.isFinite(score)) throw wrong(path, `has ${what} with the score ${score}: expected a number`);
    if (own < tokenTypes.normal || own > tokenTypes.byte)
      throw wrong(path, `has ${what} of type ${own}: expected 1 to 6`);
    if (known.has(piece)) throw wrong(path, `has ${what} twice`);
    known.add(piece);
    found.tokens.push(piece);
    found.scores[id] = score;
    found.types[id] = own;
    if (own === tokenTypes.byte && /^<0x[0-9A-F]{2}>$/.test(piece)) byteCount++;
  }
  if (byteCount !== bytes)
    throw cannot(`has ${byteCount} pieces for the ${bytes} bytes of what is none of its pieces`);
  const idOf = (name: string, id: number): number | null => {
    if (id < 0) return null;
    if (id < pieces.length) return id;
    throw wrong(path, `says that ${name} is piece ${id}, and has ${pieces.length}`);
  };
  const { unkId = 0, bosId = 1, eosId = 2, padId = -1 } = trainerSpec ?? {};
  return {
    ...found,
    prefix: normalizerSpec.addDummyPrefix,
    ids: {
      bos: idOf('the beginning of texts', bosId),
      eos: idOf('the end of texts', eosId),
      unk: idOf('what is unknown', unkId),
      pad: idOf('padding', padId),
    },
  };
}

const wrong = (path: string, why: string, cause?: unknown) =>
  new VertexqError('ERR_VERTEXQ_TOKENIZER', `${path} ${why}`, { cause });
