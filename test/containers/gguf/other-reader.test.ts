import { gguf, GGMLQuantizationType } from '@huggingface/gguf';
import test from 'ava';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { quantizeCheckpoint } from '../../../lib/index';
import { kindNames, writeSmall } from '../../checkpoints/gguf/models';
import { temporaryFolder } from '../../files/temporary-folder';

/** Numbers of both readers, whichever of them keeps which type. */
const plain = (value: unknown): unknown =>
  typeof value === 'bigint'
    ? Number(value)
    : ArrayBuffer.isView(value) || Array.isArray(value)
      ? Array.from(value as Iterable<unknown>, plain)
      : value;

for (const [i, kind] of kindNames.entries()) {
  const format = (['gguf:q4_k_m', 'gguf:q8_0', 'gguf:bf16', 'gguf:q2_k'] as const)[i % 4]!;
  test(`${kind} as ${format}: @huggingface/gguf reads the keys and tensors that our reader does`, async (t) => {
    const folder = temporaryFolder(t);
    const output = join(folder, 'out.gguf');
    writeSmall(join(folder, 'in'), kind);
    await quantizeCheckpoint(join(folder, 'in'), output, { format });
    const theirs = await gguf(output, { allowLocalFile: true });
    await GgufFile.with(output, (file) => {
      const { version, tensor_count: tensors, kv_count: keys, ...metadata } = theirs.metadata;
      t.is(version, 3);
      t.is(Number(tensors), file.tensors.size);
      t.is(Number(keys), file.header.metadata.size);
      t.deepEqual(plain(Object.entries(metadata)), plain([...file.header.metadata]));
      t.deepEqual(
        theirs.tensorInfos.map(({ name, shape, dtype, offset }) => [
          ...[name, GGMLQuantizationType[dtype], shape.map(Number).toReversed()],
          Number(theirs.tensorDataOffset) + Number(offset),
        ]),
        [...file.tensors].map(([name, { dtype, shape, position }]) => [name, dtype, [...shape], position]),
      );
      return Promise.resolve();
    });
  });
}
