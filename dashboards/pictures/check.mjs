// The dashboards against the types of @grafana/schema: heads, panels, and the options of each panel's type.
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const HERE = dirname(fileURLToPath(import.meta.url));
const NAMES = ['coturn-overview', 'coturn-realm', 'coturn-exporter', 'coturn-fleet'];
const RAW = '@grafana/schema/dist/esm/raw/composable';
const PANELS = { timeseries: 'TimeSeries', stat: 'Stat', table: 'Table', heatmap: 'Heatmap' };

// JSON has the values of enums, TypeScript wants their names: each enum stands for its values.
const head = `
import type { Dashboard } from '@grafana/schema';
${Object.entries(PANELS).map(([type, name]) => `import type * as ${type} from '${RAW}/${type}/panelcfg/x/${name}PanelCfg_types.gen.d.ts';`).join('\n')}
type Values<T> = T extends string ? \`\${T}\` : T extends number ? (number extends T ? number : T | \`\${T}\` extends infer V ? Extract<V, number> | number : never)
  : T extends (infer U)[] ? Values<U>[] : T extends object ? { [K in keyof T]: Values<T[K]> } : T;
type Part<T> = Partial<Values<T>>;
`;

const work = mkdtempSync(join(tmpdir(), 'coturn-schema-'));
try {
  symlinkSync(join(HERE, 'node_modules'), join(work, 'node_modules'));
  const files = NAMES.map((name) => {
    const text = readFileSync(join(HERE, '..', `${name}.json`), 'utf8');
    const { annotations, panels, ...rest } = JSON.parse(text);
    // Grafana's own note beside `query`, which the types leave out.
    for (const variable of rest.templating.list) delete variable.definition;
    const lines = [head, `export const dashboard: Values<Omit<Dashboard, 'panels' | 'annotations'>> = ${JSON.stringify(rest, null, 1)};`];
    panels.filter(({ type }) => type !== 'row').forEach(({ type, options, fieldConfig, ...panel }, index) => {
      lines.push(`// ${panel.title}`, `export const panel${index}: Part<NonNullable<Dashboard['panels']>[number]> = ${JSON.stringify({ type, ...panel }, null, 1)};`);
      // The options of a list of alerts are in no package.
      if (!PANELS[type]) return;
      lines.push(`export const options${index}: Part<${type}.Options> = ${JSON.stringify(options, null, 1)};`);
      if (fieldConfig.defaults.custom) lines.push(`export const custom${index}: Part<${type}.FieldConfig> = ${JSON.stringify(fieldConfig.defaults.custom, null, 1)};`);
    });
    const file = join(work, `${name}.ts`);
    writeFileSync(file, lines.join('\n'));
    return file;
  });
  const program = ts.createProgram(files, {
    noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler, types: [], preserveSymlinks: true,
  });
  const found = ts.getPreEmitDiagnostics(program);
  for (const diagnostic of found) {
    const where = diagnostic.file?.getLineAndCharacterOfPosition(diagnostic.start);
    console.error(diagnostic.file?.fileName.replace(work, ''), where && where.line + 1, ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
  }
  if (found.length) process.exitCode = 1;
  else console.log(`${NAMES.length} dashboards fit the schema`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
