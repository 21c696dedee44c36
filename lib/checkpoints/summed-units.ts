import { checksum } from '../native/checksum';
import { Turns } from '../yielding';
import { areAll, type SummedFile, type SummedPiece } from './output-manifest';
import { type Plan, unitKey } from './plan';
import { targetsOf } from './units';

/** What the manifest says of files that were made of units: what is known of them beforehand, and the bytes of each unit. */
export async function summedFiles(
  { shards }: Plan,
  checksums: ReadonlyMap<string, string>,
): Promise<Map<string, SummedFile>> {
  const files = new Map<string, SummedFile>();
  const turns = new Turns();
  for (const shard of shards) {
    const { name, size, known, units, dataStart } = shard;
    if (!units.every((_, i) => checksums.has(unitKey(shard, i)))) continue;
    const pieces: SummedPiece[] = [];
    for (const { position, bytes } of known)
      if (bytes.length > 0)
        pieces.push({ ranges: [[position, position + bytes.length]], xxh64: await checksum(bytes) });
    for (const [i, unit] of units.entries()) {
      if (turns.due) await turns.next();
      const ranges = targetsOf(unit).map(({ position, length }): [number, number] => [
        dataStart + position,
        dataStart + position + length,
      ]);
      pieces.push({
        ranges: ranges.filter(([begin, end]) => end > begin),
        xxh64: checksums.get(unitKey(shard, i))!,
      });
    }
    const own = pieces.filter(({ ranges }) => ranges.length > 0);
    // Where a byte has no checksum, the file is read.
    if (
      await areAll(
        own.flatMap(({ ranges }) => ranges),
        size,
        turns,
      )
    )
      // prettier-ignore
      files.set(name, { bytes: size, pieces: own });
  }
  return files;
}
