import { join } from 'node:path';

/** A network that the repository has. */
export const fixture = (name: string): string => join(__dirname, '..', '..', 'test', 'fixtures', name);
