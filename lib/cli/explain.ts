import type { Command } from 'commander';
import { errorCodes, exitCodes, isErrorCode, type VertexqErrorCode } from '../error-codes';
import { visible } from '../reports/text';
import { isWarningCode, warningCodes, type VertexqWarningCode } from '../warning-codes';
import type { Context } from './context';

/** Adds `vertexq explain`. */
export function addExplain(program: Command, { stdout }: Context): void {
  program
    .command('explain')
    .summary('say what the code of an error or a warning means, and what to do')
    .description(
      'Says what an error or a warning means by its code, and what to do. Without one all of them.',
    )
    .argument('[code]', 'as ERR_VERTEXQ_FILE')
    .action((code: string | undefined) => {
      if (code === undefined) stdout.write(`${codes.map(explained).join('\n\n')}\n`);
      else stdout.write(`${explained(known(code))}\n`);
    });
}

type Code = VertexqErrorCode | VertexqWarningCode;

const codes = [...Object.keys(errorCodes), ...Object.keys(warningCodes)] as Code[];

function known(given: string): Code {
  const code = given.toUpperCase();
  for (const whole of [code, `ERR_VERTEXQ_${code}`, `WARN_VERTEXQ_${code}`])
    if (isErrorCode(whole) || isWarningCode(whole)) return whole;
  throw new RangeError(
    `There is no error and no warning ${visible(given)}: "vertexq explain" lists all of them`,
  );
}

function explained(code: Code): string {
  const [{ cause, remedy }, exit] = isErrorCode(code)
    ? [errorCodes[code], `exit code ${exitCodes[errorCodes[code].exit]}`]
    : [warningCodes[code], `warning; exit code ${exitCodes.failed} with --strict`];
  return `${code} (${exit})\n  ${cause}\n  ${remedy}`;
}
