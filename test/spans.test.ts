import { SpanStatusCode, trace } from '@opentelemetry/api';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import test from 'ava';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint, quantizeModel, runWorker, submitRun } from '../lib/index';
import { node, tensor } from '../lib/containers/onnx/make';
import { span } from '../lib/spans';
import { version } from '../lib/version';
import { fileOf, tensor as weight } from './checkpoints/make';
import { plannedModel } from './checkpoints/sharded/folders';
import { temporaryFile, temporaryFolder } from './files/temporary-folder';
import { startRedis } from './fleet/redis';
import { files, float, network, random } from './models/networks';

const exporter = new InMemorySpanExporter();
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();

/** The spans of some work, which is one that is active meanwhile. */
async function spansOf(work: () => Promise<unknown>): Promise<{ root: ReadableSpan; all: ReadableSpan[] }> {
  exporter.reset();
  await trace.getTracer('test').startActiveSpan('test', async (own) => {
    await work().finally(() => own.end());
  });
  const all = [...exporter.getFinishedSpans()];
  return { root: all.find(({ name }) => name === 'test')!, all };
}

const parentOf = ({ parentSpanContext }: ReadableSpan) => parentSpanContext?.spanId;
const idOf = (one: ReadableSpan) => one.spanContext().spanId;

const twoLayers = () =>
  network({
    nodes: [node('MatMul', ['x', 'w'], ['h']), node('MatMul', ['h', 'v'], ['y'])],
    constants: [tensor('w', [32, 48], random(32 * 48, 1)), tensor('v', [48, 8], random(48 * 8, 2))],
    inputs: [float('x', ['batch', 32])],
    outputs: [float('y', ['batch', 8])],
  });
const calibration = { x: { data: random(32 * 200, 3), dims: [200, 32], type: 'float32' } };

test.serial(
  'issue 22 item 5: a run is a span within the caller’s, with a capture and a fit for each layer',
  async (t) => {
    const { input, output } = files(t, twoLayers());
    const { root, all } = await spansOf(() => quantizeModel(input, output, { calibration, bits: 3 }));
    const run = all.find(({ name }) => name === 'vertexq.quantize')!;
    t.is(parentOf(run), idOf(root));
    t.is(run.instrumentationScope.name, 'vertexq');
    t.is(run.instrumentationScope.version, version);
    t.like(run.attributes, { 'vertexq.input': input, 'vertexq.output': output, 'vertexq.format': 'matmulnbits', 'vertexq.layers': 2 }); // prettier-ignore
    t.true((run.attributes['vertexq.bytes.after'] as number) > 0);
    const fits = all.filter(({ name }) => name === 'vertexq.fit');
    t.is(fits.length, 2);
    for (const fit of fits) {
      t.is(parentOf(fit), idOf(run));
      t.like(fit.attributes, { 'vertexq.method': 'vertex', 'vertexq.bits': 3, 'vertexq.rows': 180 });
      t.is(fit.status.code, SpanStatusCode.UNSET);
    }
    t.deepEqual(fits.map(({ attributes }) => [attributes['vertexq.outputs'], attributes['vertexq.inputs']]), [[48, 32], [8, 48]]); // prettier-ignore
    t.is(all.filter(({ name }) => name === 'vertexq.capture').length, 2);
  },
);

test.serial('issue 22 item 5: a failure is the status of its spans, with the code', async (t) => {
  const { input, output } = files(t, twoLayers());
  calibration.x.data[32 * 7] = NaN;
  const { all } = await spansOf(() => t.throwsAsync(quantizeModel(input, output, { calibration })));
  calibration.x.data[32 * 7] = 0;
  const run = all.find(({ name }) => name === 'vertexq.quantize')!;
  t.is(run.status.code, SpanStatusCode.ERROR);
  t.regex(run.status.message!, /is NaN/);
  t.is(run.attributes['error.type'], 'ERR_VERTEXQ_NOT_FINITE');
  const other = await spansOf(() =>
    t.throwsAsync(span('own', {}, () => Promise.reject(new RangeError('x')))),
  );
  t.is(other.all.find(({ name }) => name === 'own')!.attributes['error.type'], 'RangeError');
});

test.serial('issue 22 item 5: checkpoints and jobs of a queue are spans too', async (t) => {
  const file = temporaryFile(t, 'in.safetensors', fileOf({ 'a.weight': weight('F32', [32, 64], 1) }));
  const out = join(temporaryFolder(t), 'out.safetensors');
  const { all } = await spansOf(() => quantizeCheckpoint(file, out, { groupSize: 32 }));
  t.like(all.find(({ name }) => name === 'vertexq.quantize')!.attributes, { 'vertexq.output': out, 'vertexq.format': 'compressed-tensors', 'vertexq.layers': 1 }); // prettier-ignore
  const { url: redis } = await startRedis(t);
  const { folder, file: planFile, plan } = await plannedModel(t);
  mkdirSync(join(folder, 'other'));
  await submitRun(planFile, { redis, parts: 1 });
  const { all: done } = await spansOf(() => runWorker({ redis, root: folder, untilEmpty: true, threads: 1 }));
  const jobs = done.filter(({ name }) => name === 'vertexq.job').map(({ attributes }) => attributes);
  t.deepEqual(
    jobs.map((own) => own['vertexq.piece']),
    ['part 0/1', 'finish'],
  );
  for (const own of jobs) t.like(own, { 'vertexq.queue': 'vertexq', 'vertexq.run': plan.id.slice(0, 32) });
});
