import { existsSync } from 'node:fs';
import path from 'node:path';

/** Whether one of these programs is to be found. */
export const onPath = (...names) =>
  names.some((name) =>
    (process.env.PATH ?? '')
      .split(path.delimiter)
      .some((dir) => existsSync(path.join(dir, process.platform === 'win32' ? `${name}.exe` : name))),
  );

/** Installs packages of Debian, or says what to type; `run` as in setup.mjs, `fail` ends the program with a message. */
export function installPackages(names, run, fail) {
  const apt = (...args) => ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
  const install = ['install', '-y', '--no-install-recommends', ...names];
  let sudo;
  if (process.getuid() === 0) sudo = [];
  else if (onPath('sudo') && run('sudo', ['-n', 'true']).ok) sudo = ['sudo', '-n'];
  else
    fail(`system packages are missing. Type this, then run it again:\n  sudo apt-get ${install.join(' ')}`);
  const [updater, ...update] = [...sudo, ...apt('update')];
  run(updater, update); // an old index may do; if not, the installation says so
  const [installer, ...args] = [...sudo, ...apt(...install)];
  return run(installer, args);
}
