import { join } from 'node:path';

/** What has a process of Node run TypeScript. */
export const typescript = `--require=${join(__dirname, '..', 'scripts', 'typescript.cjs')}`;
