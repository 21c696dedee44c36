import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  quantizeCheckpoint,
  quantizeModel,
  tuneCheckpoint,
  verifyCheckpoint,
  verifyModel,
} from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { checksum } from '../../lib/native/checksum';
import { checksumKey, noChecksum, pieceBytes, writeChecksum } from '../../lib/runs/own-checksum';
import { fileOf, smallModel } from '../checkpoints/make';
import { writeSmall } from '../checkpoints/gguf/models';
import { textModel } from '../checkpoints/sharded/folders';
import { temporaryFolder } from '../files/temporary-folder';
import { files as modelFiles, float, network, random } from '../models/networks';

/** An output: the files that its checksum is of, the one that says it first, and what verifies it. */
interface Made {
  files: string[];
  verify: () => ReturnType<typeof verifyCheckpoint>;
}

const oneFile = (t: ExecutionContext, metadata?: Record<string, string>) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  writeFileSync(
    input,
    fileOf(
      smallModel('BF16', 128).reduce((all, own) => ({ ...all, ...own })),
      metadata,
    ),
  );
  return { input, output, options: { groupSize: 32 } };
};

const cases: Record<string, (t: ExecutionContext) => Promise<Made>> = {
  'a safetensors file': async (t) => {
    const { input, output, options } = oneFile(t);
    await quantizeCheckpoint(input, output, options);
    return { files: [output], verify: () => verifyCheckpoint(output) };
  },
  'a GGUF file': async (t) => {
    const folder = temporaryFolder(t);
    const [input, output] = [join(folder, 'in'), join(folder, 'out.gguf')];
    writeSmall(input, 'llama', 'F16');
    await quantizeCheckpoint(input, output, { format: 'gguf:q4_0' });
    return { files: [output], verify: () => verifyCheckpoint(output) };
  },
  'a GGUF file in parts': async (t) => {
    const folder = temporaryFolder(t);
    const [input, output] = [join(folder, 'in'), join(folder, 'out.gguf')];
    writeSmall(input, 'llama', 'F16');
    const { files } = await quantizeCheckpoint(input, output, { format: 'gguf:q4_0', maxFileSize: 28_000 });
    return { files: files!, verify: () => verifyCheckpoint(files![1]!) };
  },
  'an ONNX file': (t) => onnx(t, false),
  'an ONNX file with its data beside it': (t) => onnx(t, true),
};

async function onnx(t: ExecutionContext, externalData: boolean): Promise<Made> {
  const model = network({
    nodes: [node('MatMul', ['x', 'w'], ['a']), node('Add', ['a', 'b'], ['y'])],
    constants: [tensor('w', [128, 64], random(128 * 64, 1)), tensor('b', [64], random(64, 2))],
    inputs: [float('x', [4, 128])],
  });
  const { input, output } = modelFiles(t, model);
  await quantizeModel(input, output, { externalData });
  const files = externalData ? [output, `${output}_data`] : [output];
  return { files, verify: () => verifyModel(output) };
}

/** As the documentation tells it, from the bytes alone. */
async function byHand(files: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const [i, path] of files.entries()) {
    const bytes = readFileSync(path);
    if (i === 0) {
      const at = /xxh64:[0-9a-f]{16}/.exec(bytes.toString('latin1'))!.index + 6;
      bytes.fill('0', at, at + 16);
    }
    t16(bytes.length);
    lines.push(`${bytes.length} ${bytes.length > 0 ? await checksum(bytes) : ''}\n`);
  }
  return checksum(Buffer.from(lines.join('')));
}

const t16 = (size: number) => {
  if (size > pieceBytes) throw new Error('of small files only');
};

for (const [name, make] of Object.entries(cases)) {
  test(`${name}: says the checksum of its bytes, and verify compares it`, async (t) => {
    const { files, verify } = await make(t);
    const digits = /xxh64:([0-9a-f]{16})/.exec(readFileSync(files[0]!, 'latin1'))![1]!;
    t.is(digits, await byHand(files));
    const { faults, manifest } = await verify();
    t.deepEqual(faults, []);
    t.deepEqual(manifest, { files: files.length, bytes: files.reduce((sum, path) => sum + statSync(path).size, 0) }); // prettier-ignore
  });

  test(`${name}: any byte that is changed is found`, async (t) => {
    const { files, verify } = await make(t);
    const place = fc
      .constantFrom(...files)
      .chain((path) => fc.tuple(fc.constant(path), fc.nat(statSync(path).size - 1), fc.integer({ min: 1, max: 255 }))); // prettier-ignore
    await fc.assert(
      fc.asyncProperty(place, async ([path, at, change]) => {
        const before = readFileSync(path);
        const after = Buffer.from(before);
        after[at]! ^= change;
        writeFileSync(path, after);
        // What cannot be read is told as that; who changes the key has it say nothing.
        const found = await verify().then(
          ({ faults, manifest }) => faults.length > 0 || manifest === null,
          () => true,
        );
        writeFileSync(path, before);
        return found;
      }),
      { numRuns: 60 },
    );
    t.deepEqual((await verify()).faults, []);
  });
}

test('another name of the same output is the same; an older checksum of the input is replaced, or dropped where a folder has a manifest', async (t) => {
  const { input, output, options } = oneFile(t, { [checksumKey]: 'xxh64:0123456789abcdef', a: 'b' });
  await quantizeCheckpoint(input, output, options);
  t.deepEqual((await verifyCheckpoint(output, input)).faults, []);
  renameSync(output, `${output}.safetensors`);
  t.deepEqual((await verifyCheckpoint(`${output}.safetensors`)).faults, []);
  t.is(readFileSync(`${output}.safetensors`, 'latin1').split(checksumKey).length, 2);
});

test('a run that is gone on with says the same, and so does what is finished already', async (t) => {
  const { input, output, options } = oneFile(t);
  await quantizeCheckpoint(input, output, options);
  const digest = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
  const wanted = digest(output);
  const again = `${output}.again.safetensors`;
  for (const last of [1, 3, 5]) {
    let units = 0;
    const end = new AbortController();
    const onProgress = () => {
      if (++units === last) end.abort(new Error('ended'));
    };
    await t.throwsAsync(quantizeCheckpoint(input, again, { ...options, onProgress, signal: end.signal, resume: true }), { message: 'ended' }); // prettier-ignore
  }
  await quantizeCheckpoint(input, again, { ...options, resume: true });
  t.is(digest(again), wanted);
});

test('what is tuned in a folder has a manifest, and says none; a file that is tuned says its own', async (t) => {
  const { input, calibration, folder } = textModel(t, 'with a tokenizer');
  const [packed, tuned] = [join(folder, 'packed'), join(folder, 'tuned')];
  await quantizeCheckpoint(input, packed, { bits: 4, groupSize: 16, method: 'gptq', calibration });
  await tuneCheckpoint(input, packed, tuned, { calibration, rounds: 1 });
  t.false(readFileSync(join(tuned, 'model.safetensors'), 'latin1').includes(checksumKey));
  t.deepEqual((await verifyCheckpoint(tuned)).faults, []);
  const file = join(folder, 'tuned.safetensors');
  await tuneCheckpoint(input, join(packed, 'model.safetensors'), file, { calibration, rounds: 1 });
  // Without its folder nothing says what is in few bits: next to what it was made of, its scales are others.
  const { faults, manifest } = await verifyCheckpoint(file, join(packed, 'model.safetensors'));
  t.deepEqual(manifest, { files: 1, bytes: statSync(file).size });
  t.false(
    faults.some((fault) => fault.includes('checksum')),
    faults.join(),
  );
});

test('a checksum of another kind is a fault', async (t) => {
  const { input, output, options } = oneFile(t);
  await quantizeCheckpoint(input, output, options);
  const text = readFileSync(output, 'latin1').replace(/xxh64:/, 'other:');
  writeFileSync(output, Buffer.from(text, 'latin1'));
  const { faults } = await verifyCheckpoint(output);
  t.regex(
    faults.join(),
    /out\.safetensors" says a checksum of itself that this version does not read, "other:/,
  );
});

test('of many pieces, wherever the digits lie', async (t) => {
  const mark = Buffer.from(`{"${checksumKey}":"${noChecksum}"}`);
  for (const at of [0, 100, pieceBytes - 40, pieceBytes - 20, pieceBytes - 5, pieceBytes + 3]) {
    const bytes = Buffer.alloc(pieceBytes + 1000, 7);
    bytes.set(mark, at);
    let written: [string, number] | undefined;
    const file = {
      fill: (target: Uint8Array, position: number) => {
        target.set(bytes.subarray(position, position + target.length));
        return Promise.resolve(true);
      },
      write: (own: Uint8Array, position: number) => {
        written = [Buffer.from(own).toString(), position];
        return Promise.resolve();
      },
    };
    await writeChecksum(file, bytes.length, [], undefined);
    t.is(written![1], at + mark.length - 18);
    const sums = [await checksum(bytes.subarray(0, pieceBytes)), await checksum(bytes.subarray(pieceBytes))];
    t.is(written![0], await checksum(Buffer.from(`${bytes.length} ${sums.join('')}\n`)));
  }
});
