import { isAbsolute } from 'node:path';
import { VertexqError } from '../../errors';
import { InputFile } from '../../files/input-file';
import { describe } from '../../options/messages';
import { isObject } from '../../realms';
import { version } from '../../version';
import { plannedOptions } from './plan-file';
import type { PlanFile } from './types';

/** Larger than the plan of any checkpoint: 500 bytes a unit, and a unit is of 16 MB. */
const maxBytes = 2 ** 28;

/** What a plan that was read is called in messages, and the plan, of which no more is known than that it is of this version and what paths and options there are. */
export interface ReadPlan {
  called: string;
  plan: PlanFile;
}

/** ERR_VERTEXQ_PLAN. */
export const unfit = (called: string, why: string, cause?: unknown): VertexqError =>
  new VertexqError('ERR_VERTEXQ_PLAN', `${called}: ${why}`, { cause });

/** The bytes of a plan file. Rejects with ERR_VERTEXQ_FILE; ERR_VERTEXQ_PLAN where it is larger than any plan. */
export const planBytes = (path: string): Promise<Uint8Array> =>
  InputFile.with(path, (file) => {
    if (file.size > maxBytes) throw unfit(path, `it has ${file.size} bytes, expected ${maxBytes} at most`);
    return file.read(0, file.size);
  });

/** What the bytes of a plan file say. Throws ERR_VERTEXQ_PLAN where they are no plan of this version. */
export function parsePlan(called: string, bytes: Uint8Array): PlanFile {
  try {
    return checked(called, JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))).plan;
  } catch (cause) {
    if (cause instanceof VertexqError) throw cause;
    throw unfit(called, `it is no plan file, as it is no JSON: ${(cause as Error).message}`, cause);
  }
}

/** A plan, or one that was written to a file. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_PLAN where it is none of this version; with a TypeError. */
export async function readPlan(given: string | PlanFile): Promise<ReadPlan> {
  if (typeof given !== 'string') {
    if (typeof given !== 'object' || given === null)
      throw new TypeError(
        `Expected the plan to be the path of a plan file, or a PlanFile, not ${describe(given)}`,
      );
    return checked('The plan', given);
  }
  return { called: given, plan: parsePlan(given, await planBytes(given)) };
}

function checked(called: string, found: unknown): ReadPlan {
  const need = (fits: boolean, where: string, expected: string, value: unknown) => {
    if (!fits) throw unfit(called, `expected ${where} to be ${expected}, not ${describe(value)}`);
  };
  const isText = (value: unknown) => typeof value === 'string' && value !== '';
  if (!isObject(found)) throw unfit(called, `expected an object, not ${describe(found)}`);
  need(found['schemaVersion'] === 1, '"schemaVersion"', '1', found['schemaVersion']);
  need(isText(found['vertexq']), '"vertexq"', 'a version', found['vertexq']);
  if (found['vertexq'] !== version)
    throw unfit(
      called,
      `it was made by vertexq ${describe(found['vertexq'])}, and this is ${version}: versions may cut the work otherwise. Use one on all machines`,
    );
  need(/^[0-9a-f]{64}$/.test(String(found['id'])), '"id"', '64 hexadecimal digits', found['id']);
  for (const name of ['input', 'output']) {
    const path = found[name];
    const fits = typeof path === 'string' && isAbsolute(path) && !path.includes('\0');
    need(fits, `"${name}"`, 'an absolute path', path);
  }
  need(isText(found['format']), '"format"', 'a text', found['format']);
  for (const name of ['options', 'kernels'])
    need(isObject(found[name]), `"${name}"`, 'an object', found[name]);
  for (const name of ['blas', 'simd']) {
    const value = (found['kernels'] as Record<string, unknown>)[name];
    need(isText(value), `"kernels.${name}"`, 'a text', value);
  }
  for (const name of ['inputs', 'files', 'units']) {
    const list = found[name];
    need(Array.isArray(list) && list.every(isObject), `"${name}"`, 'a list of objects', list);
  }
  const odd = Object.keys(found['options'] as object).find((name) => !plannedOptions.includes(name));
  if (odd !== undefined) throw unfit(called, `no plan has the option ${describe(odd)}`);
  return { called, plan: found as unknown as PlanFile };
}
