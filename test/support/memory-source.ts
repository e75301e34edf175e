// SPDX-License-Identifier: Apache-2.0
/** A source whose items lie in memory: what an importer or a planner is tested with where no medium is needed. */
import type { Stored } from "../../src/objects/documents/schema.ts";
import type { BundleIndex } from "../../src/sync/bundle-index.ts";
import { itemPath, type Source } from "../../src/sync/source.ts";

/** @param files - bytes by the path that an item has in a volume; what is not there is passed over */
export function memorySource(index: Stored<BundleIndex>, files: ReadonlyMap<string, Uint8Array>): Source {
  const lost = index.value.items.map(itemPath).filter((path) => !files.has(path));
  return {
    index,
    missing: lost,
    async *parcels(wants) {
      for (const item of index.value.items) {
        const bytes = files.get(itemPath(item));
        if (bytes === undefined || !wants(item)) continue;
        yield {
          item,
          async *read() {
            yield bytes;
          },
        };
      }
    },
  };
}
