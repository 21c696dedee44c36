import type { Command } from 'commander';
import { VertexqError } from '../errors';
import { diagnosisTable } from '../reports/diagnosis';
import { type Context, showResult } from './context';

const details = `
  ok        is there
  missing   only some tasks need it
  wrong     nothing runs without it: exit code 1

Examples:
  $ vertexq doctor
  $ vertexq doctor --json | jq -r '.findings[] | select(.state != "ok") | .remedy'
`;

/** Adds `vertexq doctor`. */
export function addDoctor(program: Command, context: Context): void {
  program
    .command('doctor')
    .summary('say what vertexq finds here, what is missing, and what to do')
    .description(
      'Says what there is of all that vertexq needs and can use: Node, the native addon and its kernels, onnxruntime, memory, temporary space.',
    )
    .option('--json', 'write all findings to stdout')
    .addHelpText('after', details)
    .action((flags: { json?: boolean }) => doctor(flags.json === true, context));
}

async function doctor(json: boolean, context: Context): Promise<void> {
  const diagnosis = await context.examine();
  showResult(context, diagnosis, (look) => diagnosisTable(diagnosis, look), { json, quiet: json });
  const wrong = diagnosis.findings.filter(({ state }) => state === 'wrong').map(({ id }) => id);
  if (wrong.length > 0)
    throw new VertexqError('ERR_VERTEXQ_DOCTOR', `vertexq cannot work here: ${wrong.join(', ')}`);
}
