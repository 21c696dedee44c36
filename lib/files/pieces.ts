/** Characters that are made bytes at a time. */
const pieceLength = 2 ** 16;

/** A long text that is made piece by piece, as bytes but for its end. */
export class Pieces {
  private readonly done: Uint8Array[] = [];
  private rest = '';

  add(text: string): void {
    this.rest += text;
    if (this.rest.length < pieceLength) return;
    this.done.push(Buffer.from(this.rest));
    this.rest = '';
  }

  bytes(): Uint8Array[] {
    return this.rest === '' ? this.done : [...this.done, Buffer.from(this.rest)];
  }
}
