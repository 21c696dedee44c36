// npm run bench:without-data [-- --layers n] [-- --width n] [-- --format f] [-- --rounds n] [-- --folder path]: a network of many products
// in external data is rounded without data, against plain reading and writing of as many bytes, in turns in one run.
import { randomFillSync } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import type { ModelFormat } from '../../lib/encodings/names';
import { node, valueInfo } from '../../lib/containers/onnx/make';
import {
  ModelProtoSchema,
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
} from '../../lib/containers/onnx/onnx_pb';
import { quantize } from '../checkpoint/measure';

const words = process.argv.slice(2);
const value = (flag: string, fallback: string) =>
  words.includes(flag) ? words[words.indexOf(flag) + 1]! : fallback;
const layers = Number(value('--layers', '48'));
const width = Number(value('--width', '4096'));
const rounds = Number(value('--rounds', '3'));
const format = value('--format', 'matmulnbits') as ModelFormat;
/** As a browser takes them. */
const longestFile = 2_000_000_000;
const atOnce = 2 ** 24;

/** Numbers like a trained layer's, about normal: sums of four. */
function weights(): Float32Array {
  const bytes = randomFillSync(new Uint16Array(4 * 2 ** 20));
  const some = Float32Array.from({ length: 2 ** 20 }, (_, i) => {
    const sum = bytes[4 * i]! + bytes[4 * i + 1]! + bytes[4 * i + 2]! + bytes[4 * i + 3]!;
    return (sum / 2 ** 17 - 1) / 16;
  });
  const all = new Float32Array(width * width);
  for (let at = 0; at < all.length; at += some.length)
    all.set(at + some.length > all.length ? some.subarray(0, all.length - at) : some, at);
  return all;
}

/** x·W₁·W₂ …, each [width, width], in files beside it. */
async function makeNetwork(file: string): Promise<void> {
  const numbers = weights();
  const initializer = [];
  let name = '';
  let handle;
  for (let i = 0, at = longestFile; i < layers; i++, at += numbers.byteLength) {
    if (at + numbers.byteLength > longestFile) {
      await handle?.close();
      name = `in.onnx_data_${i}`;
      handle = await open(join(file, '..', name), 'w');
      at = 0;
    }
    // Each layer's begin elsewhere.
    const cut = (i * 7919 * 16) % numbers.length;
    await handle?.writev([numbers.subarray(cut), numbers.subarray(0, cut)]);
    const place = { location: name, offset: at, length: numbers.byteLength };
    initializer.push(
      create(TensorProtoSchema, {
        name: `w${i}`,
        dims: [BigInt(width), BigInt(width)],
        dataType: DataType.FLOAT,
        dataLocation: DataLocation.EXTERNAL,
        externalData: Object.entries(place).map(([key, told]) => ({ key, value: String(told) })),
      }),
    );
  }
  await handle?.close();
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'products',
      node: initializer.map((_, i) => node('MatMul', [`x${i}`, `w${i}`], [`x${i + 1}`])),
      initializer,
      input: [valueInfo('x0', DataType.FLOAT, ['rows', width])],
      output: [valueInfo(`x${layers}`, DataType.FLOAT, ['rows', width])],
    },
  });
  await writeFile(file, toBinary(ModelProtoSchema, model));
}

const filesIn = (folder: string) => readdirSync(folder).map((name) => join(folder, name));
const bytesIn = (folder: string) => filesIn(folder).reduce((sum, file) => sum + statSync(file).size, 0);

/** Seconds of reading all files of a folder and of writing as many bytes as `outputBytes`, synced as the output is. */
async function readAndWrite(folder: string, outputBytes: number, to: string) {
  const buffer = new Uint8Array(atOnce);
  const before = process.cpuUsage();
  const started = performance.now();
  for (const file of filesIn(folder)) {
    const handle = await open(file);
    while ((await handle.read(buffer)).bytesRead > 0);
    await handle.close();
  }
  const read = performance.now();
  const handle = await open(to, 'w');
  for (let at = 0; at < outputBytes; at += atOnce)
    await handle.write(buffer, 0, Math.min(atOnce, outputBytes - at));
  await handle.sync();
  await handle.close();
  const ended = performance.now();
  rmSync(to);
  const { user, system } = process.cpuUsage(before);
  return {
    read: (read - started) / 1000,
    write: (ended - read) / 1000,
    seconds: (ended - started) / 1000,
    cpu: (user + system) / 1e6,
  };
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(value('--folder', tmpdir()), 'vertexq-bench-'));
  try {
    const input = mkdtempSync(join(folder, 'in-'));
    await makeNetwork(join(input, 'in.onnx'));
    console.log(
      `${cpus()[0]!.model}, ${availableParallelism()} cores; ${layers} layers of ${width} × ${width} float32, msq to ${format}`,
    );
    const runs = [];
    const plain = [];
    for (let round = 0; round < rounds; round++) {
      const output = mkdtempSync(join(folder, 'out-'));
      const run = quantize(join(input, 'in.onnx'), join(output, 'out.onnx'), {
        format,
        method: 'msq',
        externalData: true,
      });
      const bytes = bytesIn(output);
      rmSync(output, { recursive: true });
      const files = await readAndWrite(input, bytes, join(folder, 'copy'));
      runs.push(run);
      plain.push(files);
      console.log(
        [
          `run ${run.seconds.toFixed(2)} s (${run.cpu.toFixed(2)} s of cores), event loop ${(run.delay * 1000).toFixed(0)} ms, of which the main thread worked ${(run.busy * 1000).toFixed(0)}`,
          `peak memory ${(run.rss / 2 ** 20).toFixed(0)} MiB`,
          `files ${files.seconds.toFixed(2)} s (${files.cpu.toFixed(2)} s of cores; read ${files.read.toFixed(2)}, write ${files.write.toFixed(2)})`,
          `ratio ${(run.seconds / files.seconds).toFixed(2)}, of cores ${(run.cpu / files.cpu).toFixed(2)}`,
        ].join(', '),
      );
    }
    const ratio = median(runs.map(({ seconds }) => seconds)) / median(plain.map(({ seconds }) => seconds));
    const delay = Math.max(...runs.map((run) => run.delay));
    const busy = Math.max(...runs.map((run) => run.busy));
    console.log(
      `ratio of the medians ${ratio.toFixed(2)} (asked: at most 1.5), longest event-loop delay ${(delay * 1000).toFixed(0)} ms (asked: 50), ` +
        `longest work of the main thread between two turns ${(busy * 1000).toFixed(0)} ms`,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

void main();
