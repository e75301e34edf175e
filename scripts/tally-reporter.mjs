// SPDX-License-Identifier: Apache-2.0
/** A reporter for `node --test` that writes one JSON line per finished test, for scripts/test.mjs to count. */
import { basename } from "node:path";

/** The outcome of one `test:pass` or `test:fail` event; undefined for a suite that only groups others. */
function outcomeOf({ type, data }) {
  const { skip, todo, name, file, details } = data;
  if (skip !== undefined && skip !== false) return { outcome: "skipped", reason: skip === true ? "" : String(skip) };
  if (todo !== undefined && todo !== false) return { outcome: "skipped", reason: `todo ${todo === true ? "" : todo}` };
  if (type === "test:fail") return { outcome: "failed" };
  if (details?.type === "suite") return undefined;
  // Node counts a file that declares no test as one passing test with the name of the file.
  if (name === file || (file !== undefined && data.nesting === 0 && name.endsWith(`/${basename(file)}`))) {
    return { outcome: "failed", reason: "the file ran no test" };
  }
  return { outcome: "passed" };
}

// biome-ignore lint/style/noDefaultExport: node --test takes the default export of a reporter
export default async function* tally(source) {
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const outcome = outcomeOf(event);
    if (outcome === undefined) continue;
    yield `${JSON.stringify({ name: event.data.name, file: event.data.file, ...outcome })}\n`;
  }
}
