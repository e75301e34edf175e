// SPDX-License-Identifier: Apache-2.0
/** All that a store on a disk of the memory twin holds, to be compared with what it held before. Layer: test support. */
import type { MemoryFiles } from "./memory-files.ts";

/** What lies in the store's folder, but for local/tmp. */
export function contents(disk: MemoryFiles, folder: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const [path, bytes] of disk.snapshot("as they are")) {
    const within = path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined;
    if (within !== undefined && !within.startsWith("local/tmp/")) found.set(within, bytes);
  }
  return found;
}

/** Paths that are others, gone or new. */
export function difference(before: ReadonlyMap<string, Uint8Array>, after: ReadonlyMap<string, Uint8Array>): string[] {
  const isAnother = (one: Uint8Array, other?: Uint8Array): boolean =>
    one !== other && (other === undefined || Buffer.compare(one, other) !== 0);
  const changed = [...before].filter(([path, bytes]) => isAnother(bytes, after.get(path)));
  return [...changed.map(([path]) => path), ...[...after.keys()].filter((path) => !before.has(path))];
}
