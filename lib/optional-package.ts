import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute, join } from 'node:path';
import type { VertexqErrorCode } from './error-codes';
import { VertexqError } from './errors';

/** Names a folder whose packages are used before those beside vertexq. */
const variable = 'VERTEXQ_MODULES';

/**
 * A package that users install if they need it: from beside vertexq, or from the folder that VERTEXQ_MODULES names; never from the
 * working folder, which may be anyone's. Throws `code` with what to install; `purpose` begins the message. `install`: what npm is told to.
 */
export function optionalPackage(
  name: string,
  code: VertexqErrorCode,
  purpose: string,
  install = name,
): unknown {
  const given = process.env[variable];
  if (given && !isAbsolute(given))
    throw new VertexqError(
      code,
      `The environment variable ${variable} is ${given}: expected the whole path of a folder that holds node_modules`,
    );
  for (const from of [...(given ? [join(given, 'package.json')] : []), __filename]) {
    const require = createRequire(from);
    const path = pathOf(require, name);
    if (path === null) continue;
    try {
      return require(path);
    } catch (cause) {
      throw new VertexqError(code, `${name} could not be loaded from ${path}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }
  throw new VertexqError(
    code,
    `${purpose} needs ${name}, which is not installed beside vertexq: npm install ${install} there (with -g for a global vertexq), ` +
      `or set ${variable} to the whole path of a folder that has it in node_modules`,
  );
}

/** Where a package would be loaded from; null where it is not, or only through a folder of NODE_PATH that is relative to the working folder. */
function pathOf(require: NodeJS.Require, name: string): string | null {
  const folder = require.resolve.paths(name)?.find((place) => existsSync(join(place, name)));
  if (folder !== undefined && !isAbsolute(folder)) return null;
  try {
    return require.resolve(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return null;
    throw error;
  }
}
