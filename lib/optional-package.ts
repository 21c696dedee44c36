import { createRequire } from 'node:module';
import { join } from 'node:path';
import { VertexqError } from './errors';

/**
 * A package that users install if they need it: from beside vertexq, or from the program's own folder. Throws `code` with what to
 * install; `purpose` begins the message.
 */
export function optionalPackage(name: string, code: `ERR_VERTEXQ_${string}`, purpose: string): unknown {
  for (const from of [__filename, join(process.cwd(), 'package.json')]) {
    try {
      return createRequire(from)(name);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND')
        throw new VertexqError(code, `${name} could not be loaded: ${(cause as Error).message}`, { cause });
    }
  }
  throw new VertexqError(code, `${purpose} needs ${name}, which is not installed: npm install ${name}`);
}
