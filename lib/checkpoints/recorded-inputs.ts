import { VertexqError } from '../errors';
import { type FloatDtype, floatBytes, isFloat } from '../containers/safetensors/dtypes';
import { SafetensorsFile } from '../containers/safetensors/file';
import type { TensorFile } from '../containers/tensor-file';
import { LayerRows, countedFrom } from '../fit/layer-rows';
import { heldOutCount } from '../fit/held-out';
import type { RowsKind } from '../native/binding';
import { sharedBytes } from '../native/shared';
import { convert } from '../native/tensors';
import { describe } from '../options/messages';
import type { FloatArray, JobOptions } from '../types';
import { moduleOf } from '../encodings/safetensors/tensor-names';

/** A tensor that tells what a layer sees. */
export interface RecordedInput {
  file: TensorFile;
  name: string;
  dtype: FloatDtype;
  kind: 'rows' | 'gram';
  inFeatures: number;
  /** Rows recorded; 0 for a Gram matrix. */
  rows: number;
}

/** Layers that see the same: a record of one is one of all. */
const siblings = [
  ['q_proj', 'k_proj', 'v_proj'],
  ['query', 'key', 'value'],
  ['q_lin', 'k_lin', 'v_lin'],
  ['gate_proj', 'up_proj'],
  ['w1', 'w3'],
  ['wi_0', 'wi_1'],
];
/** There the keys and values are of another sequence than the queries. */
const crossAttention = /cross|encoder_attn|EncDec/i;
/** Bytes of rows that are read at a time. */
const rowBytesRead = 2 ** 24;

/** Files of recorded layer inputs. */
export class RecordedInputs {
  private readonly entries = new Map<string, RecordedInput>();
  private readonly used = new Set<RecordedInput>();

  private constructor(private readonly files: readonly TensorFile[]) {}

  /** Opens the files. Rejects with ERR_VERTEXQ_FILE, _SAFETENSORS, _CALIBRATION. It is for the caller to close. */
  static async open(paths: readonly string[], signal?: AbortSignal): Promise<RecordedInputs> {
    const files: TensorFile[] = [];
    const inputs = new RecordedInputs(files);
    try {
      for (const path of paths) {
        const file = await SafetensorsFile.open(path, { signal });
        files.push(file);
        for (const name of file.tensors.keys()) inputs.add(file, name);
      }
    } catch (error) {
      await inputs.close();
      throw error;
    }
    return inputs;
  }

  private add(file: TensorFile, name: string): void {
    const { dtype, shape } = file.tensor(name);
    const where = `${file.path}: tensor ${describe(name)}`;
    const wrong = (why: string) => new VertexqError('ERR_VERTEXQ_CALIBRATION', `${where} ${why}`);
    if (this.entries.has(name)) throw wrong('is in two files');
    if (!isFloat(dtype)) throw wrong(`is ${dtype}, and what a layer sees should be F64, F32, F16 or BF16`);
    const kind = name.endsWith('.gram') ? 'gram' : 'rows';
    const inFeatures = shape.at(-1) ?? 0;
    const rows = shape.slice(0, -1).reduce((product, dim) => product * dim, 1);
    if (shape.length < 2 || inFeatures === 0 || rows === 0)
      throw wrong(`is [${shape.join(', ')}], and should be rows [..., inFeatures] with at least one`);
    if (kind === 'gram' && (shape.length !== 2 || rows !== inFeatures))
      throw wrong(`is [${shape.join(', ')}], and a Gram matrix is [inFeatures, inFeatures]`);
    this.entries.set(name, { file, name, dtype, kind, inFeatures, rows: kind === 'gram' ? 0 : rows });
  }

  /** What is recorded for a weight; undefined where nothing is. Throws ERR_VERTEXQ_CALIBRATION where it is of another width. */
  of(weight: string, inFeatures: number): RecordedInput | undefined {
    for (const module of [moduleOf(weight), ...siblingsOf(moduleOf(weight))])
      for (const name of [`${module}.weight`, module, `${module}.weight.gram`, `${module}.gram`]) {
        const found = this.entries.get(name);
        if (!found) continue;
        if (found.inFeatures !== inFeatures)
          throw new VertexqError(
            'ERR_VERTEXQ_CALIBRATION',
            `${found.file.path}: tensor ${describe(name)} is for ${found.inFeatures} inputs, and the weight ${describe(weight)} has ${inFeatures}`,
          );
        this.used.add(found);
        return found;
      }
    return undefined;
  }

  /** Names that no weight asked for. */
  get unused(): string[] {
    return [...this.entries.values()].filter((input) => !this.used.has(input)).map(({ name }) => name);
  }

  get paths(): readonly TensorFile[] {
    return this.files;
  }

  async close(): Promise<void> {
    for (const file of this.files) await file.close();
  }
}

function siblingsOf(module: string): string[] {
  const at = module.lastIndexOf('.');
  const [parent, own] = [module.slice(0, at + 1), module.slice(at + 1)];
  if (crossAttention.test(parent)) return [];
  const family = siblings.find((names) => names.includes(own));
  return family ? family.filter((name) => name !== own).map((name) => parent + name) : [];
}

/** What a fit needs of a recorded input. */
export interface RecordedData {
  calibration: LayerRows;
  holdout: LayerRows | null;
}

/** Reads a recorded input into what a kind keeps of it: the first rows for the fit, the last ones held out. */
export async function readRecorded(
  input: RecordedInput,
  kind: RowsKind,
  share: number,
  options: JobOptions,
): Promise<RecordedData> {
  const data = await read(input, kind, share, options).catch(async (error: unknown) => {
    // Half-written numbers can be wrong in any way: that they changed explains it.
    if (!options.signal?.aborted) await input.file.requireUnchanged();
    throw error;
  });
  await input.file.requireUnchanged();
  return data;
}

async function read(
  input: RecordedInput,
  kind: RowsKind,
  share: number,
  options: JobOptions,
): Promise<RecordedData> {
  const { signal } = options;
  const { file, name, dtype, inFeatures, rows } = input;
  const calibration = LayerRows.of(inFeatures, kind, options);
  const { position } = file.tensor(name);
  const rowsFrom = async (begin: number, count: number): Promise<FloatArray> => {
    const bytes = sharedBytes(count * inFeatures * floatBytes[dtype]);
    await file.fill(bytes, position + begin * inFeatures * floatBytes[dtype]);
    return dtype === 'F64'
      ? new Float64Array(bytes.buffer)
      : (await convert(bytes, dtype, 'F32', signal)).data;
  };
  if (input.kind === 'gram') {
    const gram = await rowsFrom(0, inFeatures);
    const wide = gram instanceof Float64Array ? gram : (await convert(gram, 'F32', 'F64', signal)).data;
    await calibration.setGram(wide, undefined, signal);
    return { calibration, holdout: null };
  }
  // The last ones, not spread: rows beside each other are of one text, and those of the fit would tell of those held out.
  const kept = rows - heldOutCount(rows, share);
  const holdout = kept < rows ? LayerRows.of(inFeatures, kind, options) : null;
  const step = Math.max(1, Math.floor(rowBytesRead / (inFeatures * floatBytes[dtype])));
  for (let begin = 0; begin < rows;) {
    const end = Math.min(begin + step, begin < kept ? kept : rows);
    const part = await rowsFrom(begin, end - begin);
    await (begin < kept ? calibration : holdout!).add(part, undefined, signal).catch((error: unknown) => {
      throw countedFrom(begin, error);
    });
    begin = end;
  }
  return { calibration, holdout };
}
