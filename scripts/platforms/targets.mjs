// A row a platform for which vertexq is published with its addon built. They are all built on Linux on x64.

/**
 * @typedef {object} Target
 * @property {string} name of the package, behind @vertexq/
 * @property {{os: string[], cpu: string[], libc?: string[]}} only where npm installs it
 * @property {string} triple what the compiler builds for; a number at its end is the oldest C library, or system, that it runs on
 * @property {string} wheel the tag of the wheel that has its OpenBLAS
 * @property {string} library OpenBLAS in the package
 * @property {string[]} cmake what CMake is told of another system
 * @property {string} [linker] flags
 * @property {string} [machine] the machine that a list of Node's functions to import is made for
 */

// Node 20 itself needs glibc 2.28.
/** @type {Target[]} */
export const targets = [
  {
    name: 'linux-x64-gnu',
    only: { os: ['linux'], cpu: ['x64'], libc: ['glibc'] },
    triple: 'x86_64-linux-gnu.2.28',
    wheel: 'manylinux_2_28_x86_64',
    library: 'libscipy_openblas.so',
    cmake: [],
  },
  {
    name: 'linux-arm64-gnu',
    only: { os: ['linux'], cpu: ['arm64'], libc: ['glibc'] },
    triple: 'aarch64-linux-gnu.2.28',
    wheel: 'manylinux_2_28_aarch64',
    library: 'libscipy_openblas.so',
    cmake: ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=aarch64'],
  },
  {
    name: 'linux-x64-musl',
    only: { os: ['linux'], cpu: ['x64'], libc: ['musl'] },
    triple: 'x86_64-linux-musl',
    wheel: 'musllinux_1_2_x86_64',
    library: 'libscipy_openblas.so',
    cmake: ['-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_SYSTEM_PROCESSOR=x86_64'],
  },
  {
    name: 'darwin-arm64',
    only: { os: ['darwin'], cpu: ['arm64'] },
    triple: 'aarch64-macos.11.0',
    wheel: 'macosx_11_0_arm64',
    library: 'libscipy_openblas.dylib',
    cmake: ['-DCMAKE_SYSTEM_NAME=Darwin', '-DCMAKE_SYSTEM_PROCESSOR=arm64', '-DCMAKE_INSTALL_NAME_TOOL=true'],
    linker: '-Wl,-undefined,dynamic_lookup',
  },
  {
    name: 'darwin-x64',
    only: { os: ['darwin'], cpu: ['x64'] },
    triple: 'x86_64-macos.11.0',
    wheel: 'macosx_11_0_x86_64',
    library: 'libscipy_openblas.dylib',
    cmake: [
      '-DCMAKE_SYSTEM_NAME=Darwin',
      '-DCMAKE_SYSTEM_PROCESSOR=x86_64',
      '-DCMAKE_INSTALL_NAME_TOOL=true',
    ],
    linker: '-Wl,-undefined,dynamic_lookup',
  },
  {
    name: 'win32-x64',
    only: { os: ['win32'], cpu: ['x64'] },
    triple: 'x86_64-windows-gnu',
    wheel: 'win_amd64',
    library: 'libscipy_openblas.dll',
    cmake: ['-DCMAKE_SYSTEM_NAME=Windows', '-DCMAKE_SYSTEM_PROCESSOR=AMD64'],
    machine: 'i386:x86-64',
  },
];

/** The target of that name; the machine's own without one. Throws where there is none. */
export function targetNamed(name = ownName()) {
  const target = targets.find((each) => each.name === name);
  if (!target) throw new Error(`expected one of ${targets.map((each) => each.name).join(', ')}; got ${name}`);
  return target;
}

function ownName() {
  const { platform, arch } = process;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'}`;
}
