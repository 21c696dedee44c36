import test, { type ExecutionContext } from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateRawSync } from 'node:zlib';
import { formatNpy } from '../../containers/npy/format-npy';
import { prepareCalibrationSet, type ModelInput } from '../../../lib/models/calibration-set';
import { temporaryFolder } from '../../files/temporary-folder';
import { buildZip, type ZipPart } from '../../containers/npy/zip-builder';

// Archives that are far smaller than what they hold.

const inputs: ModelInput[] = [{ name: 'x', type: 'float32', dims: ['batch', 2] }];
const small = formatNpy({ data: Float32Array.of(1, 2, 3, 4), dims: [2, 2] });
const sound: ZipPart = { name: 'x.npy', content: small };

/** An array of zeros, some hundred times its size when it is packed. */
function zeros(name: string, dims: number[], descr = '<f4', bytes = 4): ZipPart {
  const length = dims.reduce((product, dim) => product * dim, bytes);
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims.join(', ')},), }`;
  const head = Buffer.alloc(128, ' ');
  head.write('\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(118, 8);
  head.write(dict, 10);
  head[127] = 10;
  const content = Buffer.concat([head, Buffer.alloc(length)]);
  return { name, content: deflateRawSync(content), method: 8, size: content.length, crc: crc32(content) };
}

function fileOf(t: ExecutionContext, parts: readonly ZipPart[]): string {
  const path = join(temporaryFolder(t), 'x.npz');
  writeFileSync(path, buildZip(parts));
  return path;
}

const read = (path: string) => prepareCalibrationSet(path, { inputs, holdout: 0 });

/** Runs `action`; the most that array buffers took meanwhile beyond what they took before, in bytes. */
async function mostTaken(action: () => Promise<unknown>): Promise<number> {
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const look = () => (most = Math.max(most, process.memoryUsage().arrayBuffers - before));
  const timer = setInterval(look, 1);
  await action().finally(() => clearInterval(timer));
  look();
  return most;
}

const large = 2 ** 26;

test.serial('trust 11: arrays that no input has are not inflated', async (t) => {
  const other = zeros('', [large / 4]);
  const others = Array.from({ length: 8 }, (_, i) => ({ ...other, name: `other${i}.npy` }));
  const path = fileOf(t, [...others, sound]);
  const taken = await mostTaken(() =>
    t.throwsAsync(read(path), {
      code: 'ERR_VERTEXQ_CALIBRATION',
      message: /the network has no input "other0"/,
    }),
  );
  t.true(taken < 2 ** 24, `${taken} bytes`);
});

test.serial('trust 11: arrays that do not fit their input are not inflated', async (t) => {
  for (const [part, message] of [
    [zeros('x.npy', [large / 4]), /should have 2 dimensions/],
    [zeros('x.npy', [2 ** 22, 3]), /dimension 1 is fixed/],
    [zeros('x.npy', [large / 16, 2], '<i8', 8), /should be float32, not int64/],
  ] as const) {
    const path = fileOf(t, [part]);
    const taken = await mostTaken(() => t.throwsAsync(read(path), { message }));
    t.true(taken < 2 ** 24, `${taken} bytes`);
  }
});

// A guard: 0.1.0 passes it.
test.serial(
  'trust 11: sizes that no machine has room for are refused before anything is inflated',
  async (t) => {
    // The directory tells sizes of zip64 that the packed bytes could hold.
    const padding = new Uint8Array(2 ** 22);
    const part = { ...sound, method: 8, content: padding, size: 1032 * 2 ** 22, zip64: true };
    const parts = Array.from({ length: 16 }, (_, i) => ({ ...part, name: i === 0 ? 'x.npy' : `y${i}.npy` }));
    const many: ModelInput[] = parts.map(({ name }) => ({ ...inputs[0]!, name: name.slice(0, -4) }));
    const path = join(temporaryFolder(t), 'x.npz');
    writeFileSync(path, buildZip(parts));
    await t.throwsAsync(prepareCalibrationSet(path, { inputs: many, holdout: 0 }), {
      code: 'ERR_VERTEXQ_MEMORY',
    });
  },
);

test.serial('trust 11: a directory of very many entries is refused', async (t) => {
  const parts = Array.from({ length: 10_001 }, (_, i) => ({ ...sound, name: `x${i}.npy` }));
  await t.throwsAsync(read(fileOf(t, parts)), {
    code: 'ERR_VERTEXQ_NPZ',
    message: /has 10001 entries/,
  });
});

// A guard: 0.1.0 passes it.
test.serial('trust 11: an entry whose sizes follow its data, and zip64, are read', async (t) => {
  // Bit 3: the local header has no sizes, which the directory tells.
  for (const parts of [
    [{ ...sound, flags: 8, deflate: true }],
    [{ ...sound, deflate: true, zip64: true }],
    [{ ...sound, flags: 8, zip64: true }],
  ])
    t.deepEqual((await read(fileOf(t, parts))).samples, { fit: 2, holdout: 0 });
});

test.serial('an abort ends the inflating', async (t) => {
  const path = join(temporaryFolder(t), 'x.npz');
  writeFileSync(path, buildZip([zeros('x.npy', [large / 2, 2])]));
  const controller = new AbortController();
  const reason = new Error('enough');
  const reading = t.throwsAsync(prepareCalibrationSet(path, { inputs, signal: controller.signal }), {
    is: reason,
  });
  setTimeout(() => controller.abort(reason), 20);
  await reading;
});
