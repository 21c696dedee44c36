// Writes docs/errors.md from the table of errors.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { errorCodes, exitCodes } from '../lib/error-codes';

const file = join(__dirname, '../docs/errors.md');

/** The document as it should be. */
export async function errorsPage(): Promise<string> {
  const parts = Object.entries(errorCodes).map(
    ([code, { exit, cause, remedy }]) =>
      `## ${code}\n\n${cause}\n\n**What to do:** ${remedy}\n\nExit code ${exitCodes[exit]}.`,
  );
  const text = `# Errors

Wrong arguments and options are a TypeError or a RangeError (exit code ${exitCodes.usage}). Everything else is a \`VertexqError\`, whose \`code\` is one of these (the type
\`VertexqErrorCode\`). Codes are stable. The message names the file, tensor, layer or option, what was expected and what came. Written by \`npm run docs:errors\` from
\`lib/error-codes.ts\`; \`vertexq explain <code>\` says the same.

| exit code | when                                                     |
| --------- | -------------------------------------------------------- |
| 0         | done                                                     |
| 1         | failed                                                   |
| 2         | wrong usage                                              |
| 3         | input damaged or not understood                          |
| 4         | something is where the output goes, or another run's     |
| 5         | nothing to quantize                                      |
| 6         | out of memory, disk or time                              |
| 130       | interrupted by Ctrl-C (SIGTERM 143, SIGHUP 129)          |

${parts.join('\n\n')}
`;
  return format(text, { ...(await resolveConfig(file)), filepath: file });
}

if (require.main === module) void errorsPage().then((text) => writeFileSync(file, text));
