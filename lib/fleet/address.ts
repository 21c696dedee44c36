import { about } from '../options/messages';

/** Where Redis is, and how to get in. Only `shown` may be told of to anyone. */
export interface Address {
  host: string;
  port: number;
  db: number;
  username: string | undefined;
  password: string | undefined;
  tls: boolean;
  /** The URL without user and password. */
  shown: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

export const [urlVariable, passwordVariable] = ['VERTEXQ_REDIS_URL', 'VERTEXQ_REDIS_PASSWORD'];
const fallback = 'redis://127.0.0.1:6379';

/** The address that an option or the environment tells. Throws a RangeError that repeats no part of a URL but its scheme, host and path: the rest may be secret. */
export function addressOf(given: string | undefined, env: Environment): Address {
  const what = given !== undefined ? 'the "redis" option' : urlVariable;
  const text = given ?? (env[urlVariable] || fallback);
  return about(given !== undefined ? ['redis'] : [], () => {
    const expected = `Expected ${what} to be a URL such as redis://host:6379/0, or rediss://host:6380 with TLS`;
    let url: URL;
    try {
      url = new URL(text);
    } catch {
      throw new RangeError(`${expected}; what was given is none`);
    }
    const { protocol, hostname, port, pathname, username, password, search, hash } = url;
    if (protocol !== 'redis:' && protocol !== 'rediss:')
      throw new RangeError(`${expected}, not one of ${JSON.stringify(protocol.slice(0, 20))}`);
    if (hostname === '') throw new RangeError(`${expected}: it names no host`);
    const db = /^\/?(\d{0,5})$/.exec(pathname)?.[1];
    if (db === undefined || search !== '' || hash !== '')
      throw new RangeError(
        `${expected}: after the host there may be the number of a database, and nothing else`,
      );
    const at = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 6379), db: Number(db || 0) };
    return {
      ...at,
      username: decoded(username, what),
      password: decoded(password, what) ?? (env[passwordVariable] || undefined),
      tls: protocol === 'rediss:',
      shown: `${protocol}//${hostname}:${at.port}${at.db === 0 ? '' : `/${at.db}`}`,
    };
  });
}

function decoded(text: string, what: string): string | undefined {
  if (text === '') return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RangeError(`Expected user and password in ${what} to be percent-encoded`);
  }
}

/** Whether a URL has a password in it; of none that is a URL, no. */
export function hasPassword(text: string): boolean {
  try {
    return new URL(text).password !== '';
  } catch {
    return false;
  }
}

/** A message of others about this address, without the password wherever it may stand. */
export function withoutSecrets(text: string, { password }: Pick<Address, 'password'>): string {
  if (password === undefined) return text;
  return [password, encodeURIComponent(password)].reduce(
    (left, secret) => left.replaceAll(secret, '***'),
    text,
  );
}
