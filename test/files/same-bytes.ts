import type { ExecutionContext } from 'ava';

/** That these are the same bytes. deepEqual makes a text of the place of each one: a second for some megabytes. */
export function sameBytes(
  t: ExecutionContext,
  found: Uint8Array,
  expected: Uint8Array,
  message = 'bytes',
): void {
  if (Buffer.compare(found, expected) === 0) {
    t.pass();
    return;
  }
  const first = found.findIndex((byte, i) => byte !== expected[i]);
  const place = first < 0 ? found.length : first;
  t.fail(
    `${message}: ${found.length} bytes where ${expected.length} are expected; they differ from byte ${place} on`,
  );
}
