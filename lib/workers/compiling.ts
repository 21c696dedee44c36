import { join } from 'node:path';

/** From sources: what has Node compile them. */
export const compiling = `--require=${join(__dirname, '..', '..', 'scripts', 'typescript.cjs')}`;
