// Writes docs/errors.md from the tables of errors and warnings.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { errorCodes, exitCodes } from '../lib/error-codes';
import { warningCodes } from '../lib/warning-codes';

const file = join(__dirname, '../docs/errors.md');

/** The document as it should be. */
export async function errorsPage(): Promise<string> {
  const parts = Object.entries(errorCodes).map(
    ([code, { exit, cause, remedy }]) =>
      `## ${code}\n\n${cause}\n\n**What to do:** ${remedy}\n\nExit code ${exitCodes[exit]}.`,
  );
  const warnings = Object.entries(warningCodes).map(
    ([code, { cause, remedy }]) => `### ${code}\n\n${cause}\n\n**What to do:** ${remedy}`,
  );
  const text = `# Errors and warnings

Wrong arguments and options are a TypeError or a RangeError (exit code ${exitCodes.usage}). Everything else is a \`VertexqError\`, whose \`code\` is one of these (the type
\`VertexqErrorCode\`). Codes are stable. The message names the file, tensor, layer or option, what was expected and what came. Written by \`npm run docs:errors\` from
\`lib/error-codes.ts\` and \`lib/warning-codes.ts\`; \`vertexq explain <code>\` says the same.

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

## Warnings

A run that goes well may still have something to say. Every warning ends with its code in brackets, such as \`[WARN_VERTEXQ_FEW_ROWS]\` (the type
\`VertexqWarningCode\`): on the terminal, in the \`warnings\` of reports, in JSON and on the page. Codes are stable, sentences are not: a script looks for the
code.

\`\`\`sh
npx vertexq quantize model.onnx -o model.int4.onnx --calibration samples.npz --json | jq '.layers[].warnings[] | capture("\\\\[(?<code>WARN_\\\\w+)\\\\]$").code'
\`\`\`

With \`--strict\` (\`quantize\`, \`compare\`, \`eval\`, \`sensitivity\`) a command that has warnings fails with ERR_VERTEXQ_STRICT and exit code ${exitCodes[errorCodes.ERR_VERTEXQ_STRICT.exit]},
after all is written. \`--quiet\` leaves warnings on stderr.

${warnings.join('\n\n')}
`;
  return format(text, { ...(await resolveConfig(file)), filepath: file });
}

if (require.main === module) void errorsPage().then((text) => writeFileSync(file, text));
