// tsx scripts/fuzz-containers.ts <safetensors|gguf> [runs] [seed]: mutated files, until the reader does what it must not.
import { fuzzGguf } from '../test/containers/gguf/fuzz';
import { fuzzSafetensors } from '../test/containers/safetensors/fuzz';

const fuzzers = { safetensors: fuzzSafetensors, gguf: fuzzGguf };
const [kind = 'safetensors', ...numbers] = process.argv.slice(2);
const [runs = 1_000_000, first = Date.now() % 1e9] = numbers.map(Number);
const batch = 10_000;

async function main(): Promise<void> {
  const fuzz = fuzzers[kind as keyof typeof fuzzers];
  for (let done = 0, seed = first; done < runs; done += batch, seed++) {
    const accepted = await fuzz(Math.min(batch, runs - done), seed);
    const { rss } = process.memoryUsage();
    console.log(
      `seed ${seed}: ${accepted} valid, ${Math.min(done + batch, runs)} of ${runs}, ${Math.round(rss / 2 ** 20)} MiB resident`,
    );
  }
}

void main();
