// SPDX-License-Identifier: Apache-2.0
/**
 * `fsck`: proves, offline, that every byte is what its name says and that every ref is what its signers signed.
 * Steps, in order: log, views, objects, refs, blobs, trash, index. Repairs only views and the index, which decide nothing.
 * Layer: repo.
 */
import { type Digest, isDigest, sha256, short } from "../base/digest.ts";
import { ERRORS, type ErrorCode, EXIT, passOthers } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { NameText } from "../base/names.ts";
import { counted, sizeText } from "../base/quantity.ts";
import { printable } from "../base/text.ts";
import { type HashedBlob, hashFile } from "../objects/chunk-hasher.ts";
import { blobPath, IMPORT_PREFIX, namesIn, objectPath, TEMP_FOLDER } from "../objects/layout.ts";
import { readStored } from "../objects/object-store.ts";
import { statKept, TRASH_FOLDER } from "../objects/trash.ts";
import { areViewsBehind } from "../refs/follow.ts";
import { checkViews, repairViews } from "../refs/views.ts";
import { type Claim, type Claims, checkRefs, type Wanted, wasHere } from "./fsck-refs.ts";
import { checkTrash } from "./fsck-trash.ts";
import { stagingTally } from "./gc.ts";
import { INCOMING_FOLDER } from "./move-in.ts";
import { checkIndex } from "./names.ts";
import { countReserve, RESERVE_FOLDER } from "./reserve.ts";
import type { Store } from "./store.ts";

export interface Problem {
  readonly code: ErrorCode;
  /** What it concerns: a path in the store, a ref, a log entry. */
  readonly where: string;
  readonly text: string;
  /** Of a blob: the names that need it, sorted. Left out where none does. */
  readonly names?: readonly NameText[];
}

export interface FsckReport {
  readonly problems: readonly Problem[];
  /** Views that were rewritten from the log (or, in a read-only store, that should be). */
  readonly repaired: readonly string[];
  /** Worth knowing, no damage: leftovers, signatures that count for nothing. */
  readonly notes: readonly string[];
  readonly checked: {
    readonly entries: number;
    readonly objects: number;
    readonly refs: number;
    readonly blobs: number;
  };
  /** 0, or 5 for damage, else 3 for a name under refs/trusted that is not trusted now, else 9 for bytes still to come. */
  readonly exit: number;
}

/** Names that are told one by one. */
const MOST_TOLD = 8;

function listText(names: readonly string[]): string {
  const more = names.length > MOST_TOLD ? ` and ${names.length - MOST_TOLD} more` : "";
  return `${names.slice(0, MOST_TOLD).join(", ")}${more}`;
}

/** What the steps collect. */
export class Findings {
  readonly problems: Problem[] = [];
  readonly repaired: string[] = [];
  readonly notes: string[] = [];

  problem(code: ErrorCode, where: string, text: string): void {
    this.problems.push({ code, where: printable(where), text: printable(text) });
  }

  /** @param claims - of the manifests that need the blob */
  blobProblem(code: ErrorCode, where: string, text: string, claims: readonly Claim[] = []): void {
    const names = [...new Set(claims.map(({ name }) => name))].sort();
    const who = names.length === 0 ? "" : `; needed by ${listText(names)}`;
    const needed = names.length === 0 ? {} : { names };
    this.problems.push({ code, where, text: printable(`${text}${who}`), ...needed });
  }

  /** Runs a step; a CofferError becomes a problem, anything else is a bug and goes on up. */
  async attempt(where: string, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      passOthers(error);
      this.problem(error.code, where, error.message);
    }
  }
}

/** @param onStep - told before each step, for progress. @throws CofferError only where the store cannot be read at all */
export async function fsck(store: Store, onStep: (step: string) => void = () => undefined): Promise<FsckReport> {
  const found = new Findings();
  const checked = { entries: 0, objects: 0, refs: 0, blobs: 0 };
  onStep("log");
  await found.attempt("log", async () => {
    for await (const { facts } of store.log.entries()) {
      checked.entries += 1;
      if (facts.number === 1 && facts.note?.startsWith("adopt-restore:") === true) {
        found.notes.push(`the log began after a restore, and lacks what was revoked then: ${printable(facts.note)}`);
      }
    }
  });
  onStep("views");
  await found.attempt("refs", () => checkAllViews(store, found));
  onStep("objects");
  checked.objects = await checkFolders(store, "objects", found, (path, id) => checkObject(store, path, id, found));
  await checkSignatureFiles(store, found);
  onStep("refs");
  const wanted: Wanted = new Map();
  await found.attempt("refs", async () => {
    checked.refs = await checkRefs(store, found, wanted);
  });
  onStep("blobs");
  checked.blobs = await checkFolders(store, "blobs", found, (path, id) =>
    checkBlob(store, path, id, wanted.get(id), found),
  );
  await found.attempt("blobs", () => checkMissingBlobs(store, wanted, found));
  await found.attempt(TRASH_FOLDER, () =>
    checkTrash(store, found, {
      objects: (path, id) => checkObject(store, path, id, found),
      blobs: (path, id) => checkBlob(store, path, id, wanted.get(id), found),
    }),
  );
  await found.attempt(TEMP_FOLDER, () => checkTemp(store, found));
  await found.attempt(RESERVE_FOLDER, () => checkReserve(store, found));
  await found.attempt(INCOMING_FOLDER, () => checkIncoming(store, found));
  onStep("index");
  await found.attempt("local/index", () => checkNames(store, found));
  return { ...found, checked, exit: exitOf(found.problems) };
}

/** Damage before trust before bytes that are still to come: a name that is denied for a stated reason is no damage. */
function exitOf(problems: readonly Problem[]): number {
  const exits = new Set(problems.map((problem) => ERRORS[problem.code].exit as number));
  if (exits.size === 0) return EXIT.ok;
  if ([...exits].some((exit) => exit !== EXIT.incomplete && !DENIALS.has(exit))) return EXIT.corrupt;
  return [...exits].some((exit) => DENIALS.has(exit)) ? EXIT.notTrusted : EXIT.incomplete;
}
const DENIALS: ReadonlySet<number> = new Set([EXIT.notTrusted, EXIT.conflict]);

/** Without local/tmp nothing can be written; a copy that leaves out empty folders has none. */
async function checkTemp(store: Store, found: Findings): Promise<void> {
  const leftovers = await store.files.list(TEMP_FOLDER);
  if (store.mendedTemp) found.notes.push(`${TEMP_FOLDER} was missing and was made again: was the store copied?`);
  if (leftovers === undefined)
    found.notes.push(`${TEMP_FOLDER} is missing; it is made again when an account that can write opens the store`);
  const imports = (leftovers ?? []).filter((name) => name.startsWith(IMPORT_PREFIX)).length;
  const others = (leftovers ?? []).length - imports;
  if (others > 0) {
    const so = "acts that write remove them once their writers have ended, or a day later where that cannot be told";
    found.notes.push(`${others} temporary files in ${TEMP_FOLDER}, left by an interrupted act; ${so}`);
  }
  if (imports > 0) {
    const { files, bytes } = await stagingTally(store.files, store.ports.clock());
    const what = `${counted(files, "file")}, ${sizeText(bytes)}, in ${TEMP_FOLDER} of imports that were stopped`;
    found.notes.push(`${what}; the same import goes on with them, \`coffer gc --older-than 0\` removes them`);
  }
}

async function checkReserve(store: Store, found: Findings): Promise<void> {
  const { found: pieces, expected } = await countReserve(store.files);
  if (pieces < expected)
    found.notes.push(
      `${RESERVE_FOLDER} holds ${pieces} of ${expected} pieces; the next commit that has room makes the others`,
    );
}

/** Files that `add --move` took and did not finish with: somebody wants them back. */
async function checkIncoming(store: Store, found: Findings): Promise<void> {
  const files = (await namesIn(store.files, INCOMING_FOLDER)).filter((name) => !name.endsWith(".from"));
  if (files.length === 0) return;
  const text = `${files.length} files in ${INCOMING_FOLDER}, of an interrupted \`add --move\` or one that still runs`;
  found.notes.push(`${text}; the file beside each that ends in .from says where it came from`);
}

/** The index decides nothing, so what is wrong with it is mended and told, and is no damage. */
async function checkNames(store: Store, found: Findings): Promise<void> {
  const { faults, rebuilt } = await checkIndex(store, await store.head());
  for (const fault of faults) found.notes.push(printable(fault));
  if (rebuilt) found.repaired.push("local/index");
  else if (faults.length > 0)
    found.notes.push("the local index is not as it should be; an account that writes mends it");
}

async function checkAllViews(store: Store, found: Findings): Promise<void> {
  const head = await store.head();
  const differences = await checkViews(store.files, head.listRefs());
  if (differences.length === 0 && (store.readOnly || !(await areViewsBehind(store.log, head.number)))) return;
  for (const { path } of differences) found.repaired.push(printable(path));
  if (store.readOnly) {
    found.notes.push("views differ from the log; this account cannot write, so they were left as they are");
    return;
  }
  const target = { files: store.files, random: store.ports.random };
  const left = await repairViews(target, differences, () => store.head());
  for (const { path } of left) found.problem("CORRUPT", path, "a view that could not be put right");
  if (left.length === 0 && (await areViewsBehind(store.log, head.number))) {
    await store.log.writeHint(head.number, store.ports.random);
  }
}

/** Every file of a fanned-out folder, by the digest that its path spells. */
async function checkFolders(
  store: Store,
  folder: "objects" | "blobs",
  found: Findings,
  check: (path: string, id: Digest) => Promise<void>,
): Promise<number> {
  let count = 0;
  for (const first of await namesIn(store.files, folder)) {
    for (const rest of await namesIn(store.files, `${folder}/${first}`)) {
      const id = `${first}${rest}`;
      const path = `${folder}/${first}/${rest}`;
      if (SILLY_NAME.test(rest)) {
        found.notes.push(
          `${path} is what NFS keeps of a file that was replaced while somebody read it; it goes by itself`,
        );
        continue;
      }
      if (first.length !== 2 || !isDigest(id)) {
        found.problem("CORRUPT", path, "expected only files named by a digest");
        continue;
      }
      count += 1;
      await found.attempt(path, () => check(path, id));
    }
  }
  return count;
}

async function checkObject(store: Store, path: string, id: Digest, found: Findings): Promise<void> {
  const bytes = await readStored(store.files, path, LIMITS.documentBytes);
  if (bytes === undefined) return; // gone since the folder was listed
  const actual = sha256(bytes);
  if (actual !== id) found.problem("CORRUPT", path, `its bytes are those of ${short(actual)}`);
}

async function checkBlob(
  store: Store,
  path: string,
  id: Digest,
  claims: Claims | undefined,
  found: Findings,
): Promise<void> {
  const file = await store.files.open(path);
  if (file === undefined) return; // gone since the folder was listed
  try {
    const actual = await hashFile(file);
    if (actual.sha256 !== id)
      return found.blobProblem("CORRUPT", path, `its bytes are those of ${short(actual.sha256)}`, claims);
    for (const claim of claims ?? []) checkClaim(claim, actual, found);
    const list = actual.chunks?.id;
    const isNamed = list !== undefined && claims?.some((claim) => claim.file.chunks === list) === true;
    if (isNamed && (await store.objects.read(list)) === undefined) {
      found.blobProblem("CORRUPT", path, `its chunk list ${short(list)} is missing`, claims);
    }
  } finally {
    await file.close();
  }
}

/** What is wrong about a blob that is whole is the manifest's fault: nothing here is damaged, and nobody gets it by that one. */
function checkClaim({ manifest, file, trusted }: Claim, actual: HashedBlob, found: Findings): void {
  const which = `blob ${short(file.sha256)} (${file.path}), which is whole`;
  const text =
    file.size !== actual.sizeBytes
      ? `says ${file.size} bytes of ${which} and has ${actual.sizeBytes}`
      : file.chunks !== actual.chunks?.id
        ? `names another chunk list than that of ${which}`
        : undefined;
  if (text === undefined) return;
  if (trusted) found.problem("EVIDENCE_FAILED", objectPath(manifest), text);
  else found.notes.push(printable(`${objectPath(manifest)} ${text}: made wrong, and of no use`));
}

async function checkMissingBlobs(store: Store, wanted: Wanted, found: Findings): Promise<void> {
  if (wanted.size === 0) return; // also where the log is damaged, which was told
  const head = await store.head();
  for (const [id, claims] of wanted) {
    if ((await statKept(store.files, blobPath(id))) !== undefined) continue;
    const { path } = claims[0].file;
    await found.attempt(blobPath(id), async () => {
      if (await wasHere(store, head, claims)) found.blobProblem("CORRUPT", blobPath(id), `${path} is missing`, claims);
      else found.blobProblem("BLOB_MISSING", blobPath(id), `${path} has not come yet`, claims);
    });
  }
}

const SILLY_NAME = /^\.nfs[0-9a-f]{8,40}$/;
const SIGNATURE_FILE = /^[0-9a-f]{62}\.[0-9a-f]{64}\.sig$/;

/** Signatures are checked where they count, with the refs; here only what cannot be one is named. */
async function checkSignatureFiles(store: Store, found: Findings): Promise<void> {
  for (const first of await namesIn(store.files, "signatures")) {
    for (const rest of await namesIn(store.files, `signatures/${first}`)) {
      if (!SIGNATURE_FILE.test(rest) && !SILLY_NAME.test(rest))
        found.notes.push(`${printable(`signatures/${first}/${rest}`)} is not a signature`);
    }
  }
}
