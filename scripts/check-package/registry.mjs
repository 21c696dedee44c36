// A registry of packages of the scope @vertexq alone, on this machine: npm finds them in it as it will in its own once they are published.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';

/**
 * Serves packages until `close()`. `packages`: each with its description, and its tarball where it was built; who is on another platform
 * asks for the description only.
 */
export async function serve(packages) {
  const known = new Map(packages.map((each) => [each.description.name, each]));
  const server = http.createServer((request, response) => {
    const [, name, tarball] = /^\/(@[^/]+\/[^/]+?)(\/-\/.*)?$/.exec(decodeURIComponent(request.url)) ?? [];
    const found = known.get(name);
    if (!found || (tarball && !found.file)) return response.writeHead(404).end();
    if (tarball) return response.end(readFileSync(found.file));
    const { description, file } = found;
    const { version } = description;
    const integrity = file && `sha512-${createHash('sha512').update(readFileSync(file)).digest('base64')}`;
    const dist = { tarball: `${url}${name}/-/package.tgz`, ...(integrity && { integrity }) };
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        name,
        'dist-tags': { latest: version },
        versions: { [version]: { ...description, dist } },
      }),
    );
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  return { url, close: () => server.close() };
}
