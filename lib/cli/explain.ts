import type { Command } from 'commander';
import { errorCodes, exitCodes, isErrorCode, type VertexqErrorCode } from '../error-codes';
import { visible } from '../reports/text';
import type { Context } from './context';

/** Adds `vertexq explain`. */
export function addExplain(program: Command, { stdout }: Context): void {
  program
    .command('explain')
    .summary('say what the code of an error means, and what to do')
    .description('Says what an error means by its code, and what to do. Without one all of them.')
    .argument('[code]', 'as ERR_VERTEXQ_FILE')
    .action((code: string | undefined) => {
      if (code === undefined) stdout.write(`${codes.map(explained).join('\n\n')}\n`);
      else stdout.write(`${explained(known(code))}\n`);
    });
}

const codes = Object.keys(errorCodes) as VertexqErrorCode[];

function known(given: string): VertexqErrorCode {
  const code = given.toUpperCase();
  const whole = code.startsWith('ERR_VERTEXQ_') ? code : `ERR_VERTEXQ_${code}`;
  if (isErrorCode(whole)) return whole;
  throw new RangeError(`There is no error ${visible(given)}: "vertexq explain" lists all of them`);
}

function explained(code: VertexqErrorCode): string {
  const { exit, cause, remedy } = errorCodes[code];
  return `${code} (exit code ${exitCodes[exit]})\n  ${cause}\n  ${remedy}`;
}
