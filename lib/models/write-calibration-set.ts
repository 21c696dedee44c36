import { basename } from 'node:path';
import { kindOf, FileLayout } from '../containers/safetensors/layout';
import { VertexqError } from '../errors';
import { OutputFile } from '../files/output-file';
import { plainPath } from '../files/plain-path';
import { convert } from '../native/tensors';
import { describe, networkPath, requirePath } from '../options/messages';
import { dataOptionsOf } from '../options/relations';
import { checkOptions } from '../options/table';
import { RunFiles } from '../runs/run-files';
import type { Warning } from '../warning-codes';
import { Turns } from '../yielding';
import { prepareSamples, type PreparedSamples } from './calibration-set';
import { withBatchAxes } from './data/batch-axes';
import { isMadeInput } from './data/made-inputs';
import { type CheckedTensor, type ModelInput } from './data/tensor-checks';
import { describeValue } from '../containers/onnx/value-info';
import { openModel } from './open-model';
import { addDataPaths } from './run-files';
import type { CalibrationData, DataOptions } from './types';

/** Options of `writeCalibrationSet`. */
export interface WriteCalibrationSetOptions extends Omit<DataOptions, 'batchSize'> {
  /** What the samples are made of. */
  calibration: CalibrationData;
  /** Ends the work, which then rejects with its reason. */
  signal?: AbortSignal;
}

/** What `writeCalibrationSet` wrote. */
export interface WrittenCalibrationSet {
  /** The network. */
  input: string;
  /** The file that was written. */
  output: string;
  /** How many it holds. */
  samples: number;
  /** By input; dims of all samples, or of the first where each has a line of its own. */
  tensors: { name: string; type: string; dims: readonly number[] }[];
  /** Its size. */
  bytes: number;
  /** Each ends with its code. */
  warnings: Warning[];
}

/**
 * Makes samples of a network's inputs, as `quantizeModel` would of the same data, and writes them to a file that this and other calls take for `calibration`, `holdout` or `data`: images decoded and
 * scaled, texts in tokens, arrays in the types that the network takes. `.safetensors`: one tensor an input, for samples of one shape; `.jsonl`: a sample a line, whatever the shapes. Inputs that vertexq fills by itself
 * are left out. All samples are in memory. Rejects with a TypeError or RangeError for arguments; ERR_VERTEXQ_CALIBRATION where the file cannot hold them, and what opening the network and reading data bring; with the signal's reason.
 */
export async function writeCalibrationSet(
  input: string,
  to: string,
  given: WriteCalibrationSetOptions,
): Promise<WrittenCalibrationSet> {
  requirePath('input', input, networkPath);
  requirePath('output', to, 'the path of a .safetensors or .jsonl file');
  checkOptions('writeCalibrationSet', given);
  const { calibration, signal, ...options } = given;
  if ((calibration as CalibrationData | undefined) === undefined)
    throw new TypeError('Writing a calibration set needs the option "calibration": the data to make it of');
  const output = plainPath(to);
  const isTable = /\.safetensors$/i.test(output);
  if (!isTable && !/\.(jsonl|ndjson)$/i.test(output))
    throw new RangeError(
      `Expected the output to be called .safetensors or .jsonl, not ${describe(basename(output))}`,
    );
  signal?.throwIfAborted();
  const files = new RunFiles();
  files.reads('input', input, { only: true });
  await addDataPaths(files, { calibration, ...options });
  files.writes('output', output, { only: true });
  await files.check();
  await files.requireWritable();
  const { graph, dataFiles } = await openModel(input);
  for (const path of dataFiles) files.reads("input's data", path);
  await files.check();
  const inputs = graph.inputs.map(describeValue);
  const own = dataOptionsOf(options);
  // Each by itself: nothing is filled up to another's length.
  const data = await prepareSamples(calibration, 'calibration', { ...own, batchSize: 1, inputs, signal });
  const placed = withBatchAxes(inputs, options.batchAxis).filter((one) => !isMadeInput(one));
  const file = await OutputFile.create(output);
  try {
    const { tensors, bytes } = await (isTable ? writeTable : writeLines)(file, data, placed, output, signal);
    signal?.throwIfAborted();
    await file.commit();
    // Of batches of one it is no news.
    const warnings = data.warnings.filter((warning) => !warning.includes('"batchSize"'));
    return { input, output: to, samples: data.samples, tensors, bytes, warnings };
  } catch (error) {
    await file.discard();
    throw error;
  }
}

type Written = Pick<WrittenCalibrationSet, 'tensors' | 'bytes'>;

function impossible(output: string, message: string): VertexqError {
  return new VertexqError('ERR_VERTEXQ_CALIBRATION', `${output}: ${message}`);
}

const dtypes: Record<string, string> = {
  ...{ float64: 'F64', float32: 'F32', float16: 'F16', bool: 'BOOL' },
  ...{ int64: 'I64', int32: 'I32', int16: 'I16', int8: 'I8' },
  ...{ uint64: 'U64', uint32: 'U32', uint16: 'U16', uint8: 'U8' },
};

/** One tensor an input: the samples one behind the other, or what all of them share. */
async function writeTable(
  file: OutputFile,
  { feeds }: PreparedSamples,
  inputs: readonly ModelInput[],
  output: string,
  signal: AbortSignal | undefined,
): Promise<Written> {
  const layout = new FileLayout();
  const columns = inputs.flatMap((input) => {
    const parts = feeds.map((feed) => feed[input.name] as CheckedTensor | undefined);
    const [first] = parts;
    if (!first) return [];
    const { type, dims } = first;
    const what = `the input ${describe(input.name)}`;
    if (!Object.hasOwn(dtypes, type))
      throw impossible(output, `${what} is ${type}, which safetensors do not hold: write .jsonl`);
    const shared = input.batchAxis === null || dims.length === 0;
    if (!shared && input.batchAxis !== undefined && input.batchAxis !== 0)
      throw impossible(output, `${what} has its samples along axis ${input.batchAxis}: write .jsonl`);
    const odd = parts.find(
      (part) => String(part!.dims.slice(shared ? 0 : 1)) !== String(dims.slice(shared ? 0 : 1)),
    );
    if (odd)
      throw impossible(
        output,
        `${what} has samples of other shapes, [${odd.dims.join(', ')}] beside [${dims.join(', ')}]: write .jsonl`,
      );
    const used = shared ? [first] : (parts as CheckedTensor[]);
    if (shared && parts.some((part) => !sameBytes(part!, first)))
      throw impossible(output, `${what} differs between feeds and has no axis of samples: write .jsonl`);
    const count = used.reduce((sum, part) => sum + (shared ? 0 : part.dims[0]!), 0);
    return [{ name: input.name, type, dims: shared ? dims : [count, ...dims.slice(1)], used }];
  });
  const sizes = columns.map(({ used }) => used.reduce((sum, { data }) => sum + bytesOf(data).length, 0));
  for (const [i, { name, type, dims }] of columns.entries())
    layout.count(name, dtypes[type]!, dims, sizes[i]);
  const places = columns.map(({ name, type, dims }, i) =>
    layout.place(name, kindOf(dtypes[type]!, dims), sizes[i]!),
  );
  let begin = 0;
  for (const piece of layout.head(new Map())) begin += (await file.append(piece, signal)).length;
  for (const [i, { used }] of columns.entries()) {
    let at = begin + places[i]!;
    for (const { data } of used) {
      await file.write(bytesOf(data), at, signal);
      at += bytesOf(data).length;
    }
  }
  return {
    tensors: columns.map(({ name, type, dims }) => ({ name, type, dims })),
    bytes: begin + layout.size,
  };
}

const bytesOf = (data: CheckedTensor['data']): Uint8Array => {
  const { buffer, byteOffset, byteLength } = data as Float32Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
};

const sameBytes = (a: CheckedTensor, b: CheckedTensor) =>
  Buffer.compare(bytesOf(a.data), bytesOf(b.data)) === 0;

/** A sample a line: what network takes at once, with dims and data. */
async function writeLines(
  file: OutputFile,
  { feeds, notFinite }: PreparedSamples,
  inputs: readonly ModelInput[],
  output: string,
  signal: AbortSignal | undefined,
): Promise<Written> {
  if (notFinite !== null) throw impossible(output, `JSON has no such number, and ${notFinite}`);
  const turns = new Turns(signal);
  let bytes = 0;
  for (const feed of feeds) {
    if (turns.due) await turns.next();
    const line: [string, unknown][] = [];
    for (const { name } of inputs) {
      const tensor = feed[name] as CheckedTensor | undefined;
      if (tensor) line.push([name, { dims: tensor.dims, data: await numbersOf(tensor, signal) }]);
    }
    const text = Buffer.from(`${JSON.stringify(Object.fromEntries(line))}\n`);
    bytes += (await file.append(text, signal)).length;
  }
  const tensors = inputs.flatMap(({ name }) => {
    const first = feeds[0]?.[name] as CheckedTensor | undefined;
    return first ? [{ name, type: first.type, dims: first.dims }] : [];
  });
  return { tensors, bytes };
}

/** As JSON has them: the shortest that are read as the same, integers beyond 2^53 as text. */
async function numbersOf({ data, type }: CheckedTensor, signal: AbortSignal | undefined): Promise<unknown[]> {
  if (Array.isArray(data)) return data;
  if (type === 'float16') return [...((await convert(data, 'F16', 'F32', signal)).data as Float32Array)];
  return Array.from(data as Iterable<number | bigint>, (one) =>
    typeof one !== 'bigint' ? one : Number.isSafeInteger(Number(one)) ? Number(one) : String(one),
  );
}
