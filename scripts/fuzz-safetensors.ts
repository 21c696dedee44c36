// tsx scripts/fuzz-safetensors.ts [runs] [seed]: mutated safetensors files, until the reader does what it must not.
import { fuzzSafetensors } from '../test/containers/safetensors/fuzz';

const [runs = 1_000_000, first = Date.now() % 1e9] = process.argv.slice(2).map(Number);
const batch = 50_000;

async function main(): Promise<void> {
  for (let done = 0, seed = first; done < runs; done += batch, seed++) {
    const accepted = await fuzzSafetensors(Math.min(batch, runs - done), seed);
    console.log(`seed ${seed}: ${accepted} valid, ${Math.min(done + batch, runs)} of ${runs}`);
  }
}

void main();
