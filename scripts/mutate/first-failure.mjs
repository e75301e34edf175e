// SPDX-License-Identifier: Apache-2.0
/** A reporter for `node --test` that ends the process at the first test that fails: one is enough to catch a mutant. */
// biome-ignore lint/style/noDefaultExport: node takes the default export of a reporter
export default async function* firstFailure(source) {
  for await (const { type, data } of source) {
    if (type === "test:fail") {
      yield data.name;
      process.exit(1);
    }
  }
}
