import type { OutputFile } from '../files/output-file';

/** Bytes, and where in a file they go. */
export interface Placed {
  position: number;
  bytes: Uint8Array;
}

/**
 * A file that is yet to be written: where everything will lie is known before any data. Headers, and the zeros between tensors, are
 * there already; the rest is data, which may be written in any order.
 */
export interface LaidOut {
  known: readonly Placed[];
  /** Bytes of the whole file. */
  size: number;
}

/** Shared by all gaps: there may be very many. */
const zeros = new Uint8Array(4096);

/** Lays out a file, one thing behind the other. */
export class LayoutBuilder implements LaidOut {
  readonly known: Placed[] = [];
  size = 0;

  /** Adds bytes that are known. */
  add(bytes: Uint8Array): void {
    if (bytes.length > 0) this.known.push({ position: this.size, bytes });
    this.size += bytes.length;
  }

  /** Adds zeros up to a multiple of `alignment`. */
  align(alignment: number): void {
    const end = Math.ceil(this.size / alignment) * alignment;
    while (this.size < end) this.add(zeros.subarray(0, end - this.size));
  }

  /** Leaves room for so many bytes of data; returns where they begin. */
  place(length: number): number {
    this.size += length;
    return this.size - length;
  }
}

/** Data that was laid out by itself, behind a header; `dataStart`: where it begins. */
export function behind(head: readonly Uint8Array[], data: LaidOut): LaidOut & { dataStart: number } {
  const all = new LayoutBuilder();
  for (const piece of head) all.add(piece);
  const dataStart = all.place(data.size);
  for (const { position, bytes } of data.known) all.known.push({ position: dataStart + position, bytes });
  return { known: all.known, size: all.size, dataStart };
}

/** Small pieces that lie side by side are written together: there may be a million. */
const leastWritten = 2 ** 20;

/** Writes what is known of a file. Rejects as `OutputFile.write`. */
export async function writeKnown(file: OutputFile, { known }: LaidOut, signal?: AbortSignal): Promise<void> {
  let [begin, end, pending] = [0, 0, [] as Uint8Array[]];
  const flush = async () => {
    const bytes = pending.length === 1 ? pending[0]! : Buffer.concat(pending);
    pending = [];
    await file.write(bytes, begin, signal);
  };
  for (const { position, bytes } of known) {
    if (position !== end || end - begin >= leastWritten) {
      await flush();
      begin = position;
    }
    pending.push(bytes);
    end = position + bytes.length;
  }
  await flush();
}
