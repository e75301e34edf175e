// SPDX-License-Identifier: Apache-2.0
/**
 * The refs as of one log entry: how everything above this layer reads state.
 * Layer: refs. Format: docs/format.md, "The log". Holds invariant 4. Not here: which entry is the newest (log.ts).
 */
import type { Digest } from "../base/digest.ts";
import type { RefPath } from "../base/ref-path.ts";
import type { Time } from "../base/time.ts";
import type { ObjectReader } from "../objects/object-store.ts";
import type { LogLine } from "./log-entry.ts";
import type { NodeCache } from "./ref-node.ts";
import { listRefs, refReader } from "./ref-tree.ts";

export interface HeadView {
  /** Of the log entry. */
  readonly number: number;
  readonly id: Digest;
  readonly time: Time;
  /** Of the ref tree. */
  readonly root: Digest;
  /** True for a state that was asked for by its number: it is judged by its own time, and nothing is used on its word. */
  readonly past?: true;
  /** What `ref` holds; undefined if it is not there. @throws CofferError CORRUPT - its path in the tree is damaged */
  readRef(ref: RefPath): Promise<Digest | undefined>;
  /** Refs that start with `prefix`, in tree order; walks the whole tree. @throws CofferError CORRUPT */
  listRefs(prefix?: string): AsyncIterable<readonly [RefPath, Digest]>;
}

/** The state after a verified entry, the newest or a past one. */
export function viewOf(entry: LogLine, reader: ObjectReader, cache?: NodeCache): HeadView {
  const { number, time, refs: root } = entry.facts;
  return {
    number,
    id: entry.id,
    time,
    root,
    readRef: refReader(reader, root, cache),
    listRefs: (prefix) => listRefs(reader, root, prefix, cache),
  };
}
