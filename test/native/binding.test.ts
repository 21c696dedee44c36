import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { quantizeLayer } from '../../lib/index';
import { LayerRows } from '../../lib/fit/layer-rows';

const addon = join(__dirname, '../../build/Release/vertexq.node');

/** Runs `body` with the addon itself in a process of its own. What it prints, and that it ends of itself. */
function direct(t: ExecutionContext, body: string): string {
  const script = `
    const a = require(${JSON.stringify(addon)});
    const rows = { rows: 32, cols: 8, groupSize: 8, threads: 1, order: 'input-major', bits: 4, outType: 'F32', outFeatures: 32, firstRow: 0,
      zeroShift: 0, grid: 'integer', levels: 15, scale: 'max', type: 'F32',
      input: new Float32Array(256).fill(0.5), codes: new Uint8Array(128), scales: new Float32Array(32), zeroPoints: null };
    const layer = { weight: new Float32Array(8).fill(1), outFeatures: 1, inFeatures: 8, calibration: null, holdout: null,
      grid: 'integer', levels: 15, groupSize: 8, box: 'cell', rank: 'auto', rankLimit: 0, threads: 1,
      method: 'msq', scale: 'max', damping: -1, passes: -1 };
    const told = async (call) => {
      try { await (await call())?.promise; return 'done'; } catch (e) { return e.code ?? e.name; }
    };
    (async () => { ${body} })();`;
  const done = spawnSync(process.execPath, ['--expose-gc', '-e', script], {
    encoding: 'utf8',
    timeout: 120_000,
  });
  t.is(done.signal, null, done.stderr);
  t.is(done.status, 0, done.stderr);
  return done.stdout.trim();
}

test('trust 27: sizes up to 2^31 − 1 are refused or fail, whatever their products', (t) => {
  const most = 2 ** 31 - 1;
  t.is(
    direct(
      t,
      `const huge = { ...rows, rows: ${most}, cols: ${most}, outFeatures: ${most}, groupSize: 1, outType: 'F64', type: 'F64' };
      for (const order of ['values', 'input-major', 'neuron-major']) console.log(await told(() => a.roundRows({ ...huge, order, bits: 8 })));
      console.log(await told(() => a.packRows({ ...huge, order: 'values', stepValues: new Float32Array(1), input: new Int8Array(1) })));
      console.log(await told(() => a.quantize({ ...layer, outFeatures: ${most}, inFeatures: ${most} })));
      console.log(await told(() => new a.LayerRows(${most}, 'gram', ${most})));
      console.log(await told(() => new a.LayerRows(8.5, 'gram')));
      for (const kind of ['rows', 'gram', 'pairs']) {
        const c = new a.LayerRows(${most}, kind);
        console.log(await told(() => c.setGram(new Float64Array(1), new Float64Array(1))));
        console.log(kind === 'rows' ? 'ERR_VERTEXQ_MEMORY' : await told(() => a.quantize({ ...layer, calibration: c, inFeatures: ${most}, outFeatures: 1 })));
      }
      const c = new a.LayerRows(${most}, 'pairs');
      console.log(await told(() => c.add(new Float32Array(0), new Float32Array(0))));`,
    ),
    [
      ...Array<string>(7).fill('TypeError'),
      ...['TypeError', 'ERR_VERTEXQ_MEMORY', 'TypeError', 'TypeError', 'TypeError', 'TypeError'],
      'ERR_VERTEXQ_MEMORY',
    ].join('\n'),
  );
});

test('trust 27: getters that answer otherwise, shrink or transfer what was given before', (t) => {
  t.is(
    direct(
      t,
      `let asked = 0;
      console.log(await told(() => a.roundRows({ ...rows, get codes() { return asked++ ? new Uint8Array(1) : new Uint8Array(128); } })), asked);
      const input = new Float32Array(256);
      console.log(await told(() => a.roundRows({ ...rows, get input() { structuredClone(rows.codes, { transfer: [rows.codes.buffer] }); return input; } })));
      const codes = new Uint8Array(128), elastic = new Float32Array(new ArrayBuffer(1024, { maxByteLength: 4096 }));
      console.log(await told(() => a.roundRows({ ...rows, codes, input: elastic })));
      console.log(await told(() => a.packRows({ ...rows, codes, input: new Int8Array(256), get stepValues() { codes.buffer.transfer?.() ?? structuredClone(codes, { transfer: [codes.buffer] }); return new Float32Array(32); } })));
      const types = { codes: new DataView(new ArrayBuffer(128)), scales: new SharedArrayBuffer(128), input: {}, threads: 1n, grid: Symbol() };
      for (const [name, value] of Object.entries(types)) console.log(await told(() => a.roundRows({ ...rows, codes: new Uint8Array(128), [name]: value })));
      console.log(await told(() => a.dequantize({ input: new Int8Array(2), stepValues: new Float32Array(1), rows: 1, cols: 2, groupSize: 2, threads: 1, output: new Uint8Array(16).subarray(1, 9) })));`,
    ),
    ['done 1', 'TypeError', 'done', ...Array<string>(7).fill('TypeError')].join('\n'),
  );
});

test('trust 27: memory that is transferred, shrunk or grown away in the middle of a job', (t) => {
  // Large enough that the job has hardly begun when its memory goes, and that the system gets that memory back at once.
  const lines = direct(
    t,
    `const [n, m] = [512, 8192];
    const elastic = (bytes) => new ArrayBuffer(bytes, { maxByteLength: bytes });
    const grown = (bytes) => new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536), maximum: 65536 });
    const buffers = { plain: (bytes) => new ArrayBuffer(bytes), elastic, memory: (bytes) => memories[memories.push(grown(bytes)) - 1].buffer };
    let memories = [];
    const give = (buffer) => structuredClone(buffer, { transfer: [buffer] });
    const post = (buffer) => { const { port1, port2 } = new MessageChannel(); port1.postMessage(buffer, [buffer]); port1.close(); port2.close(); };
    const ways = [['plain', give], ['plain', post], ['plain', (b) => b.transfer ? void b.transfer(0) : give(b)], ['elastic', (b) => b.resize(0)],
      ['elastic', give], ['memory', (b) => memories.find((w) => w.buffer === b).grow(1)]];
    const coded = { rows: n, cols: m, groupSize: 64, threads: 2 };
    const entries = {
      roundRows: [{ ...rows, format: 'compressed-tensors', rows: n, cols: m, outFeatures: n, groupSize: 64, scale: 'search' },
        { input: [Float32Array, n * m] }, { codes: [Uint8Array, n * m / 2], scales: [Uint8Array, n * m / 16] }],
      packRows: [{ ...rows, format: 'compressed-tensors', rows: n, cols: m, outFeatures: n, groupSize: 64 },
        { input: [Int8Array, n * m], stepValues: [Float32Array, n * m / 64] }, { codes: [Uint8Array, n * m / 2], scales: [Uint8Array, n * m / 16] }],
      convert: [{ from: 'BF16', to: 'F32', count: n * m, threads: 2 }, { input: [Uint8Array, 2 * n * m] }, { output: [Float32Array, n * m] }],
      permute: [{ elementSize: 4, dims: [n, m], order: [1, 0], first: 0, last: 2 ** 30, threads: 2 }, { input: [Float32Array, n * m] }, { output: [Float32Array, n * m] }],
      packBlocks: [{ ...coded, blockSize: 64, bits: 4, offset: 8, doubled: 0 }, { input: [Int8Array, n * m], stepValues: [Float32Array, n * m / 64] },
        { codes: [Uint8Array, n * m / 2], scales: [Float32Array, n * m / 64] }],
      checksum: [{}, { input: [Uint8Array, 16 * n * m] }, {}],
    };
    const filled = (array) => { for (let i = 0; i < array.length; i += 7) array[i] = i % 6; return array; };
    const hash = (...arrays) => { const h = require('crypto').createHash('sha1'); for (const a of arrays) h.update(Buffer.from(a.slice().buffer)); return h.digest('hex'); };
    async function run(name, make, take, side) {
      const [options, inputs, outputs] = entries[name];
      const arrays = (of) => Object.fromEntries(Object.entries(of).map(([key, [Type, length]]) => [key, filled(new Type(make(length * Type.BYTES_PER_ELEMENT), 0, length))]));
      const [given, room] = [arrays(inputs), arrays(outputs)];
      const { promise } = a[name]({ ...options, ...given, ...room });
      for (const array of Object.values(side === 'inputs' ? given : side === 'outputs' ? room : {})) take(array.buffer);
      gc();
      const others = Array.from({ length: 8 }, () => new Uint8Array(2 ** 22).fill(255));
      const result = await promise.then((value) => JSON.stringify(value ?? null), (error) => error.name);
      memories = [];
      return result + (side === 'outputs' ? '' : hash(...Object.values(room))) + others.length;
    }
    for (const name of Object.keys(entries)) {
      const right = await run(name, buffers.plain);
      for (const [kind, take] of ways) {
        console.log(name, kind, 'inputs', await run(name, buffers[kind], take, 'inputs') === right);
        if (name !== 'checksum') console.log(name, kind, 'outputs', await run(name, buffers[kind], take, 'outputs'));
      }
      const shared = await run(name, (bytes) => new SharedArrayBuffer(bytes),
        (b) => { try { give(b); } catch { return; } throw new Error('shared memory went'); }, 'inputs');
      console.log(name, 'shared', shared === right);
    }`,
  ).split('\n');
  t.is(lines.length, 6 * 7 + 5 * 6);
  for (const line of lines) t.regex(line, /(shared|inputs) true$|outputs TypeError8$/, line);
});

test('trust 16, 27: weights that do not lie within what was given, and memory that is taken away meanwhile', (t) => {
  t.is(
    direct(
      t,
      `const many = { type: 'F32', grid: 'integer', levels: 15, scale: 'max', threads: 1, order: 'neuron-major', bits: 4, outType: 'F32',
        zeroShift: 0, input: new Float32Array(64).fill(0.5), output: new Uint8Array(64) };
      // Rows, columns, groups, and where the input, codes, scales and zero points begin.
      const good = [4, 8, 8, 128, 0, 16, -1];
      const at = (...places) => told(() => a.roundMany({ ...many, output: new Uint8Array(64), places: Float64Array.from(places.flat()) }));
      console.log(await at(good), await at(good, good, [8, 8, 4, 0, 0, 0, -1]), await at());
      const most = 2 ** 31 - 1;
      const values = [[NaN, 0, -1, 5, most, 2 ** 53, Infinity], [NaN, 0, -1, 9, most, 2 ** 64], [NaN, 0, -1, 9, Infinity], [NaN, -1, 129, 2 ** 64, Infinity],
        [NaN, -1, 49, 2 ** 64, Infinity], [NaN, -1, 49, 2 ** 64], [61, 2 ** 64, Infinity]];
      for (const [i, list] of values.entries())
        for (const value of list)
          console.log(await at(good, good.map((old, j) => (i === j ? value : old))));
      for (const order of ['input-major', 'values'])
        console.log(await told(() => a.roundMany({ ...many, order, places: Float64Array.from([4, 8, 8, 128, 33, 0, 0]) })));
      const take = (array) => structuredClone(array, { transfer: [array.buffer] });
      for (const name of ['input', 'output', 'places']) {
        const given = { ...many, input: new Float32Array(64), output: new Uint8Array(64), places: Float64Array.from(good) };
        console.log(await told(() => a.roundMany({ ...given, get places() { take(given[name]); return given.places; } })));
        console.log(await told(() => a.roundMany({ ...given, places: Float64Array.from(good), [name]: new SharedArrayBuffer(512) })));
        console.log(await told(() => a.roundMany({ ...given, places: Float64Array.from(good), [name]: undefined })));
      }
      const elastic = new Uint8Array(new ArrayBuffer(64, { maxByteLength: 128 }));
      console.log(await told(() => a.roundMany({ ...many, output: elastic, places: Float64Array.from(good) })));
      // Whoever changes the places later changes nothing.
      const output = new Uint8Array(64), places = Float64Array.from(good);
      const job = a.roundMany({ ...many, output, places });
      places.fill(2 ** 40);
      console.log((await job.promise)[1], output[31] !== 0, output.subarray(32).every((byte) => byte === 0));`,
    )
      .split('\n')
      .map((line) => line.replaceAll(/^(Type|Range)Error$/g, 'refused'))
      .join('\n'),
    ['done done done', ...Array<string>(35 + 2 + 9).fill('refused'), 'done', '8 true true'].join('\n'),
  );
});

// A guard: 0.1.0 passes it.
test('trust 27: objects that only look like a LayerRows, and its methods on others', (t) => {
  t.is(
    direct(
      t,
      `const fake = Object.create(a.LayerRows.prototype);
      console.log(await told(() => a.quantize({ ...layer, calibration: fake })));
      Object.defineProperty(a.LayerRows, Symbol.hasInstance, { value: () => true });
      console.log(await told(() => a.quantize({ ...layer, calibration: {} })));
      for (const of of [undefined, 7, {}, fake, new Proxy(new a.LayerRows(8, 'rows'), {})])
        console.log(await told(() => a.LayerRows.prototype.add.call(of, new Float32Array(8))));
      console.log(await told(() => a.LayerRows(8, 'rows')));`,
    )
      .split('\n')
      .map((name) => /^(TypeError|Error|napi_\w+|ERR_\w+)$/.test(name))
      .join(),
    Array(8).fill(true).join(),
  );
});

/** Until native threads are free again: how long a small job takes. */
async function smallJob(): Promise<number> {
  const from = performance.now();
  const weight = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
  await quantizeLayer({ weight, outFeatures: 1, inFeatures: 64 });
  return performance.now() - from;
}

test('trust 20: a recorded Gram matrix is let go of within a second of an abort', async (t) => {
  const n = 3000;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) gram[i * n + j] = gram[j * n + i] = i === j ? 3 : 1 / (1 + i - j);
  const data = LayerRows.of(n, 'gram');
  const job = data.native.setGram(gram);
  const from = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const aborted = performance.now();
  job.cancel();
  const error = await job.promise.catch((reason: unknown) => reason as { code: string });
  // The promise of the addon itself is settled when its threads have ended.
  if (error) t.is(error.code, 'ERR_VERTEXQ_CANCELLED');
  t.true(performance.now() - aborted < 1500, `${performance.now() - from} ms`);
});

test('trust 31: a convolution of 2^31 images, cancelled, answers within a second', async (t) => {
  for (const [shape, pads] of [
    [
      [2 ** 31 - 1, 1, 0],
      [3, 0],
    ],
    [
      [2 ** 31 - 1, 1, 0, 0],
      [2, 2, 0, 0],
    ],
  ] as const) {
    const kernel = shape.slice(2).map(() => 1);
    for (const kind of ['gram', 'rows'] as const) {
      const ones = kernel.map(() => 1);
      const job = LayerRows.of(1, kind).native.addPatches({
        ...{ values: new Float32Array(0), shape, kernel, strides: ones, dilations: ones, pads },
      });
      await new Promise((resolve) => setTimeout(resolve, 200));
      const from = performance.now();
      job.cancel();
      // Rows of nothing but padding need not be gone through: it may be done.
      await job.promise.catch((error: Error & { code: string }) => t.is(error.code, 'ERR_VERTEXQ_CANCELLED'));
      t.true(performance.now() - from < 1000);
    }
  }
  t.true((await smallJob()) < 5000);
});
