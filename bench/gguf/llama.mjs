// node llama.mjs <node_modules>: for each line of JSON, { file, ids, prompts }, a line with what node-llama-cpp makes of it: { shares: of each place in `ids`
// the logarithms of all next tokens' probabilities, prompts: [{ tokens, text }] }.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [modules] = process.argv.slice(2);
const path = createRequire(join(modules, 'x.js')).resolve('node-llama-cpp');
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(path).href);
const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error, maxThreads: 1 });
/** Tokens that are generated. */
const length = 24;

for await (const line of createInterface({ input: process.stdin })) {
  const { file, ids, prompts } = JSON.parse(line);
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize: 512 });
  const sequence = context.getSequence();
  const wanted = { generateNext: { probabilities: true, options: { temperature: 0 } } };
  const found = await sequence.controlledEvaluate(ids.map((id) => [id, wanted]));
  const shares = found.map(({ next }) => {
    const list = Array.from({ length: next.probabilities.size }, () => 0);
    for (const [token, share] of next.probabilities) list[token] = Math.log(share);
    return list;
  });
  const texts = [];
  for (const prompt of prompts) {
    const tokens = model.tokenize(prompt, true);
    await sequence.clearHistory();
    const made = [];
    const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
    for await (const token of sequence.evaluate([...begin, ...tokens], { temperature: 0 })) {
      made.push(token);
      if (made.length === length) break;
    }
    texts.push({ tokens: [...tokens], text: model.detokenize(made) });
  }
  process.stdout.write(`${JSON.stringify({ shares, prompts: texts })}\n`);
  await context.dispose();
  await model.dispose();
}
await llama.dispose();
