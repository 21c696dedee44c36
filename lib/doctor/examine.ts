import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { binding, addonFile } from '../native/binding';
import { calling, threadsFor } from '../native/jobs';
import { memoryRoom } from '../memory';
import { availableProcessors } from '../processors';
import { runtimeRemedy, runtimeVersion } from '../models/runtime';
import { optionalPackage } from '../optional-package';
import { formatBytes } from '../reports/units';
import { version } from '../version';
import type { Diagnosis, Finding } from './types';

/** The oldest Node that package.json's `engines` allow. */
const oldestNode = [20, 17] as const;

/** Below it, layers of usual size have no room. */
const leastMemory = 2 ** 29;
/** Below it, activations that do not fit in memory have none. */
const leastDisk = 2 ** 30;

/** Looks at all that vertexq needs and can use: what is there, what is missing, and what to do. Never rejects for what it finds. */
export async function examine(): Promise<Diagnosis> {
  const findings = [
    nodeFinding(process.versions.node),
    ...addonFindings(),
    packageFinding(
      'onnxruntime',
      'running networks and fitting language models need it',
      runtimeRemedy,
      () => `onnxruntime-node ${runtimeVersion()}`,
    ),
    packageFinding('sharp', 'calibration on images needs it', 'npm install sharp', () => {
      const { versions } = optionalPackage('sharp', 'ERR_VERTEXQ_RUNTIME', 'Reading images') as {
        versions?: { sharp?: string };
      };
      return `sharp ${versions?.sharp ?? ''}`.trim();
    }),
    packageFinding(
      'tokenizers',
      'calibration on text needs it',
      'Install vertexq anew: it belongs to it.',
      () => {
        optionalPackage('@huggingface/tokenizers', 'ERR_VERTEXQ_RUNTIME', 'Reading text');
        return '@huggingface/tokenizers';
      },
    ),
    memoryFinding(),
    await temporaryFinding(tmpdir()),
  ];
  return {
    vertexq: version,
    platform: `${process.platform}-${process.arch}`,
    ok: findings.every(({ state }) => state !== 'wrong'),
    findings,
  };
}

/** Of Node of a version, as 20.17.0. */
export function nodeFinding(node: string): Finding {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const fits = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1]);
  const state = fits ? 'ok' : 'wrong';
  const remedy = fits ? null : `Install Node ${oldestNode.join('.')} or later.`;
  return { id: 'node', state, says: `Node ${node}`, remedy };
}

function addonFindings(): Finding[] {
  try {
    const { config, core, simd } = calling(() => binding().blasInfo());
    const known = cpus()[0]?.model.trim() ?? 'an unknown processor';
    const slow = simd === 'portable' && process.arch === 'x64';
    return [
      { id: 'addon', state: 'ok', says: addonFile()!, remedy: null },
      {
        id: 'kernels',
        state: 'ok',
        says: `${simd} on ${known}; ${config.split(' ').slice(0, 2).join(' ')}, kernels of ${core}`,
        remedy: slow
          ? 'This processor has no AVX2, or VERTEXQ_SIMD asks for less: fits take several times as long.'
          : null,
      },
      {
        id: 'cpus',
        state: 'ok',
        says: `${threadsFor({})} threads of ${availableProcessors()} processors`,
        remedy: null,
      },
    ];
  } catch (error) {
    // The message says what to do.
    const { message } = error as Error;
    return [{ id: 'addon', state: 'wrong', says: 'not loaded', remedy: message }];
  }
}

/** Of a package that only some tasks need: `look` gives its name and version, and throws where it is not there or does not load. */
export function packageFinding(
  id: Finding['id'],
  purpose: string,
  remedy: string,
  look: () => string,
): Finding {
  try {
    return { id, state: 'ok', says: look(), remedy: null };
  } catch (error) {
    return { id, state: 'missing', says: `${purpose}: ${(error as Error).message}`, remedy };
  }
}

function memoryFinding(): Finding {
  const { bytes, of } = memoryRoom();
  const enough = bytes >= leastMemory;
  return {
    id: 'memory',
    state: enough ? 'ok' : 'wrong',
    says: `${formatBytes(bytes)} ${of}`,
    remedy: enough
      ? null
      : `Networks of usual size need ${formatBytes(leastMemory)}: raise the limit, or end other programs.`,
  };
}

/** Of the folder for temporary files. */
export async function temporaryFinding(folder: string): Promise<Finding> {
  const elsewhere = 'Set TMPDIR to a folder that can be written to.';
  try {
    await access(folder, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const enough = free >= leastDisk;
    return {
      id: 'temporary',
      state: enough ? 'ok' : 'missing',
      says: `${folder}, ${formatBytes(free)} free`,
      remedy: enough ? null : `Large activations are kept there (option "memory"). ${elsewhere}`,
    };
  } catch (error) {
    return { id: 'temporary', state: 'wrong', says: (error as Error).message, remedy: elsewhere };
  }
}
