// SPDX-License-Identifier: Apache-2.0
/**
 * `add`: bytes come in untrusted. Each source is read once, straight into the store's own temporary file; that copy is
 * inspected; then blobs, chunk lists, manifest and evidence are made durable and one transaction moves the ref.
 * Layer: repo. Format: docs/format.md, "Acts". Holds invariants 1 and 4. Grants nothing: see promote.ts.
 */
import type { Digest } from "../base/digest.ts";
import { CofferError, isCofferError } from "../base/errors.ts";
import { type Name, parseLabel } from "../base/names.ts";
import { nameRef } from "../base/ref-path.ts";
import { type Finding, type Inspection, inspect } from "../formats/inspect.ts";
import { signSshsig } from "../keys/sshsig.ts";
import { confirmBlobs, discardBlobs, publishBlobs, type StagedBlob, stageBlob } from "../objects/blob-store.ts";
import { type Manifest, makeManifest } from "../objects/documents/manifest.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { FileStat } from "../objects/files.ts";
import { readPieces } from "../objects/pieces.ts";
import type { WriteBatch } from "../objects/write-batch.ts";
import type { HeadView } from "../refs/head-view.ts";
import { evidenceMoves, findingsOf, inspectionEvidence, isInspected, stagedReader } from "./inspection.ts";
import { forgetMoved, giveBack, type MovedFile, moveIn } from "./move-in.ts";
import { judge } from "./resolve.ts";
import type { SourceFile } from "./sources.ts";
import type { Store } from "./store.ts";

/** Blobs that get their names in one go: the folder of each is open for its fsync at the same time. */
const PUBLISH_AT_ONCE = 64;

export interface AddRequest {
  readonly name: Name;
  readonly files: readonly SourceFile[];
  /** Keep what fails inspection under refs/acquired, which nothing can promote. */
  readonly keep: boolean;
  /** Take the files themselves: no copy is made, and they are gone from where they were. */
  readonly move?: boolean;
  readonly license?: string;
  readonly source?: { readonly url: string; readonly revision: string };
  /** Called as bytes are read: total so far. */
  readonly onBytes?: (bytes: number) => void;
}

export interface Added {
  readonly name: Name;
  readonly manifest: Digest;
  /** `trusted`: the name holds just this manifest and is trusted, so nothing was put in quarantine. */
  readonly state: "quarantined" | "acquired" | "trusted";
  readonly files: Manifest["files"];
  readonly findings: readonly Finding[];
  /** False if the ref already held this manifest. */
  readonly moved: boolean;
}

interface Intake {
  readonly source: SourceFile;
  readonly staged: StagedBlob;
  readonly inspection: Inspection;
}

/**
 * @throws CofferError ADMISSION_REFUSED - with every finding; nothing is stored. PATH_INVALID, SOURCE_CHANGED, NO_SPACE,
 *   IO_ERROR, NO_STORE_KEY, REF_MOVED. The store is as before or has the whole model.
 */
export async function add(store: Store, request: AddRequest): Promise<Added> {
  await store.needSigner();
  await store.sweep(); // what a stopped act left may be as large as what comes now
  const staged: StagedBlob[] = [];
  const moved: MovedFile[] = [];
  let published = false;
  try {
    const intakes = await takeIn(store, request, staged, moved);
    const findings = await findingsOf(
      intakes.map(({ source, staged, inspection }) => {
        return { path: source.path, reader: stagedReader(store.files, staged), inspection };
      }),
    );
    const failed = findings.filter((finding) => finding.level === "fail");
    if (failed.length > 0 && !request.keep) throw refused(failed);
    const manifest = describe(request, intakes);
    const batch = store.batch();
    for (const { chunks } of staged) if (chunks !== undefined) batch.addObject(chunks);
    batch.addObject(manifest);
    published = true;
    await publishAll(store, staged);
    staged.length = 0;
    const family = failed.length === 0 ? "quarantined" : "acquired";
    const landed = await land(store, request.name, family, manifest, findings, batch);
    await confirmBlobs(store.files, new Set(manifest.value.files.map((file) => file.sha256)));
    await forgetMoved(store, moved);
    return { name: request.name, manifest: manifest.id, files: manifest.value.files, findings, ...landed };
  } catch (error) {
    await discardBlobs(store.files, staged);
    throw await undoMoves(store, moved, published, error);
  }
}

/** Gives back what was moved, as long as no blob is the same file; else says where it lies. */
async function undoMoves(
  store: Store,
  moved: readonly MovedFile[],
  published: boolean,
  error: unknown,
): Promise<unknown> {
  if (moved.length === 0 || !isCofferError(error)) return error;
  const lines = published
    ? moved.map(({ source, incoming }) => `${source.path} lies whole in ${incoming}: add it from there, without --move`)
    : await giveBack(store, moved);
  if (lines.length === 0) return error;
  return new CofferError(error.code, error.message, { cause: error, details: [...error.details, ...lines] });
}

async function takeIn(store: Store, request: AddRequest, staged: StagedBlob[], moved: MovedFile[]): Promise<Intake[]> {
  const intakes: Intake[] = [];
  let total = 0;
  for (const source of request.files) {
    const onBytes = (bytes: number): void => {
      total += bytes;
      request.onBytes?.(total);
    };
    const blob =
      request.move === true ? await moveIn(store, source, moved, onBytes) : await stageSource(store, source, onBytes);
    staged.push(blob);
    const inspection = await inspect(source.path, stagedReader(store.files, blob));
    intakes.push({ source, staged: blob, inspection });
  }
  return intakes;
}

/** One pass over the source; a file that another program changes meanwhile is refused. */
async function stageSource(store: Store, source: SourceFile, onBytes: (bytes: number) => void): Promise<StagedBlob> {
  const file = await store.ports.openFolder(source.folder).open(source.file);
  if (file === undefined) throw new CofferError("FILE_NOT_FOUND", `${source.path}: no such file`);
  try {
    const before = await file.stat();
    const { sizeBytes } = before;
    const pieces = counted(readPieces(file, sizeBytes), onBytes);
    const blob = await stageBlob(store.files, store.ports.random, pieces, sizeBytes);
    const after = await file.stat();
    if (!isSame(before, after) || blob.sizeBytes !== after.sizeBytes) {
      await discardBlobs(store.files, [blob]);
      throw new CofferError("SOURCE_CHANGED", `${source.path}: the file changed while it was read`);
    }
    return blob;
  } finally {
    await file.close();
  }
}

/** A program may set mtime back to what it was, but not ctime. */
function isSame(before: FileStat, after: FileStat): boolean {
  return (
    after.sizeBytes === before.sizeBytes &&
    after.mtimeNs === before.mtimeNs &&
    after.ctimeNs === before.ctimeNs &&
    after.inode === before.inode &&
    after.device === before.device
  );
}

async function* counted(
  pieces: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    onBytes(piece.length);
  }
}

/** In the order of their names, so that each folder is made durable about once. */
async function publishAll(store: Store, staged: readonly StagedBlob[]): Promise<void> {
  const blobs = [...staged].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
  for (let at = 0; at < blobs.length; at += PUBLISH_AT_ONCE) {
    await publishBlobs(store.files, blobs.slice(at, at + PUBLISH_AT_ONCE));
  }
}

function refused(failed: readonly Finding[]): CofferError {
  const lines = failed.map((finding) => `${finding.path ?? "(all files)"}: ${finding.text} (${finding.code})`);
  const [first = "refused", ...others] = lines;
  return new CofferError("ADMISSION_REFUSED", `${first}; nothing was stored`, { details: others });
}

function describe(request: AddRequest, intakes: readonly Intake[]): Stored<Manifest> {
  const files = intakes.map(({ source, staged, inspection }) => ({
    path: source.path,
    size: staged.sizeBytes,
    sha256: staged.sha256,
    format: parseLabel(inspection.format, "format"),
    ...(staged.chunks === undefined ? {} : { chunks: staged.chunks.id }),
  }));
  const { license, source } = request;
  return makeManifest({
    files,
    ...(license === undefined ? {} : { license }),
    ...(source === undefined ? {} : { source }),
  });
}

/** Inspection evidence of this store, then the ref; both in one transaction. */
async function land(
  store: Store,
  name: Name,
  family: "quarantined" | "acquired",
  manifest: Stored<Manifest>,
  findings: readonly Finding[],
  batch: WriteBatch,
): Promise<Pick<Added, "state" | "moved">> {
  const evidence = inspectionEvidence(manifest.id, findings, store.ports.clock());
  const armored = await signSshsig(await store.needSigner(), "coffer-evidence", evidence.bytes);
  const ref = nameRef(family, name);
  let state: Added["state"] = family;
  const committed = await store.commit(async (head) => {
    const moves = [];
    const standing = family === "quarantined" && (await isTrustedAs(store, head, name, manifest.id));
    state = standing ? "trusted" : family;
    if (!(await isInspected(store, head, name, manifest.id, evidence.value.result))) {
      moves.push(...(await evidenceMoves(store, head, batch, [{ evidence, armored }])));
    }
    if (state !== "trusted" && (await head.readRef(ref)) !== manifest.id) moves.push({ ref, to: manifest.id });
    if (moves.length === 0) {
      await batch.flush(); // mends a manifest or chunk list that was lost
      return undefined;
    }
    return { moves, batch, note: `add ${name.text}` };
  });
  return { state, moved: committed !== undefined };
}

/** What is damaged is not trusted now: it goes into quarantine like anything else, and may be mended by that. */
async function isTrustedAs(store: Store, head: HeadView, name: Name, manifest: Digest): Promise<boolean> {
  try {
    const verdict = await judge(store, head, name);
    return verdict.trusted && verdict.manifest === manifest;
  } catch (error) {
    if (isCofferError(error, "CORRUPT")) return false;
    throw error;
  }
}
