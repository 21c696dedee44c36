// What scripts for Node have in common: a job a line, {"file", "feeds": [{"name", "file", "dims", "type"}], "expected"}; the answer is how
// far the first output is from that expected, relative, or the error in words.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

/** A package of the reader's environment. */
export const load = (name) =>
  import(pathToFileURL(createRequire(join(process.env.READER, 'package.json')).resolve(name)).href);

const arrays = { float32: Float32Array, int64: BigInt64Array };

function numbersOf(file, type) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return new arrays[type](buffer.slice(byteOffset, byteOffset + byteLength));
}

/** `attempt` is given the job with the feeds' numbers, and gives the output's. */
export async function answerAll(attempt) {
  for await (const line of createInterface({ input: process.stdin })) {
    let answer;
    try {
      const job = JSON.parse(line);
      const feeds = job.feeds.map((feed) => ({ ...feed, data: numbersOf(feed.file, feed.type) }));
      const output = await attempt({ ...job, feeds });
      const expected = numbersOf(job.expected, 'float32');
      if (output.length !== expected.length) throw new Error(`${output.length} numbers`);
      let [error, signal] = [0, 0];
      expected.forEach((value, i) => {
        error += (output[i] - value) ** 2;
        signal += value ** 2;
      });
      answer = { error: Math.sqrt(error / signal) };
    } catch (error) {
      answer = { failure: String(error?.message ?? error) };
    }
    process.stdout.write(`${JSON.stringify({ answer })}\n`);
  }
}
