// SPDX-License-Identifier: Apache-2.0
/** The Files port on a folder inside the one that a port was opened on. Layer: objects. Holds invariant 9. */

import type { Files } from "./files.ts";
import { namesIn } from "./layout.ts";

/** @param folder - a plain relative path; it need not be there yet */
export function subFolder(files: Files, folder: string): Files {
  const at = (path: string): string => (path === "." ? folder : `${folder}/${path}`);
  return {
    writer: files.writer,
    read: (path, limitBytes) => files.read(at(path), limitBytes),
    open: (path) => files.open(at(path)),
    create: (path, mode, expectedBytes) => files.create(at(path), mode, expectedBytes),
    link: (from, to) => files.link(at(from), at(to)),
    rename: (from, to) => files.rename(at(from), at(to)),
    remove: (path) => files.remove(at(path)),
    touch: (path) => files.touch(at(path)),
    makeFolder: (path) => files.makeFolder(at(path)),
    removeFolder: (path) => files.removeFolder(at(path)),
    fsyncFolder: (path) => files.fsyncFolder(at(path)),
    list: (path, most) => files.list(at(path), most),
    isEmpty: (path) => files.isEmpty(at(path)),
    stat: (path) => files.stat(at(path)),
  };
}

/** Removes a folder of ours with all that is in it; what is neither file nor folder stays, and so do its folders. */
export async function removeTree(files: Files, path: string): Promise<void> {
  for (const name of await namesIn(files, path)) {
    const below = `${path}/${name}`;
    const stat = await files.stat(below);
    if (stat?.kind === "folder") await removeTree(files, below);
    else if (stat?.kind === "file") await files.remove(below);
  }
  await files.removeFolder(path);
}
