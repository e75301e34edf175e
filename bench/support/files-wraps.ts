// SPDX-License-Identifier: Apache-2.0
/** The Files port with something around it: what it does written down, or fsyncs left out. For benches only. */
import type { FileStat, Files, NewFile } from "../../src/objects/files.ts";

export interface Created {
  readonly path: string;
  /** The name that it got by rename or link. */
  to?: string;
  bytes: number;
  fsynced: boolean;
}

/** What was done through the port, in order. */
export interface Trace {
  /** Files that were read whole and were there. */
  readonly read: string[];
  /** Looked for and not there. */
  readonly absent: string[];
  /** Created files: `bytes` written, whether fsynced. */
  readonly created: Created[];
  /** Folders that were fsynced. */
  readonly folders: string[];
  /** Folders that were not there before. */
  readonly madeFolders: string[];
  readonly removed: string[];
  readonly removedFolders: string[];
}

export function newTrace(): Trace {
  return { read: [], absent: [], created: [], folders: [], madeFolders: [], removed: [], removedFolders: [] };
}

/** @param trace - asked at each call, so that one port can fill several */
export function traced(files: Files, trace: () => Trace): Files {
  const read = async (path: string, limitBytes: number): Promise<Uint8Array | undefined> => {
    const bytes = await files.read(path, limitBytes);
    trace()[bytes === undefined ? "absent" : "read"].push(path);
    return bytes;
  };
  const stat = async (path: string): Promise<FileStat | undefined> => {
    const found = await files.stat(path);
    if (found === undefined) trace().absent.push(path);
    return found;
  };
  const fsyncFolder = (path: string): Promise<void> => {
    trace().folders.push(path);
    return files.fsyncFolder(path);
  };
  const create = async (path: string, mode: number): Promise<NewFile | undefined> => {
    const file = await files.create(path, mode);
    if (file === undefined) return undefined;
    const made: Created = { path, bytes: 0, fsynced: false };
    trace().created.push(made);
    return replacing(file, {
      write: (bytes: Uint8Array) => {
        made.bytes += bytes.length;
        return file.write(bytes);
      },
      fsync: () => {
        made.fsynced = true;
        return file.fsync();
      },
    });
  };
  const named = (from: string, to: string): void => {
    for (const made of trace().created) if (made.path === from) made.to = to;
  };
  const rename = (from: string, to: string): Promise<void> => {
    named(from, to);
    return files.rename(from, to);
  };
  const link = (from: string, to: string): Promise<boolean> => {
    named(from, to);
    return files.link(from, to);
  };
  /** Notes `path` where the call did something. */
  const noting =
    (call: (path: string) => Promise<boolean>, list: (trace: Trace) => string[]) =>
    async (path: string): Promise<boolean> => {
      const did = await call(path);
      if (did) list(trace()).push(path);
      return did;
    };
  const makeFolder = noting(
    (path) => files.makeFolder(path),
    (to) => to.madeFolders,
  );
  const remove = noting(
    (path) => files.remove(path),
    (to) => to.removed,
  );
  const removeFolder = noting(
    (path) => files.removeFolder(path),
    (to) => to.removedFolders,
  );
  return replacing(files, { read, stat, fsyncFolder, create, rename, link, makeFolder, remove, removeFolder });
}

/** For building what can be built again: nothing is made durable. */
export function withoutFsync(files: Files): Files {
  const none = (): Promise<void> => Promise.resolve();
  const create = async (path: string, mode: number): Promise<NewFile | undefined> => {
    const file = await files.create(path, mode);
    return file && replacing(file, { fsync: none });
  };
  return replacing(files, { create, fsyncFolder: none });
}

/** `target` with some methods replaced; the others run on `target` itself, whose private fields they need. */
function replacing<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(_, key) {
      const own: unknown = Reflect.get(Reflect.has(methods, key) ? methods : target, key);
      return typeof own === "function" ? own.bind(target) : own;
    },
  });
}
