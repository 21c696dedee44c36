import { stat } from 'node:fs/promises';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { dataOptionsOf, type Given } from '../../options/relations';
import { Turns } from '../../yielding';
import type { CalibrationData, DataOptions, Feeds } from '../types';
import { describeInput } from './batch-axes';
import { entriesOf, pieceOf, piecesOf } from './feeds';
import { imagesIn, isImage, readImages } from './images';
import { isMadeInput } from './made-inputs';
import { groupedByShape, type Padding, type Piece } from './samples';
import type { ModelInput } from './tensor-checks';
import { isTensorFile, readTensorFile } from './tensor-files';
import { readTexts } from './text';
import type { Warning } from '../../warning-codes';

/** An iterable that yields more feeds than this is taken not to end. */
export const maxFeeds = 1_000_000;

/** Calibration data whose every tensor fits the network's inputs. */
export interface DataSource {
  kind: Kind;
  pieces: Piece[];
  /** Whether the feeds are run as they were given, or the samples are cut into batches. */
  asGiven: boolean;
  /** How samples of different lengths are run together; null where only those of equal shape are. */
  padding: Padding | null;
  /** Whether documents are held out whole, which may be several pieces. */
  inWindows?: boolean;
  warnings?: readonly Warning[];
}

export interface ReadOptions extends Given<DataOptions> {
  /** The network's inputs. */
  inputs: readonly ModelInput[];
  signal?: AbortSignal | undefined;
  /** How many tokens the network knows, where that is known. */
  vocabulary?: number | undefined;
}

/**
 * Reads and checks calibration data; `where` names it in messages. Rejects with a TypeError where it is none, VertexqError
 * ERR_VERTEXQ_CALIBRATION where it does not fit the inputs, and with what reading its files brings.
 */
export async function readData(
  data: CalibrationData,
  options: ReadOptions,
  where: string,
): Promise<DataSource> {
  const { inputs } = options;
  const expected = `Expected "${where}" to be paths of files, feeds (input name → tensor), or an iterable of feeds`;
  if (typeof data === 'string') return readFiles([data], options);
  if (typeof data !== 'object' || data === null) throw new TypeError(`${expected}, not ${describe(data)}`);
  if (Array.isArray(data) && data.some((item) => typeof item === 'string')) {
    const odd = (data as unknown[]).findIndex((item) => typeof item !== 'string');
    if (odd >= 0) throw new TypeError(`${expected}: not paths together with ${describe(data[odd])}`);
    return readFiles(data as string[], options);
  }
  if (Symbol.asyncIterator in data)
    throw new TypeError(`${expected}, not an asynchronous iterable: collect it into an array first`);
  if (!(Symbol.iterator in data))
    return {
      pieces: await groupedByShape(
        await piecesOf(entriesOf(data, expected), inputs, where, options.signal),
        null,
        new Turns(options.signal),
      ),
      kind: 'tensors',
      asGiven: false,
      padding: null,
    };
  if (ArrayBuffer.isView(data)) throw new TypeError(`${expected}, not ${describe(data)}`);
  const pieces: Piece[] = [];
  for (const feeds of data as Iterable<Feeds>) {
    const place = `${where}[${pieces.length}]`;
    if (pieces.length === maxFeeds)
      throw new RangeError(`"${where}" has more than ${maxFeeds} feeds: put several samples into a feed`);
    const entries = entriesOf(feeds, `Expected "${place}" to be feeds (input name → tensor)`);
    pieces.push(await pieceOf(entries, inputs, place, options.signal));
  }
  if (pieces.length === 0) throw new RangeError(`${expected}: it is empty`);
  return { pieces, kind: 'tensors', asGiven: true, padding: null };
}

type Kind = 'tensors' | 'text' | 'images';

async function readFiles(paths: readonly string[], options: ReadOptions): Promise<DataSource> {
  const { inputs, image, tokenizer, sequenceLength, skipBroken, signal } = options;
  const kinds = await Promise.all(
    paths.map((path) => kindOf(path, tokenizer !== undefined, sequenceLength !== undefined)),
  );
  const odd = kinds.findIndex((kind) => kind !== kinds[0]);
  if (odd >= 0)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${describe(paths[0])} holds ${kinds[0]} and ${describe(paths[odd])} ${kinds[odd]}: give data of one kind`,
    );
  if (kinds[0] !== 'tensors') requireLeadingSamples(kinds[0]!, inputs);
  if (kinds[0] === 'text') {
    const { pieces, padding, warnings } = await readTexts(
      paths,
      inputs,
      { ...dataOptionsOf(options), vocabulary: options.vocabulary },
      signal,
    );
    return {
      ...{
        pieces: await groupedByShape(pieces, padding, new Turns(signal)),
        kind: 'text',
        asGiven: false,
        padding,
        warnings,
      },
      inWindows: options.sequenceLength !== undefined,
    };
  }
  const pieces: Piece[] = [];
  const warnings: Warning[] = [];
  if (kinds[0] === 'images') {
    const files: string[] = [];
    for (const path of paths) files.push(...(isImage(path) ? [path] : await imagesIn(path)));
    const read = await readImages(files, inputs, image ?? {}, signal, skipBroken);
    for (const piece of read.pieces) pieces.push(piece);
    warnings.push(...read.warnings);
  } else {
    for (const path of paths)
      for (const piece of await readTensorFile(path, inputs, signal)) pieces.push(piece);
  }
  return {
    pieces: await groupedByShape(pieces, null, new Turns(signal)),
    kind: kinds[0]!,
    asGiven: false,
    padding: null,
    warnings,
  };
}

/** Texts and images are put one behind the other along the first axis. */
function requireLeadingSamples(kind: Kind, inputs: readonly ModelInput[]): void {
  const odd = inputs.find((input) => !isMadeInput(input) && (input.batchAxis ?? 0) !== 0);
  if (odd)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${kind === 'text' ? 'Text fills' : 'Images fill'} inputs whose samples lie along the first axis, and those of ${describeInput(odd)} lie along axis ${odd.batchAxis}: ` +
        'give tensors by input name, or another "batchAxis" (--batch-axis)',
    );
}

/** What a file holds, by its name. */
async function kindOf(path: string, hasTokenizer: boolean, inWindows: boolean): Promise<Kind> {
  if (isImage(path)) return 'images';
  if (/\.(jsonl|ndjson)$/i.test(path)) return hasTokenizer || inWindows ? 'text' : 'tensors';
  if (isTensorFile(path)) return 'tensors';
  if (/\.txt$/i.test(path)) {
    if (hasTokenizer) return 'text';
    throw new RangeError(
      `${describe(path)} is text, which needs a tokenizer: give the path of a tokenizer.json (the option "tokenizer", or --tokenizer)`,
    );
  }
  const folder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (folder) return 'images';
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `${describe(path)} is no calibration data: expected an .npz, .npy, .safetensors or .jsonl file, text (.txt), images (.png, .jpg, .webp) or a folder of them`,
  );
}
