import { binding } from './binding';
import { finish } from './jobs';

/** A checksum of all bytes, which tells whether they are the same ones again. */
export async function checksum(input: Uint8Array): Promise<string> {
  return finish(() => binding().checksum({ input }), undefined);
}
