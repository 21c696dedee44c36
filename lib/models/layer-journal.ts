import { VertexqError } from '../errors';
import { OutputFile } from '../files/output-file';
import { asQuantizedLayer, type QuantizedValues } from '../fit/quantize-weights';
import { checksum } from '../native/checksum';
import type { QuantizedLayer } from '../types';
import type { WorkFolder } from '../runs/work-folder';

/** What the journal tells of a layer: all but its numbers, and where these are. */
interface Facts {
  values: Omit<QuantizedValues, 'codes' | 'scales' | 'zeroPoints' | 'minima' | 'table'>;
  position: number;
  /** Of codes, scales, and zero points where there are any. */
  bytes: [codes: number, scales: number, zeroPoints: number];
}

/** The layers that a run has fitted, kept in its work folder so that it can be gone on with. */
export class LayerJournal {
  private readonly found = new Map<string, Facts>();
  private end = 0;
  /** Bytes of the input's weights whose layers were found. */
  resumed = 0;

  private constructor(
    private readonly work: WorkFolder,
    private readonly file: OutputFile,
  ) {}

  /** Opens what is there: layers whose numbers are not those that were written any more are left out. Rejects with ERR_VERTEXQ_FILE. */
  static async open(work: WorkFolder): Promise<LayerJournal> {
    const path = work.partial('layers');
    const journal = new LayerJournal(work, await OutputFile.create(path, path, true));
    for (const [key, unit] of work.done) {
      const facts = unit.facts as Facts | null;
      // Other units of the same run.
      if (!facts?.values) continue;
      const bytes = await journal.read(facts);
      if (!bytes || (await checksum(bytes)) !== unit.checksum) continue;
      journal.found.set(key, facts);
      journal.end = Math.max(journal.end, facts.position + bytes.length);
    }
    return journal;
  }

  has(key: string): boolean {
    return this.found.has(key);
  }

  /** A layer as an earlier run left it. */
  async find(key: string): Promise<QuantizedLayer | undefined> {
    const facts = this.found.get(key);
    if (!facts) return undefined;
    const bytes = await this.read(facts);
    if (!bytes)
      throw new VertexqError('ERR_VERTEXQ_FILE', `${this.file.file} was cut short while it was used`);
    const { values, bytes: lengths } = facts;
    let at = 0;
    const [codes, scales, zeroPoints] = lengths.map((length) => bytes.buffer.slice(at, (at += length)));
    return asQuantizedLayer({
      ...values,
      ...{ minima: null, table: null }, // no format for networks holds any
      codes: new Int8Array(codes!),
      scales: new Float32Array(scales!),
      zeroPoints: lengths[2] === 0 ? null : new Float32Array(zeroPoints!),
    });
  }

  /** Keeps a layer. Rejects with ERR_VERTEXQ_FILE. */
  async keep(key: string, layer: QuantizedLayer): Promise<void> {
    const { codes, scales, zeroPoints, groupSize, bits, levels, outFeatures, inFeatures, report } = layer;
    const values = { groupSize, bits, levels, outFeatures, inFeatures, report };
    const parts = [codes, scales, zeroPoints ?? new Float32Array()].map(bytesOf);
    const lengths = parts.map(({ length }) => length) as Facts['bytes'];
    const bytes = new Uint8Array(lengths[0] + lengths[1] + lengths[2]);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    const facts: Facts = { values, position: this.end, bytes: lengths };
    this.end += bytes.length;
    await this.file.write(bytes, facts.position);
    await this.work.note(key, { checksum: await checksum(bytes), facts });
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private async read({ position, bytes }: Facts): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const target = new Uint8Array(bytes[0] + bytes[1] + bytes[2]);
    return (await this.file.fill(target, position)) ? target : undefined;
  }
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);
