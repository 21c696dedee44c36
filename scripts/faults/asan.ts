// The failing addon under AddressSanitizer, and what its LeakSanitizer finds. Node itself leaks at its end, and so do its libraries: of all
// leaks those count whose memory was asked for by the addon, or by what it called.
import assert from 'node:assert';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = join(__dirname, '..', '..');
const module = 'vertexq_faults.node';
/** Bytes that faults::lose() loses each time. */
const lost = 4242;

/** Builds the addon with the sanitizers, where the core's tests are built with them: of the core nothing is compiled twice. */
function build(): void {
  const cache = readFileSync(join(root, 'build', 'CMakeCache.txt'), 'utf8');
  const settings = ['CMAKE_JS_INC', 'CMAKE_JS_SRC', 'CMAKE_JS_LIB'].map(
    (name) => `-D${name}=${new RegExp(`^${name}:\\w+=(.*)$`, 'm').exec(cache)?.[1] ?? ''}`,
  );
  const own = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] as 'ignore'[] };
  execFileSync('cmake', ['--preset', 'asan', ...settings], own);
  execFileSync('cmake', ['--build', '--preset', 'asan', '--parallel', '--target', 'vertexq_faults'], own);
}

/** How often LeakSanitizer itself may end by a signal: stopping all threads of Node and reading theirs, it does so now and then. */
const mostTries = 3;

/** Runs `script` again, with the sanitizer. Throws where it fails, or where memory is lost that should not be. */
export function runWithSanitizer(script: string, words: readonly string[]): void {
  build();
  for (let attempt = 1; ; attempt++) {
    const { said, ended } = runOnce(script, words);
    if (attempt < mostTries && said.includes('LeakSanitizer has encountered a fatal error')) {
      console.log(`LeakSanitizer itself ended (${/Tracer caught signal \d+/.exec(said)?.[0]}): once more`);
      continue;
    }
    assert.equal(ended, 0, `it ended with ${ended}\n${said.slice(0, 20_000)}`);
    requireNone(said);
    return;
  }
}

function runOnce(script: string, words: readonly string[]): { said: string; ended: string | number | null } {
  const logs = mkdtempSync(join(tmpdir(), 'vertexq-asan-'));
  try {
    const library = execFileSync('c++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
    const { status, signal } = spawnSync(
      process.execPath,
      ['--expose-gc', `--require=${join(root, 'scripts', 'typescript.cjs')}`, script, ...words],
      {
        stdio: 'inherit',
        env: {
          ...process.env,
          VERTEXQ_FAULTS: join(root, 'build-asan', 'faults', module),
          LD_PRELOAD: library,
          // A report names the module of each frame. Strings of the C++ library are freed by our operators, which are malloc's and free's.
          ASAN_OPTIONS: `detect_leaks=1:alloc_dealloc_mismatch=0:log_path=${join(logs, 'log')}:stack_trace_format="    #%n %F %L %M"`,
          LSAN_OPTIONS: 'leak_check_at_exit=0:max_leaks=0',
        },
      },
    );
    const said = readdirSync(logs)
      .map((name) => readFileSync(join(logs, name), 'utf8'))
      .join('\n');
    return { said, ended: signal ?? status };
  } finally {
    rmSync(logs, { recursive: true });
  }
}

function requireNone(said: string): void {
  const leaks = said.split(/\n\s*\n/).filter((part) => /^(Direct|Indirect) leak/.test(part.trim()));
  // A page that V8's heap grows by while the addon makes a value is the heap's.
  const ours = leaks.filter(
    (leak) => leak.includes(module) && !leak.includes('v8::internal::MemoryAllocator'),
  );
  const [meant, others] = [true, false].map((isMeant) =>
    ours.filter((leak) => leak.includes('faults::lose') === isMeant),
  );
  const found = Number(/of (\d+) byte/.exec(meant![0] ?? '')?.[1] ?? 0);
  assert.ok(
    found > 0 && found % lost === 0,
    `the search for leaks did not find what was lost on purpose: ${found} bytes`,
  );
  assert.equal(others!.length, 0, `${others!.length} leaks:\n${others!.slice(0, 5).join('\n\n')}`);
  console.log(`no leak of the addon's by LeakSanitizer (${leaks.length - 1} of Node and its libraries)`);
}
