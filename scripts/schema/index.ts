// Writes the schemas of docs/ from the types of what they are of.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { schemaOf } from './of-type';

const root = join(__dirname, '../..');

const later =
  '"schemaVersion" rises when what is here changes its meaning or goes; what is new does not raise it.';

/** Each schema, by the name of its file: what it is of, and where the type of that is. */
const schemas = {
  'report.schema.json': {
    type: ['lib/reports/json-report.ts', 'JsonReport'],
    id: 'urn:vertexq:report:1',
    title: 'What vertexq quantize --json and --report file.json write',
    about: later,
  },
  'plan.schema.json': {
    type: ['lib/checkpoints/sharded/types.ts', 'PlanFile'],
    id: 'urn:vertexq:plan:1',
    title: 'What vertexq plan writes, and vertexq work and finish read',
    about: `${later} A plan is for the version of vertexq that has made it.`,
  },
} as const;

export type SchemaName = keyof typeof schemas;

/** The document as it should be. */
export async function schemaText(name: SchemaName): Promise<string> {
  const { type, id, title, about } = schemas[name];
  const { root: schema, definitions } = schemaOf(join(root, type[0]), type[1]);
  const whole = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: id,
    title,
    description: `Written by npm run docs:schema from the types of the package. ${about}`,
    // Draft 7 reads nothing beside a reference.
    ...(schema.$ref === undefined ? schema : { allOf: [schema] }),
    definitions,
  };
  const options = await resolveConfig(pathOf(name));
  return format(JSON.stringify(whole), { ...options, parser: 'json' });
}

const pathOf = (name: SchemaName) => join(root, 'docs', name);

async function write(): Promise<void> {
  for (const name of Object.keys(schemas) as SchemaName[])
    writeFileSync(pathOf(name), await schemaText(name));
}

if (require.main === module) void write();
