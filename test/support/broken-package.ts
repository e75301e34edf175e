// SPDX-License-Identifier: Apache-2.0
/** The built program beside packages of which one throws when it is loaded: whether that package does its work. Layer: test support. */
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const requireFrom = createRequire(join(ROOT, "package.json"));

/**
 * Fills `folder` with dist/, scripts/, package.json and the packages, `broken` replaced.
 * @param entry - what is loaded of it, where that is not the package's main entry: `pack` of `msgpackr/pack`
 */
export function makeTreeWithout(broken: string, folder: string, entry?: string): void {
  for (const name of ["dist", "scripts"]) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(folder, "package.json"));
  const packages = join(folder, "node_modules");
  mkdirSync(packages);
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    if (name !== broken) symlinkSync(join(ROOT, "node_modules", name), join(packages, name));
  }
  mkdirSync(join(packages, broken));
  const main = `${entry ?? "index"}.js`;
  const exports = { [entry === undefined ? "." : `./${entry}`]: `./${main}` };
  writeFileSync(join(packages, broken, "package.json"), JSON.stringify({ name: broken, main, exports }));
  // It still offers the names that are imported from it: what fails is to be the package, not the linking.
  const loaded: object = requireFrom(entry === undefined ? broken : `${broken}/${entry}`);
  const names = Object.keys(loaded).map((name) => `exports[${JSON.stringify(name)}] = undefined;\n`);
  writeFileSync(join(packages, broken, main), `${names.join("")}throw new Error("planted: ${broken} is broken");\n`);
}
