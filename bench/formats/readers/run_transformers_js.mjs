// Runs networks in transformers.js, as a model of a folder: its own way to name, load and feed a file.
import { copyFileSync, mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { answerAll, load } from './jobs.mjs';

const { AutoModel, Tensor, env } = await load('@huggingface/transformers');
env.allowRemoteModels = false;

await answerAll(async ({ file, feeds }) => {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-reader-'));
  try {
    mkdirSync(join(folder, 'onnx'));
    copyFileSync(file, join(folder, 'onnx', 'model.onnx'));
    writeFileSync(join(folder, 'config.json'), '{"model_type":"bert","architectures":["BertModel"]}');
    env.localModelPath = dirname(folder);
    const model = await AutoModel.from_pretrained(basename(folder), {
      dtype: 'fp32',
      local_files_only: true,
      // Products in float32, as in the reference.
      session_options: { logSeverityLevel: 4, extra: { session: { qdq_matmulnbits_accuracy_level: '1' } } },
    });
    try {
      const tensors = Object.fromEntries(
        feeds.map(({ name, type, data, dims }) => [name, new Tensor(type, data, dims)]),
      );
      const answer = await model(tensors);
      return Object.values(answer)[0].data;
    } finally {
      await model.dispose();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
