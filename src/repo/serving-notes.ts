// SPDX-License-Identifier: Apache-2.0
/**
 * What was looked at while something was worked out: refs, and files as they were before they were read. As long as they are
 * the same, so is what came of it. Layer: repo. Holds invariants 4 and 7. Not here: what the time changes.
 */
import type { RefPath } from "../base/ref-path.ts";
import type { FileStat, Files } from "../objects/files.ts";
import { TRASH_FOLDER } from "../objects/trash.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Breathe } from "../sync/plan.ts";

/** Between two forms of one file; in none of them. */
const BETWEEN = "\n";
/** Of a file that looked one way and then another: who knows which of them was read. No file looks so. */
const CHANGED = "changed";

export class Notes {
  /** Looked up along the tree, whether they were there or not. */
  readonly refs = new Set<RefPath>();
  readonly #forms = new Map<string, string>();

  /** A head that notes which refs are looked up. It cannot be walked: that would rest on all of them. */
  head(head: HeadView): HeadView {
    return {
      ...head,
      readRef: (ref) => {
        this.refs.add(ref);
        return head.readRef(ref);
      },
      listRefs() {
        throw new TypeError("expected refs to be looked up one by one, found a walk");
      },
    };
  }

  /** Files to read and stat, which note how each looked before it was read. Nothing else can be done with them. */
  files(files: Files): Files {
    const stat = async (path: string): Promise<FileStat | undefined> => {
      const found = await files.stat(path);
      // What comes into the trash leaves its place first.
      const [form, before] = [formOf(found), this.#forms.get(path)];
      if (found !== undefined || !path.startsWith(TRASH_FOLDER))
        this.#forms.set(path, before === undefined || before === form ? form : CHANGED);
      return found;
    };
    const read = async (path: string, limitBytes: number): Promise<Uint8Array | undefined> =>
      (await stat(path)) === undefined ? undefined : files.read(path, limitBytes);
    return new Proxy(files, {
      get(_, call) {
        if (call === "stat") return stat;
        if (call === "read") return read;
        throw new TypeError(`expected files to be read only, found a call of ${String(call)}`);
      },
    });
  }

  /** For `sameFiles`, in one text. */
  seenFiles(): string {
    return [...this.#forms].map(([path, form]) => `${path} ${form}`).join(BETWEEN);
  }
}

/** True if every file of `seenFiles` looks as it did: these are never rewritten, so they hold the same bytes. */
export async function sameFiles(files: Files, seen: string, breathe: Breathe): Promise<boolean> {
  for (const line of seen === "" ? [] : seen.split(BETWEEN)) {
    await breathe();
    const space = line.indexOf(" ");
    if (formOf(await files.stat(line.slice(0, space))) !== line.slice(space + 1)) return false;
  }
  return true;
}

function formOf(stat: FileStat | undefined): string {
  if (stat === undefined) return "-";
  const { kind, device, inode, sizeBytes, mtimeNs, ctimeNs } = stat;
  return [kind, device, inode, sizeBytes, mtimeNs, ctimeNs].join(" ");
}
