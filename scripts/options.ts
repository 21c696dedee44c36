// Writes docs/options.md from the table of options.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { flagOf } from '../lib/cli/flags';
import type { Option } from '../lib/options/kinds';
import { type Call, calls } from '../lib/options/table';

const file = join(__dirname, '../docs/options.md');

const titles: Record<Call, string> = {
  quantizeLayer: '`quantizeLayer`',
  preprocess: '`preprocess`',
  quantizeModel: '`quantizeModel`, `vertexq quantize` of an ONNX model',
  quantizeCheckpoint: '`quantizeCheckpoint`, `vertexq quantize` of a checkpoint',
  sensitivityOfModel: '`measureSensitivity`, `vertexq sensitivity` of an ONNX model',
  sensitivityOfCheckpoint: '`measureSensitivity`, `vertexq sensitivity` of a checkpoint',
  compareLayer: '`compareMethods` of a layer',
  compareModel: '`compareMethods` of a model, `vertexq compare`',
  evaluateModel: '`evaluateModel`, `vertexq eval`',
  evaluateCheckpoint: '`evaluateCheckpoint`, `vertexq eval` of checkpoints',
  writeCalibrationSet: '`writeCalibrationSet`, `vertexq calibrate`',
  tuneCheckpoint: '`tuneCheckpoint`, `vertexq tune`',
  verifyCheckpoint: '`verifyCheckpoint`, `vertexq verify` of checkpoints',
  verifyModel: '`verifyModel`, `vertexq verify` of networks',
  runShard: '`runShard`, `vertexq work`',
  finishRun: '`finishRun`, `vertexq finish`',
  submitRun: '`submitRun`, `vertexq submit`',
  runWorker: '`runWorker`, `vertexq worker`',
  runStatus: '`runStatus`, `vertexq status`',
  serveFleet: '`serveFleet`, `vertexq serve`',
  cancelRun: '`cancelRun`, `vertexq cancel`',
};
const withoutCommand: readonly Call[] = ['quantizeLayer', 'preprocess', 'compareLayer'];

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '\\<');

function rowsOf(options: Readonly<Record<string, Option>>, hasFlags: boolean, prefix = ''): string[] {
  return Object.entries(options).flatMap(([name, { kind, help }]) => {
    const path = `${prefix}${name}`;
    // A flag that both kinds of input have is described with those of the other.
    const flag =
      hasFlags && help !== undefined
        ? `\`${flagOf(path.replace(/\.(.)/, (_, letter: string) => letter.toUpperCase()))}\``
        : '';
    const row = `| \`${path}\` | ${cell(kind.what)} | ${flag} | ${cell((help ?? '').replace(/,? ?\(?see below\)?/, ''))} |`;
    return [row, ...rowsOf(kind.within ?? {}, hasFlags, `${path}.`)];
  });
}

/** The document as it should be. */
export async function optionsTables(): Promise<string> {
  const tables = Object.entries(titles).map(([call, title]) => {
    const rows = rowsOf(calls[call as Call], !withoutCommand.includes(call as Call));
    return [
      `## ${title}`,
      '',
      '| option | values | flag | what it does |',
      '| --- | --- | --- | --- |',
      ...rows,
    ].join('\n');
  });
  const text = `# Options

All options of all calls, with the flags of the command line. Written by \`npm run docs:options\` from \`lib/options/table.ts\`. A file of
options (\`--config\`) takes those of \`quantizeModel\` or \`quantizeCheckpoint\` by the names they have there.

Wrong options are a TypeError or a RangeError, whose \`paths\` name the options that it is about, such as \`overrides[1].bits\` (the type \`OptionError\`).

${tables.join('\n\n')}
`;
  return format(text, { ...(await resolveConfig(file)), filepath: file });
}

if (require.main === module) void optionsTables().then((text) => writeFileSync(file, text));
