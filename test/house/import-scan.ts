// SPDX-License-Identifier: Apache-2.0
/**
 * What the linter's import rule does not see: `import("…")` in type position, computed dynamic imports, and comments
 * that switch the rule off. Reads text, not syntax trees: TypeScript 7 has no compiler API to ask.
 * Not here: static imports, which biome.json holds per layer (layers.test.ts plants them).
 */

/** The folders of src/, and what each may import of the others. Said here again on purpose: biome.json can be wrong. */
export const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  formats: ["base"],
  keys: ["base"],
  objects: ["base", "formats", "keys"],
  refs: ["base", "keys", "objects"],
  trust: ["base", "keys", "objects"],
  sync: ["base", "formats", "keys", "objects", "refs", "trust"],
  git: ["base", "formats", "keys", "objects", "refs", "trust"],
  repo: ["base", "formats", "keys", "objects", "refs", "trust", "sync", "git"],
  server: ["base", "repo"],
  cli: ["base", "keys", "repo", "server"],
};

export const LAYERS: readonly string[] = Object.keys(MAY_IMPORT);

// `import` that is called: a string alone, or anything else (which nobody can check before it runs).
const CALLED_IMPORT = /\bimport\s*\(\s*(?:(["'`])([^"'`$\n]*)\1\s*[,)]|([^\n]{0,40}))/gu;
const SWITCHED_OFF = /biome-ignore(?:-all|-start)?\s+lint(?:\/style(?:\/noRestricted\w+)?)?\s*[:(<\s]/gu;

/** The layer that a specifier names, seen from any depth: its first folder that is one. */
function layerNamed(specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return specifier.split("/").find((part) => LAYERS.includes(part));
}

/** Comments gone, so that prose about imports is not taken for one; line numbers stay. Strings are left as they are. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//gu, (all) => all.replace(/[^\n]/gu, " ")).replace(/^\s*\/\/.*$/gmu, "");
}

/**
 * Complaints about one source file, each as `path:line: what`; empty when there are none.
 *
 * @param path - below the root, as `src/trust/evaluate.ts`
 */
export function scanImports(path: string, text: string): string[] {
  const layer = path.split("/")[1] ?? "";
  const complaints: string[] = [];
  const complain = (source: string, index: number, what: string) => {
    complaints.push(`${path}:${source.slice(0, index).split("\n").length}: ${what}`);
  };
  for (const match of text.matchAll(SWITCHED_OFF)) {
    complain(text, match.index, "the layer rule is switched off");
  }
  const code = withoutComments(text);
  for (const match of code.matchAll(CALLED_IMPORT)) {
    const specifier = match[2];
    if (specifier === undefined) {
      complain(code, match.index, `import of something computed: ${match[3]}`);
      continue;
    }
    const target = layerNamed(specifier);
    if (target !== undefined && target !== layer && !MAY_IMPORT[layer]?.includes(target)) {
      complain(code, match.index, `${layer} may not import ${target}: ${specifier}`);
    }
    if (layer === "trust" && /\/objects\/[^/]+$/u.test(specifier)) {
      complain(code, match.index, `trust may import documents, not the stores: ${specifier}`);
    }
  }
  return complaints;
}
