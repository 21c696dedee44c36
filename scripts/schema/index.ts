// Writes docs/report.schema.json from the types of reports.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { schemaOf } from './of-type';

const root = join(__dirname, '../..');
const file = join(root, 'docs/report.schema.json');

/** The document as it should be. */
export async function reportSchema(): Promise<string> {
  const { root: schema, definitions } = schemaOf(join(root, 'lib/reports/json-report.ts'), 'JsonReport');
  const whole = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: 'urn:vertexq:report:1',
    title: 'What vertexq quantize --json and --report file.json write',
    description:
      'Written by npm run docs:schema from the types of the package. "schemaVersion" rises when what is here changes its meaning or goes; what is new does not raise it.',
    ...schema,
    definitions,
  };
  return format(JSON.stringify(whole), { ...(await resolveConfig(file)), parser: 'json' });
}

if (require.main === module) void reportSchema().then((text) => writeFileSync(file, text));
