// References to files that are not there: links in documents, with their headings, and paths that comments, messages and help texts name.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import GithubSlugger from 'github-slugger';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(path.join(root, file)));

const textOf = (file) => readFileSync(path.join(root, file), 'utf8');
const wrong = [];
const say = (file, text, at, what) => wrong.push(`${file}:${text.slice(0, at).split('\n').length}: ${what}`);

const headings = new Map();
function headingsOf(file) {
  if (!headings.has(file)) {
    const slugger = new GithubSlugger();
    const text = textOf(file).replace(/^```[\s\S]*?^```/gm, '');
    headings.set(file, new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => slugger.slug(title))));
  }
  return headings.get(file);
}

for (const file of files.filter((name) => name.endsWith('.md'))) {
  const text = textOf(file);
  for (const { 1: target, index } of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [name, heading] = decodeURIComponent(target).split('#');
    const to = name === '' ? file : path.posix.join(path.posix.dirname(file), name);
    if (!existsSync(path.join(root, to))) say(file, text, index, `links to ${target}, which is not there`);
    else if (heading !== undefined && to.endsWith('.md') && !headingsOf(to).has(heading))
      say(file, text, index, `links to ${target}, a heading that is not there`);
  }
}

// A path counts as one of ours where it begins with one of our folders.
const named =
  /(?<![\w./@-])(?:bench|cmake|docs|examples|lib|native|scripts|test)\/[\w./-]*\w\.(?:cjs|cpp|h|json|md|mjs|svg|ts|txt)\b/g;
for (const file of files.filter((name) => /\.(cjs|cpp|h|md|mjs|ts|txt|yml|yaml)$|^\.ci\//.test(name))) {
  const text = textOf(file);
  for (const { 0: target, index } of text.matchAll(named))
    if (!existsSync(path.join(root, target)) && !existsSync(path.join(root, path.dirname(file), target)))
      say(file, text, index, `names ${target}, which is not there`);
}

if (wrong.length > 0) {
  console.error(wrong.join('\n'));
  process.exitCode = 1;
}
