// Writes lib/method-table.ts: the addon's table of methods, so that types, checks and help know it without loading the addon.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

const require = createRequire(import.meta.url);
const file = fileURLToPath(new URL('../lib/method-table.ts', import.meta.url));

const { methods } = require('../build/Release/vertexq.node');
const text = `// Written by \`npm run methods\` from the addon's table (native/core/method/methods.cpp): change it there.

/** What is known of each method; native/core/method/methods.h says what a property means. */
export const methodTable = ${JSON.stringify(methods)} as const;
`;
const formatted = await format(text, { ...(await resolveConfig(file)), filepath: file });
if (formatted !== readFileSync(file, { encoding: 'utf8', flag: 'a+' })) writeFileSync(file, formatted);
