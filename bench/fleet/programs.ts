import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

/** The command line, compiled. */
export const program = join(__dirname, '..', '..', 'dist', 'cli', 'main.js');

/** A redis-server that writes down all it is told before it answers. */
export class Server {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly port: number,
    private readonly folder: string,
  ) {}

  static async start(folder: string): Promise<Server> {
    mkdirSync(folder);
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    listener.close();
    await once(listener, 'close');
    const server = new Server(port, folder);
    await server.open();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** As after a crash of its machine. */
  async restart(): Promise<void> {
    await this.stop();
    await setTimeout(2000);
    await this.open();
  }

  async stop(): Promise<void> {
    if (!this.child) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
    this.child = undefined;
  }

  private async open(): Promise<void> {
    const kept = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'];
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, ...kept];
    this.child = spawn('redis-server', args, { stdio: 'ignore' });
    for (let i = 0; i < 200; i++) {
      const socket = connect(this.port, '127.0.0.1');
      const answers = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      socket.destroy();
      if (answers) return;
      await setTimeout(50);
    }
    throw new Error('redis-server has not started');
  }
}

/** `vertexq worker` in a process and a folder of its own. */
export class WorkerProgram {
  /** What it has said: jobs on their way, and those that it took over. */
  private readonly going = new Set<string>();
  stalled = 0;

  private constructor(private readonly child: ChildProcess) {
    createInterface(child.stderr!).on('line', (line) => {
      const [, piece, told] = /^\S+ (.*?(?:finish|part \d+\/\d+)) (.*)$/.exec(line) ?? [];
      if (piece !== undefined && told === 'begun') this.going.add(piece);
      else if (piece !== undefined) this.going.delete(piece);
      if (line.includes('taken over from')) this.stalled++;
    });
  }

  static start(redis: string, root: string, folder: string, silence: number): WorkerProgram {
    mkdirSync(folder, { recursive: true });
    const args = [
      'worker',
      '--root',
      root,
      '--redis',
      redis,
      '--threads',
      '1',
      '--stalled-after',
      String(silence),
    ];
    return new WorkerProgram(
      spawn(process.execPath, [program, ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] }),
    );
  }

  get isAtWork(): boolean {
    return this.going.size > 0;
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }

  async pause(milliseconds: number): Promise<void> {
    this.child.kill('SIGSTOP');
    await setTimeout(milliseconds);
    this.child.kill('SIGCONT');
  }

  end(): void {
    this.child.kill('SIGTERM');
  }
}
