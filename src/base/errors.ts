// SPDX-License-Identifier: Apache-2.0
/**
 * The one error class and the closed table of its codes.
 * Layer: base. docs/errors.md mirrors ERRORS; test/base/errors.test.ts compares them.
 */

/** What each exit status of the CLI means (docs/errors.md). */
export const EXIT = {
  ok: 0,
  internal: 1,
  usage: 2,
  notTrusted: 3,
  badSignature: 4,
  corrupt: 5,
  notFound: 6,
  conflict: 7,
  busy: 8,
  incomplete: 9,
  noSpace: 10,
  past: 11,
} as const;

/** Where several things went wrong at once: what is told by the one status, the worst first. */
const WORST_FIRST = [
  ...[EXIT.internal, EXIT.noSpace, EXIT.corrupt, EXIT.badSignature, EXIT.notTrusted],
  ...[EXIT.usage, EXIT.notFound, EXIT.conflict, EXIT.busy, EXIT.incomplete],
] as const;

/** @returns `EXIT.ok` if there is none */
export function worstOf(statuses: readonly number[]): number {
  return WORST_FIRST.find((status) => statuses.includes(status)) ?? Math.max(EXIT.ok, ...statuses);
}

/** `exit`: process status. `hint`: the next thing to do, a full clause without a full stop. */
export interface ErrorEntry {
  readonly exit: number;
  readonly hint: string;
}

const entry = (exit: number, hint: string): ErrorEntry => ({ exit, hint });

/** Every code that a caller may branch on, with its exit status and the next step. */
export const ERRORS = {
  INTERNAL: entry(EXIT.internal, "this is a bug in coffer; run again with COFFER_TRACE=1 and report what it prints"),
  // usage and untrusted input
  USAGE: entry(EXIT.usage, "see `coffer help` and `coffer help <command>`"),
  NAME_INVALID: entry(EXIT.usage, "write names as namespace/model@version, in lower-case letters, digits, . _ and -"),
  TIME_INVALID: entry(EXIT.usage, "write times as YYYY-MM-DDTHH:MM:SSZ, years 2020 to 2199"),
  DIGEST_INVALID: entry(EXIT.usage, "write a digest as 64 lower-case hex characters"),
  DIGEST_AMBIGUOUS: entry(EXIT.usage, "give more characters of the digest"),
  PATH_INVALID: entry(EXIT.usage, "rename the file: see the rules for paths in docs/format.md"),
  JSON_INVALID: entry(EXIT.usage, "the text is not the JSON that was expected; see docs/format.md"),
  DOCUMENT_INVALID: entry(EXIT.usage, "the document does not follow its schema; see docs/format.md"),
  UNSUPPORTED: entry(EXIT.usage, "this version of coffer does not know that feature; use a newer one"),
  LIMIT_EXCEEDED: entry(EXIT.usage, "the input is over a fixed limit; see the table of limits in docs/format.md"),
  KEY_INVALID: entry(EXIT.usage, "coffer takes OpenSSH Ed25519 keys; make one with `coffer key new <name>`"),
  KEY_WEAK: entry(EXIT.usage, "the public key is a small-order or non-canonical point; make a new key"),
  KEY_NOT_FOUND: entry(EXIT.usage, "give the private key with --key, or make one with `coffer key new <name>`"),
  KEY_MODE: entry(EXIT.usage, "close the private key to others: chmod 600 <file>"),
  PASSPHRASE_NEEDED: entry(EXIT.usage, "run on a terminal, or give --passphrase-file"),
  PASSPHRASE_WRONG: entry(EXIT.usage, "try the passphrase again"),
  CONFIRM_NEEDED: entry(EXIT.usage, "run on a terminal, or give --yes after reading what is signed"),
  RECIPIENT_INVALID: entry(EXIT.usage, "give the receiver's recipient, age1...; `age-keygen -y` prints it"),
  IDENTITY_INVALID: entry(EXIT.usage, "give an identity file as `age-keygen` writes it"),
  IDENTITY_NEEDED: entry(EXIT.usage, "give the identity of a recipient with --identity FILE or COFFER_IDENTITY"),
  IDENTITY_WRONG: entry(
    EXIT.usage,
    "give the identity that it was encrypted to, or have it encrypted to yours as well",
  ),
  POLICY_INVALID: entry(EXIT.usage, "mend the policy: the message names the member; see docs/format.md"),
  EXISTS: entry(EXIT.usage, "choose another name or place, or move away what is there: nothing is overwritten"),
  // admission
  ADMISSION_REFUSED: entry(
    EXIT.notTrusted,
    "convert the model to gguf or safetensors, or keep it apart with `coffer add --keep`",
  ),
  // trust
  NOT_TRUSTED: entry(EXIT.notTrusted, "see where it stands with `coffer show <name>`"),
  NO_RULE: entry(EXIT.notTrusted, "no rule of the policy covers this name; see `coffer policy show`"),
  NOT_ALLOWED: entry(EXIT.notTrusted, "ask somebody whom the rule names; see `coffer policy show`"),
  PUBLISHER_MISSING: entry(EXIT.notTrusted, "ask a publisher to run `coffer propose`"),
  APPROVALS_SHORT: entry(EXIT.notTrusted, "ask another approver to run `coffer approve`"),
  FORMAT_REFUSED: entry(EXIT.notTrusted, "the rule does not admit this format; see `coffer policy show`"),
  EVIDENCE_MISSING: entry(EXIT.notTrusted, "the rule asks for evidence that is not here; see `coffer show <name>`"),
  EVIDENCE_FAILED: entry(EXIT.notTrusted, "an inspection failed; see `coffer show <name>`"),
  REVOKED: entry(EXIT.notTrusted, "these bytes were revoked; promote other bytes"),
  DELETED: entry(EXIT.notTrusted, "the name was deleted; promote bytes under it anew"),
  NOT_REVOKED: entry(EXIT.notTrusted, "run `coffer revoke <name>` first, or give --revoke to do both"),
  REFUSED: entry(
    EXIT.notTrusted,
    "an approver refused it; once that is settled, run `coffer propose <name> --replace`",
  ),
  EXPIRED: entry(EXIT.notTrusted, "propose and promote it again with a later end"),
  NOT_YET_VALID: entry(EXIT.notTrusted, "check this machine's clock"),
  STALE: entry(EXIT.notTrusted, "what is known about revocations is too old; propose and promote it again"),
  CANDIDATE_VOID: entry(EXIT.notTrusted, "the name moved since; run `coffer propose` again"),
  NOT_PROPOSED: entry(EXIT.notTrusted, "run `coffer propose <name>` first"),
  NOT_QUARANTINED: entry(
    EXIT.notTrusted,
    "run `coffer add` first: nothing that passed inspection stands under this name",
  ),
  CANDIDATE_EXISTS: entry(EXIT.conflict, "approve or promote it, or give --replace"),
  LOG_BEHIND_MEMORY: entry(
    EXIT.notTrusted,
    "this store is older than what this machine has seen, or a copy that went another way: use the one that went on here; if it is lost, see `coffer log adopt-restore`",
  ),
  RESTORE_UNCONFIRMED: entry(
    EXIT.notTrusted,
    "find out what was revoked in the entries that are lost, then run it with --head and --accept-lost-revocations",
  ),
  NO_MEMORY: entry(EXIT.notTrusted, "run `coffer resolve` once where the store is known good, or give --no-memory"),
  FOREIGN_ROOT: entry(
    EXIT.notTrusted,
    "another policy root: compare it with its people, then `coffer clone`, or promote what is quarantined yourself",
  ),
  // signatures
  SIGNATURE_INVALID: entry(
    EXIT.badSignature,
    "what others signed: fetch it again from them; your own: ssh-keygen -Y sign -n <namespace> -f <key> <file>",
  ),
  // damage
  CORRUPT: entry(EXIT.corrupt, "run `coffer fsck`; restore what it names from a copy"),
  OBJECT_MISMATCH: entry(EXIT.corrupt, "the bytes are not those of their name; fetch them again"),
  BUNDLE_INVALID: entry(
    EXIT.corrupt,
    "do not use this medium; make the bundle again with `coffer bundle create`, and find out who wrote this one",
  ),
  VOLUME_DAMAGED: entry(EXIT.corrupt, "cut that volume again: `coffer bundle create --again <volume> --only-volume N`"),
  // not found
  STORE_NOT_FOUND: entry(EXIT.notFound, "give --store, set COFFER_STORE, or make one with `coffer init`"),
  NAME_NOT_FOUND: entry(EXIT.notFound, "list names with `coffer list`"),
  REMOTE_NOT_FOUND: entry(EXIT.notFound, "see `coffer remote list`, or add it with `coffer remote add`"),
  ENTRY_NOT_FOUND: entry(EXIT.notFound, "see `coffer log` for the entries that there are"),
  OBJECT_NOT_FOUND: entry(EXIT.notFound, "run `coffer fsck`; restore what is missing from a copy"),
  FILE_NOT_FOUND: entry(EXIT.notFound, "check the path"),
  // conflict
  REF_MOVED: entry(EXIT.conflict, "other writers were first each time; try again"),
  REMOTE_MOVED: entry(
    EXIT.conflict,
    "pull from that remote by its name, then push again; without a name, give it one first with `coffer remote add`",
  ),
  LOG_FORKED: entry(
    EXIT.conflict,
    "see `coffer log fork show`, and ask who keeps that store; its revocations were taken, nothing that it trusts",
  ),
  DIVERGED: entry(EXIT.conflict, "several promotions stand side by side; promote one that names them all"),
  // busy, remote, medium
  FILE_SYSTEM_UNFIT: entry(
    EXIT.busy,
    "use a file system with hard links (ext4, xfs, btrfs, zfs, apfs); a FAT stick cannot hold a live store",
  ),
  NO_STORE_KEY: entry(
    EXIT.busy,
    "write as the account that holds the store key, or give its folder with --secrets or COFFER_SECRETS",
  ),
  STATE_UNWRITABLE: entry(EXIT.busy, "give a writable folder with --state or COFFER_STATE, or say --no-memory"),
  SOURCE_CHANGED: entry(EXIT.busy, "let the other program finish writing the file, then add it again"),
  READ_ONLY: entry(EXIT.busy, "mount the file system for writing, or work on a copy; reading goes on as before"),
  REMOTE_FAILED: entry(EXIT.busy, "check the address and the network, then run it again"),
  REMOTE_DENIED: entry(
    EXIT.busy,
    "set COFFER_HTTP_USER and COFFER_HTTP_PASSWORD, of a git host COFFER_GIT_USER and COFFER_GIT_PASSWORD, or ask who keeps it; a login is sent over https only",
  ),
  REMOTE_CHANGED: entry(EXIT.busy, "the server's store moved while it was read: pull again, what came is kept"),
  ADDRESS_IN_USE: entry(EXIT.busy, "choose another port with --port"),
  // incomplete
  BUNDLE_INCOMPLETE: entry(
    EXIT.incomplete,
    "bring what is missing; give the volumes that it asks for together, or else all of them",
  ),
  BLOB_MISSING: entry(EXIT.incomplete, "its bytes have not come yet: import a bundle that carries them"),
  // space and I/O
  NO_SPACE: entry(EXIT.noSpace, "free some space and run it again"),
  IO_ERROR: entry(EXIT.noSpace, "check the disk and the permissions, then run it again"),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/**
 * The only error that Coffer throws on purpose.
 * `message`: lower case, what was expected and what was found; never secrets or absolute paths.
 */
export class CofferError extends Error {
  override readonly name = "CofferError";
  /** The only thing that callers may branch on; never the message. */
  readonly code: ErrorCode;

  /** Further lines for people: each thing that is wrong, where there are several. */
  readonly details: readonly string[];

  /**
   * By name, not by class: the command is one file with a copy of this class, and the command tree that it loads has
   * another (scripts/build.mjs). An error of the disk that is made by the one must be known to the other.
   */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && value.name === "CofferError";
  }

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { readonly details?: readonly string[] }) {
    super(message, options);
    this.code = code;
    this.details = options?.details ?? [];
  }
}

/** True when `error` is a CofferError of one of `codes` (of any code when none is given). */
export function isCofferError(error: unknown, ...codes: ErrorCode[]): error is CofferError {
  return error instanceof CofferError && (codes.length === 0 || codes.includes(error.code));
}

/** Returns where `error` is a CofferError of one of `codes` (of any code when none is given), and else throws it on. */
export function passOthers(error: unknown, ...codes: ErrorCode[]): asserts error is CofferError {
  if (!isCofferError(error, ...codes)) throw error;
}

/** The `code` of a Node.js system error (`ENOENT` …), or undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
