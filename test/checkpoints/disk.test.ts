import test from 'ava';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { smallModel, writeFolder } from './make';
import { typescript } from '../typescript';
import { sameBytes } from '../files/same-bytes';

const repository = join(__dirname, '..', '..');

/** How to run a program that may mount, if there is a way. */
const mounting = [
  ['unshare', '-m'],
  ['unshare', '-Urm'],
].find(
  ([program, ...rest]) =>
    spawnSync(program!, [...rest, 'sh', '-c', 'mount -t tmpfs -o size=64k none /tmp']).status === 0,
);

(mounting ? test : test.skip)(
  `a full disk: an error with the file, and room made, the run goes on${mounting ? '' : ' (no permission to mount)'}`,
  async (t) => {
    const folder = temporaryFolder(t);
    const [input, whole, disk] = ['in', 'whole', 'disk'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFolder(input, smallModel('BF16', 256));
    const options = { groupSize: 32 };
    await quantizeCheckpoint(input, whole, options);
    mkdirSync(disk);
    const child = [
      ...[
        process.execPath,
        typescript,
        join(__dirname, '..', 'children', 'quantize.ts'),
        input,
        join(disk, 'out'),
      ],
      JSON.stringify({ ...options, resume: true }),
    ];
    const run = child.map((word) => `'${word}'`).join(' ');
    const script = `
      mount -t tmpfs -o size=500k,mode=777 none '${disk}' && ${run} && ls '${disk}/out' &&
      mount -o remount,bind,ro '${disk}' && ${run};
      mount -o remount,bind,rw '${disk}' && mount -o remount,size=50m '${disk}' && ${run} && cp -r '${disk}/out' '${folder}/copy'`;
    const [program, ...rest] = mounting!;
    const { stdout, stderr } = spawnSync(program!, [...rest, 'sh', '-c', script], {
      cwd: repository,
      encoding: 'utf8',
    });
    const lines = stdout
      .trim()
      .split('\n')
      .filter((line) => line !== 'begun');
    t.regex(lines[0]!, /^ERR_VERTEXQ_FILE: .*(cannot be written|cannot be used): .*ENOSPC/, stdout + stderr);
    t.false(lines.some((line) => line.endsWith('.index.json')));
    t.true(
      lines.some((line) => /^ERR_VERTEXQ_FILE: .*(EROFS|read-only)/.test(line)),
      stdout + stderr,
    );
    t.regex(lines.at(-1)!, /"layers":12/, stdout + stderr);
    for (const name of readdirSync(whole))
      sameBytes(t, readFileSync(join(folder, 'copy', name)), readFileSync(join(whole, name)), name);
  },
);
