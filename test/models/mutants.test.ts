import test from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectModel, quantizeModel, VertexqError } from '../../lib/index';
import { byteMutations } from '../../scripts/fuzz/byte-mutations';
import { smallOriginals } from '../../scripts/fuzz/corpus';
import { messageMutations } from '../../scripts/fuzz/message-mutations';
import { mutant } from '../../scripts/fuzz/mutate';
import { setTraps } from '../../scripts/fuzz/traps';
import { fieldsOf } from '../../scripts/fuzz/wire';
import { folder } from './networks';

const originals = smallOriginals();

test('mutants of models are read, or refused with an error that says so', async (t) => {
  const path = folder(t);
  setTraps(path);
  const [file, output] = [join(path, 'case.onnx'), join(path, 'out.onnx')];
  const done = new Set<string>();
  let refused = 0;
  for (let run = 0; run < 500; run++) {
    const { name, mutations, bytes, choose } = mutant(originals, 1, run);
    for (const mutation of mutations) done.add(mutation);
    writeFileSync(file, bytes);
    const job = choose.chance(0.3)
      ? quantizeModel(file, output, { method: 'msq', scale: 'max' })
      : inspectModel(file);
    const error = await job.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (error !== null) refused++;
    t.true(
      error === null || error instanceof VertexqError,
      `${run}: ${name}, ${mutations.join()}: ${String(error)}`,
    );
  }
  t.true(refused > 100 && refused < 400, `${refused}`);
  t.deepEqual([...done].sort(), [...Object.keys(byteMutations), ...Object.keys(messageMutations)].sort());
});

test('a mutant is the same every time, and another for another number or seed', (t) => {
  const bytes = (seed: number, run: number) =>
    Buffer.from(mutant(originals, seed, run).bytes).toString('hex');
  t.is(bytes(1, 7), bytes(1, 7));
  const different = new Set([0, 1, 2, 3].flatMap((seed) => [0, 1, 2, 3].map((run) => bytes(seed, run))));
  t.true(different.size >= 15);
});

test('the fields of a file are all of its bytes, and those of a message all of its own', (t) => {
  const bytes = new Uint8Array(readFileSync(join(__dirname, '..', 'fixtures', 'mnist-cnn.onnx')));
  const fields = fieldsOf(bytes);
  t.true(fields.length > 100);
  const ends = new Map<number, number>([[-1, 0]]);
  for (const { start, content, end, parent } of fields) {
    t.is(start, ends.get(parent) ?? fields[parent]!.content);
    t.true(start < content && content <= end);
    ends.set(parent, end);
  }
  for (const [parent, end] of ends) t.is(end, parent < 0 ? bytes.length : fields[parent]!.end);
});
