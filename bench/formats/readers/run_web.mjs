// Runs networks in onnxruntime-web: WebAssembly, in Node.
import { readFileSync } from 'node:fs';
import { answerAll, load } from './jobs.mjs';

const ort = await load('onnxruntime-web');
ort.env.logLevel = 'fatal';
ort.env.wasm.numThreads = 1;

await answerAll(async ({ file, feeds }) => {
  const session = await ort.InferenceSession.create(readFileSync(file), {
    executionProviders: ['wasm'],
    logSeverityLevel: 4,
    // Products in float32, as in the reference.
    extra: { session: { qdq_matmulnbits_accuracy_level: '1' } },
  });
  try {
    const tensors = Object.fromEntries(
      feeds.map(({ name, type, data, dims }) => [name, new ort.Tensor(type, data, dims)]),
    );
    const answer = await session.run(tensors);
    return answer[session.outputNames[0]].data;
  } finally {
    await session.release();
  }
});
