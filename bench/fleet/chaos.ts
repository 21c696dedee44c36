// npm run bench:fleet:chaos [-- kills faults megabytes]: runs of one small checkpoint, in each of which "submit", "worker", "work" or "finish" is killed −9 at a random moment, or the network to Redis
// is cut, slow or refused, or Redis out of memory, while "submit" or "worker" goes on. Whatever a command said, what stands under the output's name must be whole or not there, and the same commands again must complete it.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { planRun, quantizeCheckpoint } from '../../lib/index';
import { startProxy, type Proxy } from '../../test/fleet/proxy';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { writeCheckpoint } from './checkpoints';
import { program, Server } from './programs';

const [kills = 200, faults = 200, megabytes = 60] = process.argv.slice(2).map(Number);
const options = { groupSize: 128 };
const commands = ['submit', 'worker', 'work', 'finish'] as const;
const troubles = ['cut', 'slow', 'refused', 'out of memory'] as const;

function digest(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort())
    hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
  return hash.digest('hex');
}

class Chaos {
  private readonly random = mulberry32(Number(process.env['VERTEXQ_SEED'] ?? 1));
  readonly told = new Map<string, number>();
  expected = '';

  constructor(
    private readonly folder: string,
    private readonly server: Server,
    private readonly proxy: Proxy,
    private readonly client: Redis,
  ) {}

  get plan(): string {
    return join(this.folder, 'plan.json');
  }

  private get output(): string {
    return join(this.folder, 'out');
  }

  /** Starts a command; through the proxy where the network is to fail. */
  private start(
    command: string,
    url = this.server.url,
  ): { child: ChildProcess; ended: Promise<number | null> } {
    const more = {
      submit: [this.plan, '--parts', '3'],
      worker: ['--root', this.folder, '--until-empty', '--stalled-after', '1', '--threads', '1', '--quiet'],
      work: [this.plan, '--threads', '1', '--quiet'],
      finish: [this.plan, '--threads', '1', '--quiet'],
    }[command]!;
    const env = { ...process.env, VERTEXQ_REDIS_URL: url };
    const child = spawn(process.execPath, [program, command, ...more], { stdio: 'ignore', env });
    return { child, ended: once(child, 'exit').then(([code]) => code as number | null) };
  }

  private async done(command: string): Promise<void> {
    const code = await this.start(command).ended;
    if (code !== 0) throw new Error(`"${command}" without trouble ended with ${code}`);
  }

  private note(what: string): void {
    this.told.set(what, (this.told.get(what) ?? 0) + 1);
  }

  /** What stands under the output's name is whole, or nothing does. Returns whether it is there. */
  private requireWhole(after: string): boolean {
    if (!existsSync(this.output)) return false;
    if (digest(this.output) !== this.expected) throw new Error(`after ${after}: half an output, or another`);
    return true;
  }

  private async clean(): Promise<void> {
    for (const name of readdirSync(this.folder))
      if (name === 'out' || name.startsWith('.vertexq-'))
        rmSync(join(this.folder, name), { recursive: true });
    await this.client.flushall();
  }

  /** Has "submit" and "worker", or "work" and "finish", make the output of what is there. */
  private async complete(after: string, byQueue: boolean): Promise<void> {
    const isThere = this.requireWhole(after);
    this.note(isThere ? `${after}: the output was there` : `${after}: to be gone on with`);
    if (byQueue) {
      await this.done('submit');
      await this.done('worker');
    } else if (!isThere) {
      await this.done('work');
      await this.done('finish');
    }
    if (!this.requireWhole(`${after}, done again`)) throw new Error(`after ${after}: no output`);
  }

  async kill(round: number): Promise<void> {
    await this.clean();
    const command = commands[round % commands.length]!;
    const byQueue = command === 'submit' || command === 'worker';
    if (command === 'worker') await this.done('submit');
    if (command === 'finish') await this.done('work');
    const { child, ended } = this.start(command);
    // About as long as each takes, and some of its end.
    const longest = { submit: 600, worker: 1600, work: 900, finish: 500 }[command];
    await Promise.race([ended, setTimeout(this.random() * longest)]);
    const before = child.exitCode;
    child.kill('SIGKILL');
    await ended;
    await this.complete(before === null ? `${command} killed` : `${command} ended before`, byQueue);
  }

  async fault(round: number): Promise<void> {
    await this.clean();
    const command = round % 2 === 0 ? 'submit' : 'worker';
    const trouble = troubles[(round >> 1) % troubles.length]!;
    if (command === 'worker') await this.done('submit');
    const { child, ended } = this.start(command, this.proxy.url);
    const isOver = () => child.exitCode !== null;
    await Promise.race([ended, setTimeout(this.random() * { submit: 500, worker: 1500 }[command])]);
    const begun = !isOver();
    if (trouble === 'cut')
      for (let i = 0; i < 3 && !isOver(); i++, await setTimeout(50 * this.random())) this.proxy.cut();
    if (trouble === 'slow') this.proxy.delay = 50 + 200 * this.random();
    if (trouble === 'refused') {
      this.proxy.refuses = true;
      this.proxy.cut();
    }
    if (trouble === 'out of memory') await this.client.config('SET', 'maxmemory', '1');
    await Promise.race([ended, setTimeout(1500)]);
    this.proxy.delay = 0;
    this.proxy.refuses = false;
    await this.client.config('SET', 'maxmemory', '0');
    const code = await Promise.race([ended, setTimeout(60_000, 'silent' as const)]);
    if (code === 'silent')
      throw new Error(`"${command}" goes on after its network was ${trouble} and well again`);
    await this.complete(
      begun ? `${command}, ${trouble}, exit code ${code}` : `${command} ended before`,
      true,
    );
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-chaos-'));
  const server = await Server.start(join(folder, 'redis'));
  const ends: (() => unknown)[] = [];
  const proxy = await startProxy({ teardown: (end) => ends.push(end) }, Number(new URL(server.url).port));
  const client = new Redis(server.url);
  try {
    const chaos = new Chaos(folder, server, proxy, client);
    writeCheckpoint(join(folder, 'in'), megabytes, 0);
    await quantizeCheckpoint(join(folder, 'in'), join(folder, 'whole'), options);
    chaos.expected = digest(join(folder, 'whole'));
    writeFileSync(
      chaos.plan,
      JSON.stringify(await planRun(join(folder, 'in'), join(folder, 'out'), options)),
    );
    for (let i = 0; i < kills; i++) await chaos.kill(i);
    for (let i = 0; i < faults; i++) await chaos.fault(i);
    for (const [what, count] of [...chaos.told].sort()) console.log(`${count} × ${what}`);
    console.log(
      `${kills} kills and ${faults} faults: each output was whole or not there, and whole in the end`,
    );
  } finally {
    client.disconnect();
    for (const end of ends) end();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
