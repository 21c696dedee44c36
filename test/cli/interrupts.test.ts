import test, { type ExecutionContext } from 'ava';
import { toBinary } from '@bufbuild/protobuf';
import { spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { constants, deflateRawSync } from 'node:zlib';
import sharp from 'sharp';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import { ModelProtoSchema, TensorProto_DataType as DataType } from '../../lib/containers/onnx/onnx_pb';
import { fileOf, tensor as numbersOf } from '../checkpoints/make';
import { weightsIn, wide, writeModel } from '../decoders/tiny';
import { temporaryFolder } from '../files/temporary-folder';
import { buildZip } from '../containers/npy/zip-builder';
import { float, network, random, type Parts } from '../models/networks';
import { tokenizerJson } from '../models/data/tokenizer';
import { typescript } from '../typescript';

// Ctrl-C while the program is at what its input made slow: it ends within a second (here five: machines are busy, and where more wants to run than there are cores, as many times that), and leaves nothing.

const root = join(__dirname, '..', '..');
const program = [typescript, join('lib', 'cli', 'main.ts')];
const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The processes below `pid`, with it. */
function processesOf(pid: number): number[] {
  const found = new Set([pid]);
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const parent = Number(readFileSync(`/proc/${name}/stat`, 'latin1').split(') ')[1]!.split(' ')[1]);
      if (found.has(parent)) found.add(Number(name));
    } catch {
      // It has ended meanwhile.
    }
  }
  return [...found];
}

/** Seconds of the cores that processes have taken, as far as they are there. */
function coreSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended.
    }
  }
  return ticks / 100;
}

const isOpen = (pid: number, file: string) =>
  readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === file;
    } catch {
      return false;
    }
  });

/** Runs the program until it has opened `file` (null: has a process of its own), and `delay` ms more, and interrupts it. */
async function interrupt(
  t: ExecutionContext,
  folder: string,
  file: string | null,
  delay: number,
  args: string[],
) {
  const before = readdirSync(folder).sort();
  const child = spawn(process.execPath, [...program, ...args], { cwd: root });
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  let ended: number | string | null | undefined;
  const closed = new Promise<void>((resolve) =>
    child.on('close', (status, signal) => {
      ended = status ?? signal;
      resolve();
    }),
  );
  const pid = child.pid!;
  const isReady = () => (file === null ? processesOf(pid).length > 1 : isOpen(pid, file));
  while (ended === undefined && !isReady()) await wait(5);
  await wait(delay);
  const others = processesOf(pid);
  t.is(ended, undefined, `it ended before: ${said}`);
  const begun = coreSeconds(others);
  let taken = 0;
  const most = 5000 * Math.max(1, loadavg()[0]! / availableParallelism());
  const from = performance.now();
  child.kill('SIGINT');
  const watch = setInterval(() => (taken = Math.max(taken, coreSeconds(others) - begun)), 20);
  await Promise.race([closed, wait(30_000)]);
  clearInterval(watch);
  const took = performance.now() - from;
  if (ended === undefined) child.kill('SIGKILL');
  const told = `${Math.round(took)} ms, ${taken.toFixed(2)} s of the cores`;
  t.log(told);
  t.true(took < most && taken < 5, `${told}: ${said}`);
  // The second is how a shell tells 130 too.
  t.true(ended === 130 || ended === 'SIGINT', `${ended}: ${said}`);
  t.true(said.endsWith('vertexq: interrupted\n'), said);
  t.deepEqual(readdirSync(folder).sort(), before);
  await wait(200);
  for (const other of others)
    t.throws(() => readlinkSync(`/proc/${other}/exe`), undefined, `${other} lives on`);
}

function networkIn(folder: string, parts: Parts): string {
  const path = join(folder, 'in.onnx');
  writeFileSync(path, toBinary(ModelProtoSchema, network(parts)));
  return path;
}

onLinux('trust 10: Ctrl-C ends a tokenizer that is stuck, and its process', async (t) => {
  const folder = temporaryFolder(t);
  const model = networkIn(folder, {
    inputs: [valueInfo('input_ids', DataType.INT64, ['batch', 'sequence'])],
    nodes: [node('Gather', ['table', 'input_ids'], ['h']), node('MatMul', ['h', 'w'], ['y'], { name: 'fc' })],
    constants: [tensor('table', [12, 32], random(384, 1)), tensor('w', [32, 32], random(1024, 2))],
  });
  const [text, tokenizer] = [join(folder, 'text.txt'), join(folder, 'tokenizer.json')];
  const pattern = { Regex: '(a+)+$' };
  writeFileSync(text, `${'a'.repeat(64)}b`);
  writeFileSync(
    tokenizer,
    JSON.stringify(
      tokenizerJson({ pre_tokenizer: { type: 'Split', pattern, behavior: 'Isolated', invert: false } }),
    ),
  );
  const args = [
    'quantize',
    model,
    '-o',
    join(folder, 'out.onnx'),
    '--calibration',
    text,
    '--tokenizer',
    tokenizer,
  ];
  await interrupt(t, folder, null, 2500, args);
});

onLinux('trust, off the main thread: Ctrl-C ends the reading of a long header', async (t) => {
  const folder = temporaryFolder(t);
  const [input, small] = [join(folder, 'in.safetensors'), join(folder, 'small.safetensors')];
  const tensors = Array.from(
    { length: 900_000 },
    (_, i) => `"model.layers.${i}.mlp.down_proj.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`,
  );
  const header = Buffer.from(`{${tensors.join()}}`);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(input, Buffer.concat([prefix, header]));
  writeFileSync(small, fileOf({ 'a.weight': numbersOf('F32', [32, 32], 1) }));
  await interrupt(t, folder, input, 600, ['quantize', input, '-o', join(folder, 'out.safetensors')]);
  await interrupt(t, folder, input, 600, ['inspect', input, '--json']);
  const recorded = ['quantize', small, '-o', join(folder, 'out.safetensors'), '--activations', input];
  await interrupt(t, folder, input, 600, recorded);
});

onLinux('trust 11: Ctrl-C ends the inflation of an array', async (t) => {
  const folder = temporaryFolder(t);
  const model = networkIn(folder, {
    inputs: [float('x', ['batch', 32])],
    nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'fc' })],
    constants: [tensor('w', [32, 32], random(1024, 2))],
  });
  const rows = 2 ** 22;
  const head = Buffer.alloc(128, ' ');
  head.write(
    `\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (${rows}, 32), }`,
    'latin1',
  );
  head.write('\n', 127);
  const piece = Buffer.from(random(2 ** 18, 1).buffer);
  // Blocks that end on a byte can be said again and again.
  const flush = { finishFlush: constants.Z_FULL_FLUSH };
  const block = deflateRawSync(piece, flush);
  const data = join(folder, 'data.npz');
  const pieces = [deflateRawSync(head, flush), ...Array<Buffer>(512).fill(block), Buffer.from([3, 0])];
  const part = {
    name: 'x.npy',
    content: Buffer.concat(pieces),
    method: 8,
    size: head.length + 512 * piece.length,
  };
  const file = openSync(data, 'w');
  writeSync(file, buildZip([part]));
  closeSync(file);
  const args = ['quantize', model, '-o', join(folder, 'out.onnx'), '--calibration', data];
  await interrupt(t, folder, data, 600, args);
});

onLinux('trust 20: Ctrl-C ends what is made of a recorded Gram matrix', async (t) => {
  const folder = temporaryFolder(t);
  const n = 3500;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) gram[i * n + j] = gram[j * n + i] = i === j ? 3 : 1 / (1 + i - j);
  const [input, data] = [join(folder, 'in.safetensors'), join(folder, 'data.safetensors')];
  writeFileSync(input, fileOf({ 'a.weight': numbersOf('F32', [32, n], 1) }));
  writeFileSync(
    data,
    fileOf({ 'a.weight.gram': { dtype: 'F64', shape: [n, n], data: Buffer.from(gram.buffer) } }),
  );
  const args = ['quantize', input, '-o', join(folder, 'out.safetensors'), '--activations', data];
  for (const delay of [0, 1500]) await interrupt(t, folder, data, delay, args);
});

onLinux('trust, off the main thread: Ctrl-C ends the decoding of an image', async (t) => {
  const folder = temporaryFolder(t);
  const model = networkIn(folder, {
    inputs: [float('x', ['batch', 3, 'height', 'width'])],
    nodes: [node('Conv', ['x', 'w'], ['y'], { name: 'conv' })],
    constants: [tensor('w', [4, 3, 3, 3], random(108, 2))],
  });
  const images = join(folder, 'images');
  const image = join(images, 'a.png');
  const side = 12_000;
  const row = Buffer.from(random(side * 3, 1).map((x) => 128 + 80 * x));
  const pixels = Buffer.concat(Array<Buffer>(side).fill(row));
  mkdirSync(images);
  await sharp(pixels, { raw: { width: side, height: side, channels: 3 }, limitInputPixels: false })
    .png({ compressionLevel: 1 })
    .toFile(image);
  const args = ['quantize', model, '-o', join(folder, 'out.onnx'), '--calibration', images];
  await interrupt(t, folder, image, 600, args);
});

onLinux('Ctrl-C ends the evaluation of checkpoints', async (t) => {
  const folder = temporaryFolder(t);
  const golden = wide(200_000);
  writeModel(folder, golden.config, weightsIn(golden), 'BF16');
  const data = join(folder, 'tokens.safetensors');
  const ids = Buffer.from(
    BigInt64Array.from({ length: 40_000 }, (_, i) => BigInt((i * 7919) % 200_000)).buffer,
  );
  writeFileSync(data, fileOf({ input_ids: { dtype: 'I64', shape: [80, 500], data: ids } }));
  const model = join(folder, 'model.safetensors');
  for (const delay of [0, 2500])
    await interrupt(t, folder, model, delay, ['eval', model, model, '--data', data]);
});
