// Writes docs/api.md: what the package exports, with signatures and comments as the sources have them.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import ts from 'typescript';

const root = join(__dirname, '..');
const file = join(root, 'docs/api.md');

/** Something that `require('vertexq')` has. */
export interface Exported {
  name: string;
  kind: 'function' | 'class' | 'value' | 'type';
  /** Its comment; empty without any. */
  comment: string;
  /** Without bodies. */
  text: string;
  /** Of an interface, properties without a comment. */
  bare: string[];
}

type Declared =
  | ts.FunctionDeclaration
  | ts.ClassDeclaration
  | ts.InterfaceDeclaration
  | ts.TypeAliasDeclaration
  | ts.VariableStatement;

const sources = new Map<string, ts.SourceFile>();

function sourceOf(path: string): ts.SourceFile {
  const known = sources.get(path);
  if (known) return known;
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
  sources.set(path, source);
  return source;
}

const namedIn = (statement: ts.Statement): readonly ts.ExportSpecifier[] =>
  ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamedExports(statement.exportClause)
    ? statement.exportClause.elements
    : [];

/** Where a name that a file exports is declared. */
function declarationOf(path: string, name: string): Declared {
  for (const statement of sourceOf(path).statements) {
    if (
      (ts.isFunctionDeclaration(statement) ||
        ts.isClassDeclaration(statement) ||
        ts.isInterfaceDeclaration(statement) ||
        ts.isTypeAliasDeclaration(statement)) &&
      statement.name?.text === name
    )
      return statement;
    if (
      ts.isVariableStatement(statement) &&
      statement.declarationList.declarations.some((one) => one.name.getText() === name)
    )
      return statement;
    const passed = namedIn(statement).find((one) => one.name.text === name);
    const from = passed && (statement as ts.ExportDeclaration).moduleSpecifier;
    if (from && ts.isStringLiteral(from))
      return declarationOf(`${join(dirname(path), from.text)}.ts`, (passed.propertyName ?? passed.name).text);
  }
  throw new Error(`${path} does not export ${name}`);
}

/** The text of a comment, without its frame. */
function commentOf(node: ts.Node): string {
  const [comment] = ts.getJSDocCommentsAndTags(node).slice(-1);
  return (comment?.getText() ?? '')
    .replace(/^\/\*\*|\*\/$/g, '')
    .replace(/^ *\* ?/gm, '')
    .trim();
}

/** A declaration as a reader needs it: of a function its head, of a class what is public. */
function textOf(node: Declared): string {
  if (ts.isFunctionDeclaration(node) && node.body)
    return (
      node
        .getText()
        .slice(0, node.body.getStart() - node.getStart())
        .trim() + ';'
    );
  if (ts.isVariableStatement(node)) return node.getText().replace(/\s*=(?!>)[^]*$/, ';');
  if (!ts.isClassDeclaration(node)) return node.getText();
  const members = node.members
    .filter((member) => !/^(private|protected|#)/.test(member.getText()))
    .map((member) => {
      const body =
        ts.isConstructorDeclaration(member) || ts.isMethodDeclaration(member) ? member.body : undefined;
      return body
        ? `${member
            .getText()
            .slice(0, body.getStart() - member.getStart())
            .trim()};`
        : member.getText();
    });
  return `${node.getText().slice(0, node.members.pos - node.getStart())}\n${members.join('\n')}\n}`;
}

const bareIn = (node: Declared): string[] =>
  ts.isInterfaceDeclaration(node)
    ? node.members.filter((member) => commentOf(member) === '').map((member) => member.name!.getText())
    : [];

/** All exports, in the order of their names. */
export function exportsOf(index = join(root, 'lib/index.ts')): Exported[] {
  return sourceOf(index)
    .statements.flatMap(namedIn)
    .map(({ name: { text: name } }): Exported => {
      const node = declarationOf(index, name);
      const kind = ts.isFunctionDeclaration(node)
        ? 'function'
        : ts.isClassDeclaration(node)
          ? 'class'
          : ts.isVariableStatement(node)
            ? 'value'
            : 'type';
      return { name, kind, comment: commentOf(node), text: textOf(node), bare: bareIn(node) };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const headings = { function: 'Functions', class: 'Classes', value: 'Values', type: 'Types' } as const;

/** The document as it should be. */
export async function apiPage(): Promise<string> {
  const all = exportsOf();
  const sections = Object.entries(headings).map(([kind, title]) => {
    const parts = all
      .filter((one) => one.kind === kind)
      .map(
        ({ name, comment, text }) =>
          `### ${name}\n\n${comment.replace(/</g, '\\<')}\n\n\`\`\`ts\n${text}\n\`\`\``,
      );
    return `## ${title}\n\n${parts.join('\n\n')}`;
  });
  const text = `# API

All that \`import … from 'vertexq'\` and \`require('vertexq')\` have, with the comments of the sources. Written by \`npm run docs:api\` from \`lib\`.
[options.md](options.md) has the options one by one, with their defaults and flags; [errors.md](errors.md) the codes of errors and warnings.

${sections.join('\n\n')}
`;
  return format(text, { ...(await resolveConfig(file)), filepath: file });
}

if (require.main === module) void apiPage().then((text) => writeFileSync(file, text));
