import { VertexqError } from '../../errors';
import type { OutputFile } from '../../files/output-file';
import type { Workspace } from '../../runs/workspace';
import type { TensorLike } from '../../types';
import type { Place } from '../../containers/onnx/skeleton';

/** The float network's values, and those of the network as quantized so far. */
export type Stream = 'float' | 'seen';

type Numbers = Exclude<ArrayBufferView, DataView> & { length: number };

interface Spilled {
  place: Place;
  make: (buffer: ArrayBuffer) => TensorLike['data'];
  dims: readonly number[];
  type: string | undefined;
}

/**
 * The tensors between two stages, for each batch of the calibration data: in memory up to a budget, beyond it in files of the
 * workspace. Names of values are those of the graph.
 */
export class ValueStore {
  private readonly values = new Map<string, Map<number, TensorLike | Spilled>>();
  private readonly files = new Map<string, OutputFile>();
  private inMemory = 0;

  /** `budget` in bytes; `prefix`: what the names of its files begin with. */
  constructor(
    private readonly workspace: Workspace,
    private readonly budget: number,
    private readonly prefix = 'values',
  ) {}

  async put(stream: Stream, name: string, batch: number, tensor: TensorLike): Promise<void> {
    const key = keyOf(stream, name);
    const own = this.values.get(key) ?? new Map<number, TensorLike | Spilled>();
    this.values.set(key, own);
    const bytes = bytesOf(tensor);
    const before = own.get(batch);
    if (before && !('place' in before)) this.inMemory -= bytesOf(before) ?? 0;
    if (bytes === null || this.inMemory + bytes <= this.budget) {
      this.inMemory += bytes ?? 0;
      own.set(batch, tensor);
    } else {
      own.set(batch, await this.spill(key, tensor));
    }
  }

  /** Throws where it was never put. */
  async get(stream: Stream, name: string, batch: number): Promise<TensorLike> {
    const key = keyOf(stream, name);
    const found = this.values.get(key)?.get(batch);
    if (!found) throw new Error(`no value "${name}" of batch ${batch} was kept`);
    if (!('place' in found)) return found;
    const buffer = new ArrayBuffer(found.place.length);
    const file = this.files.get(key)!;
    if (!(await file.fill(new Uint8Array(buffer), found.place.position)))
      throw new VertexqError('ERR_VERTEXQ_FILE', `${file.temporary} was cut short while it was used`);
    return { data: found.make(buffer), dims: found.dims, ...(found.type ? { type: found.type } : {}) };
  }

  /** Forgets a value of both streams. */
  async drop(name: string): Promise<void> {
    for (const stream of ['float', 'seen'] as const) {
      const key = keyOf(stream, name);
      for (const value of this.values.get(key)?.values() ?? [])
        if (!('place' in value)) this.inMemory -= bytesOf(value) ?? 0;
      this.values.delete(key);
      if (this.files.delete(key)) await this.workspace.remove(this.fileName(key));
    }
  }

  /** Forgets a value of both streams for one batch. What it has in a file stays there until `drop`. */
  dropBatch(name: string, batch: number): void {
    for (const stream of ['float', 'seen'] as const) {
      const own = this.values.get(keyOf(stream, name));
      const value = own?.get(batch);
      if (value && !('place' in value)) this.inMemory -= bytesOf(value) ?? 0;
      own?.delete(batch);
    }
  }

  private async spill(key: string, tensor: TensorLike): Promise<Spilled> {
    let file = this.files.get(key);
    if (!file) this.files.set(key, (file = await this.workspace.create(this.fileName(key))));
    const data = tensor.data as Numbers;
    const place = await file.append(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    const Kind = data.constructor as new (buffer: ArrayBuffer) => Numbers;
    return { place, make: (buffer) => new Kind(buffer), dims: tensor.dims, type: tensor.type };
  }

  private readonly numbers = new Map<string, number>();

  /** Values may be called anything. */
  private fileName(key: string): string {
    const number = this.numbers.get(key) ?? this.numbers.size;
    this.numbers.set(key, number);
    return `${this.prefix}-${number}`;
  }
}

const keyOf = (stream: Stream, name: string) => `${stream} ${name}`;

/** null for strings, which stay in memory. */
function bytesOf({ data }: TensorLike): number | null {
  return ArrayBuffer.isView(data) ? data.byteLength : null;
}
