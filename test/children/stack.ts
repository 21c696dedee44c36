// A stack of sources, and a package that is imported when it is needed.
interface Told {
  /** Lines that are not in the JavaScript. */
  what: string;
}

function fail({ what }: Told): never {
  throw new Error(what);
}

async function main(): Promise<void> {
  const { sep } = await import('node:path');
  try {
    fail({ what: 'told' });
  } catch (error) {
    console.log(JSON.stringify({ sep, stack: (error as Error).stack }));
  }
}

void main();
