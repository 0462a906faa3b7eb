// Draws three of the dashboards, one of them in light colours too, over a history in a real Prometheus: node draw.mjs HISTORY PICTURES
// HISTORY is a folder that `PICTURES_HISTORY=... cargo test --test dashboards history::` has filled.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import puppeteer from 'puppeteer-core';
import UPNG from 'upng-js';

const HERE = dirname(fileURLToPath(import.meta.url));
const PICTURES = [
  { name: 'coturn-overview', mode: 'dark' }, { name: 'coturn-overview', mode: 'light' },
  { name: 'coturn-realm', mode: 'dark' }, { name: 'coturn-exporter', mode: 'dark' },
];
const WIDTH = 1360;
// The story of tests/dashboards/history.rs: it begins at 6:00 UTC and is seven hours long.
const [FROM, TO] = [0.8, 6.8].map((hours) => 1_795_327_200 + hours * 3600);
const LIMIT = 300_000;
const TYPES = { '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml' };

const [history, pictures] = process.argv.slice(2);
if (!pictures) throw new Error('node draw.mjs HISTORY PICTURES');

async function freePort() {
  const server = createServer();
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address();
  await new Promise((closed) => server.close(closed));
  return port;
}

async function until(what, look) {
  const deadline = Date.now() + 120_000;
  while (!(await look().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((later) => setTimeout(later, 100));
  }
}

const work = await mkdtemp(join(tmpdir(), 'coturn-pictures-'));
let prometheus, server, browser;
try {
  const port = await freePort();
  await writeFile(join(work, 'prometheus.yml'), '');
  prometheus = spawn('prometheus', [
    `--config.file=${join(work, 'prometheus.yml')}`, `--storage.tsdb.path=${join(history, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`, '--log.level=error',
  ], { stdio: 'inherit' });
  await until('prometheus', async () => (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok);

  await build({
    entryPoints: [join(HERE, 'page.jsx')], outfile: join(work, 'page.js'), bundle: true, format: 'esm', minify: true,
    jsx: 'automatic', logLevel: 'error', define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
    loader: { '.svg': 'text', '.ttf': 'empty' },
    // The builds for `import` name default exports of packages that only have a `require` build.
    alias: Object.fromEntries(['ui', 'data'].map((name) => [`@grafana/${name}`, join(HERE, `node_modules/@grafana/${name}/dist/cjs/index.cjs`)])),
  });

  server = createServer(async (request, response) => {
    try {
      const url = new URL(request.url, 'http://localhost');
      if (url.pathname.startsWith('/api/')) {
        const answer = await fetch(`http://127.0.0.1:${port}${request.url}`);
        response.end(Buffer.from(await answer.arrayBuffer()));
        return;
      }
      const path = normalize(url.pathname);
      const file = path === '/' ? join(HERE, 'page.html')
        : ['/page.js', '/page.css'].includes(path) ? join(work, path)
        : path.startsWith('/dashboards/') ? join(HERE, '..', path.slice('/dashboards/'.length))
        : join(HERE, 'node_modules/@grafana/ui/dist', path);
      response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
      response.end(await readFile(file));
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

  browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--force-color-profile=srgb'],
  });
  for (const { name, mode } of PICTURES) {
    const page = await browser.newPage();
    page.on('pageerror', (error) => console.error(name, error.message));
    page.on('console', (message) => { if (message.type() === 'error' && !message.text().includes('404')) console.error(name, message.text()); });
    await page.setViewport({ width: WIDTH, height: 900 });
    const { port: own } = server.address();
    await page.goto(`http://127.0.0.1:${own}/?name=${name}&mode=${mode}&width=${WIDTH}&from=${FROM}&to=${TO}`);
    await until(`${name} to be drawn`, () => page.evaluate(() => window.pending === 0));
    if (await page.evaluate(() => window.failed)) throw new Error(`${name}: a panel could not be drawn, see above`);
    await page.evaluate(() => new Promise((drawn) => setTimeout(drawn, 1500)));
    const file = join(pictures, `${name}${mode === 'light' ? '-light' : ''}.png`);
    const shot = UPNG.decode((await (await page.$('#root > div.dashboard')).screenshot()).buffer);
    // 256 colours are enough, and a third of the size.
    const picture = Buffer.from(UPNG.encode(UPNG.toRGBA8(shot), shot.width, shot.height, 256));
    await writeFile(file, picture);
    const size = picture.length;
    console.log(`${file}: ${size} bytes`);
    if (size > LIMIT) throw new Error(`${file} is larger than ${LIMIT} bytes`);
  }
} finally {
  await browser?.close();
  server?.close();
  prometheus?.kill();
  await rm(work, { recursive: true, force: true });
}
