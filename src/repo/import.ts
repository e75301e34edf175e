// SPDX-License-Identifier: Apache-2.0
/**
 * `bundle import`, `pull`: the one way in for what other stores send, over whatever medium. Layer: repo.
 * Format: docs/format.md, "Importing". Holds invariants 1, 4, 5, 7 and 8.
 *
 * Nothing outside local/tmp before it is verified. Revocations and refusals first, in a transaction of their own; refs move
 * once all that could come has come. Importing the same again moves nothing.
 */
import { short } from "../base/digest.ts";
import { CofferError, type ErrorCode, isCofferError, passOthers } from "../base/errors.ts";
import { parseName } from "../base/names.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Source } from "../sync/source.ts";
import { type Policies, readPolicies } from "./dossier.ts";
import { Adoption, type Work } from "./import/adoption.ts";
import { type Applied, applyChanges, type Change } from "./import/apply.ts";
import { Arrivals } from "./import/arrivals.ts";
import { Blobs } from "./import/blobs.ts";
import type { WholeBlobs } from "./import/damage.ts";
import { type AppliedDenials, applyDenials, everybodyIn } from "./import/denials.ts";
import { incompleteImport } from "./import/incomplete.ts";
import { foreignPolicies, Quarantine } from "./import/landing.ts";
import { findFork, indexChange, isOwn, keepIndex } from "./import/remotes.ts";
import type { ImportReport } from "./import/report.ts";
import { type BlobItem, Staging } from "./import/staging.ts";
import { tellNames } from "./import/tell.ts";
import { Upstream } from "./import/upstream.ts";
import { Writer } from "./import/writer.ts";
import { withReserve } from "./reserve.ts";
import type { Store } from "./store.ts";

export type { DamagedBlob, ImportReport } from "./import/report.ts";

export interface ImportOptions {
  /** Called as bytes of blobs are taken: total so far. */
  readonly onBytes?: (bytes: number) => void;
  /** Hash the blobs that the names which come need and that lie here, and replace those that are damaged. */
  readonly mend?: boolean;
  /** Called before a volume is read once more, to tell whether it is the damaged one. */
  readonly onLook?: (what: string) => void;
  /** Moves in one log entry; LIMITS.movesPerEntry when left out. */
  readonly mostMoves?: number;
  /** What `importDenials` took over of the same source before. */
  readonly denied?: AppliedDenials | undefined;
  /** Of another policy root: what `foreignDenials` found in the bundles from there that lie beside this one. */
  readonly beside?: Upstream | undefined;
  /** The same act has taken over a newer bundle of that store: what is no news beside that one is none. */
  readonly besideNewer?: boolean;
  /** Of several imports in one act, so that each blob here is hashed once. */
  readonly whole?: WholeBlobs;
}

/** What came is no good, so nothing of it is kept for another try. */
const REFUSALS: readonly ErrorCode[] = [
  "UNSUPPORTED",
  "LOG_FORKED",
  "SIGNATURE_INVALID",
  "BUNDLE_INVALID",
  "OBJECT_MISMATCH",
  "FOREIGN_ROOT",
];

/**
 * @throws CofferError UNSUPPORTED - a policy chain that this version cannot judge; LOG_FORKED; LOG_BEHIND_MEMORY - of this
 *   store itself, and its log lacks that entry; USAGE - it has it;
 *   SIGNATURE_INVALID - the index is signed by another key than that store's before; BUNDLE_INCOMPLETE - volumes
 *   are missing, what came is kept for the next try, or chunks were left out that are not here; OBJECT_MISMATCH, BUNDLE_INVALID, VOLUME_DAMAGED; NO_SPACE, IO_ERROR.
 *   Revocations and refusals of the same root that came before the failure stand.
 */
export async function importFrom(store: Store, source: Source, options: ImportOptions = {}): Promise<ImportReport> {
  const { act, staging } = await begin(store, source, options);
  try {
    const report = await act.run();
    await staging.end(false);
    return report;
  } catch (error) {
    if (act.denied.length > 0) {
      const bundle = `bundle ${short(source.index.id)} of store ${short(source.index.value.store)}`;
      store.warnings.push(`what ${bundle} denies counts all the same: ${entriesText(act.denied)}`);
    }
    const keep = !isCofferError(error, ...REFUSALS);
    await Promise.allSettled([staging.end(keep)]); // what led here is what is told
    throw error;
  }
}

/**
 * The first part of `importFrom` by itself, for several sources together: what any of them denies counts before another's
 * trust is taken over. What of the source cannot be read is told when it is imported.
 *
 * @returns undefined if it has another policy root. @throws CofferError NO_SPACE, IO_ERROR, REF_MOVED
 */
export async function importDenials(
  store: Store,
  source: Source,
  options: ImportOptions = {},
): Promise<AppliedDenials | undefined> {
  if (source.index.value.policies[0] !== store.pin) return undefined;
  const { act, staging } = await begin(store, source, options);
  try {
    return await act.denyOnly();
  } finally {
    await staging.end(true);
  }
}

/**
 * What people of another policy root deny by a source, and by those in `options.beside`, as `importDenials` takes what binds
 * here: nothing of it is written. @throws CofferError BUNDLE_INVALID, UNSUPPORTED - of their policy; NO_SPACE, IO_ERROR
 */
export async function foreignDenials(store: Store, source: Source, options: ImportOptions): Promise<Upstream> {
  const { act, staging } = await begin(store, source, options);
  try {
    return await act.foreignDenials();
  } finally {
    await staging.end(true);
  }
}

async function begin(store: Store, source: Source, options: ImportOptions): Promise<{ act: Import; staging: Staging }> {
  await store.needSigner();
  await store.sweep();
  const { index } = source;
  // A head that is new to this machine is remembered first: where there is no room for that, what is denied counts all the same.
  const look = (): Promise<void> => store.mendViews();
  await (index.value.policies[0] === store.pin ? withReserve(store, look) : look());
  if (await isOwn(store, source)) throw new CofferError("USAGE", "expected what another store sent, found our own");
  const key = source.stagedBy ?? index.id;
  const staging = await Staging.open(store.files, store.ports.random, key, index.value.segmentBytes);
  return { act: new Import(store, source, staging, options), staging };
}

/** Each list once. */
function damagedTold(damaged: Iterable<readonly [string, CofferError]>): ImportReport["refused"] {
  return [...new Map(damaged)].map(([ref, { code, message }]) => {
    return { what: `what joins ${ref}`, code, text: `${message}; import it again once that is repaired` };
  });
}

function entriesText(numbers: readonly number[]): string {
  return `log ${numbers.map((number) => `entry ${number}`).join(", ")}`;
}

class Import {
  readonly #store: Store;
  readonly #source: Source;
  readonly #staging: Staging;
  readonly #options: ImportOptions;
  readonly #arrivals: Arrivals;
  readonly #writer: Writer;
  readonly #blobs: Blobs;
  /** By this import itself. */
  #denials: AppliedDenials | undefined;
  #receiver: Adoption | Quarantine | undefined;
  #work: Work | undefined;

  constructor(store: Store, source: Source, staging: Staging, options: ImportOptions) {
    this.#store = store;
    this.#source = source;
    this.#staging = staging;
    this.#options = options;
    this.#arrivals = new Arrivals(staging.small);
    this.#writer = new Writer(store);
    const [arrivals, writer] = [this.#arrivals, this.#writer];
    const { mend = false, whole } = options;
    this.#blobs = new Blobs({ store, staging, arrivals, writer, index: source.index.value, mend, whole });
  }

  /** Entries of the log with what was revoked or refused. */
  get denied(): readonly number[] {
    return [this.#options.denied, this.#denials].flatMap((denials) => denials?.entries ?? []);
  }

  async denyOnly(): Promise<AppliedDenials> {
    const policies = await this.#knowPeople();
    await this.#takeAllSmall();
    return this.#deny(policies);
  }

  async foreignDenials(): Promise<Upstream> {
    await this.#takeAllSmall();
    const theirs = await this.#theirPolicies();
    return Upstream.gather(this.#store, theirs, this.#arrivals, await this.#store.head(), this.#options.beside);
  }

  async #takeAllSmall(): Promise<void> {
    try {
      const isSmall = ({ kind }: { readonly kind: string }): boolean => kind !== "blob";
      // Its import tells what is damaged.
      for await (const { item, read } of this.#source.parcels(isSmall, () => undefined))
        if (item.kind !== "blob") await this.#takeSmall({ item, read });
    } catch (error) {
      passOthers(error); // what came counts, and the import meets it again
    }
  }

  async run(): Promise<ImportReport> {
    const { index } = this.#source;
    const policies = await this.#knowPeople();
    const sameRoot = index.value.policies[0] === this.#store.pin;
    const receiver = await this.#receive(policies, sameRoot);
    const head = await this.#store.head();
    await this.#needAll();
    await this.#blobs.completeAll();
    this.#blobs.refuseGaps();
    const { unproven } = this.#source;
    const more: Change[] = unproven
      ? []
      : [indexChange(this.#store, index, await keepIndex(this.#writer, this.#source))];
    const applied = receiver instanceof Adoption ? await receiver.finish(more) : await receiver.finish(head, more);
    return this.#tell(receiver, applied, sameRoot);
  }

  async #knowPeople(): Promise<Policies> {
    const policies = await readPolicies(this.#store, await this.#store.head());
    this.#arrivals.know([this.#source.index.value.storeKey, this.#store.storeKey, ...everybodyIn(policies)]);
    return policies;
  }

  /** @throws CofferError BUNDLE_INCOMPLETE - something that is to come has not, now or in an earlier import of the same index */
  async #needAll(): Promise<void> {
    const { missing, index } = this.#source;
    if (missing.length === 0) return;
    await this.#blobs.completeAll();
    const small = index.value.items.filter(({ kind }) => kind !== "blob").length;
    if (this.#arrivals.count === small && !index.value.items.some((item) => this.#blobs.lacks(item))) return;
    throw this.#incomplete();
  }

  #incomplete(): CofferError {
    return incompleteImport(this.#source, (item) => this.#blobs.wants(item));
  }

  /** Small things first; once the last of them is in, what is asked for of the blobs is known. */
  async #receive(policies: Policies, sameRoot: boolean): Promise<Adoption | Quarantine> {
    let total = 0;
    let damage: CofferError | undefined;
    try {
      const wants = (item: { readonly kind: string }): boolean =>
        item.kind !== "blob" || this.#receiver === undefined || this.#blobs.wants(item as BlobItem);
      const onDamage = (error: CofferError): void => {
        if (this.#receiver !== undefined) throw error;
        damage ??= error;
      };
      for await (const parcel of this.#source.parcels(wants, onDamage)) {
        const { item } = parcel;
        const read = () => parcel.read();
        if (item.kind !== "blob") {
          const wrong = await this.#takeSmall({ item, read });
          damage ??= wrong;
          continue;
        }
        if (damage !== undefined) throw damage;
        this.#receiver ??= await this.#prepare(policies, sameRoot);
        if (!this.#blobs.wants(item)) continue;
        await this.#blobs.fillBefore(item);
        await this.#staging.take({ item, read });
        total += item.sizeBytes;
        this.#options.onBytes?.(total);
        await this.#blobs.took(item);
      }
      if (damage !== undefined) throw damage;
    } catch (error) {
      // A denial that came counts, whatever became of the rest.
      if (sameRoot && this.#denials === undefined) await this.#deny(policies);
      throw damage ?? error; // a pipe that broke breaks again
    }
    this.#receiver ??= await this.#prepare(policies, sameRoot);
    return this.#receiver;
  }

  /** @returns what is wrong with it: a denial that comes behind it counts all the same */
  async #takeSmall(parcel: Parameters<Arrivals["take"]>[0]): Promise<CofferError | undefined> {
    try {
      await this.#arrivals.take(parcel);
      return undefined;
    } catch (error) {
      passOthers(error, "OBJECT_MISMATCH", "VOLUME_DAMAGED");
      return error;
    }
  }

  get #note(): string {
    return `import from ${short(this.#source.index.value.store)}`;
  }

  async #deny(policies: Policies): Promise<AppliedDenials> {
    const { mostMoves } = this.#options;
    this.#denials = await applyDenials(this.#store, policies, this.#arrivals, `${this.#note}: denials`, mostMoves);
    return this.#denials;
  }

  async #prepare(policies: Policies, sameRoot: boolean): Promise<Adoption | Quarantine> {
    if (sameRoot) await this.#deny(policies);
    const { policies: chain } = this.#source.index.value;
    if (sameRoot && chain.length > policies.length) {
      const text = `expected a policy chain of ${policies.length}, found version ${chain.length}`;
      throw new CofferError(
        "UNSUPPORTED",
        `${text}, which this version cannot judge; only revocations and refusals were taken`,
      );
    }
    const head = await this.#store.head();
    await this.#refuseFork(head);
    const work: Work = {
      ...{ store: this.#store, index: this.#source.index, policies, note: this.#note, most: this.#options.mostMoves },
      ...{ arrivals: this.#arrivals, blobs: this.#blobs, writer: this.#writer },
      ...{ denials: this.#denials?.statements ?? new Set(), before: head },
      ...{ besideNewer: this.#options.besideNewer === true, beside: this.#options.beside },
      ...{ notes: new Set(), refusedNames: new Map(), old: new Set(), failed: new Map() },
    };
    this.#work = work;
    const receiver = sameRoot ? await this.#adopt(work, head) : await this.#quarantine(work, head);
    await this.#blobs.settle();
    if (this.#source.missing.length > 0) await this.#blobs.wantListed();
    return receiver;
  }

  async #adopt(work: Work, head: HeadView): Promise<Adoption> {
    const adoption = new Adoption(work);
    await adoption.prepare(head);
    return adoption;
  }

  async #quarantine(work: Work, head: HeadView): Promise<Quarantine> {
    const [policy] = this.#source.index.value.policies;
    const isHere = policy !== undefined && this.#arrivals.has(policy);
    if (!isHere && this.#source.missing.length > 0) {
      await this.#blobs.wantListed(); // what is kept of them is known then
      throw this.#incomplete();
    }
    const quarantine = new Quarantine(work, await this.#theirPolicies());
    await quarantine.prepare(head);
    return quarantine;
  }

  /** Whose signatures count from then on. */
  async #theirPolicies(): Promise<Policies> {
    const theirs = await foreignPolicies({ arrivals: this.#arrivals, index: this.#source.index });
    this.#arrivals.know(everybodyIn(theirs));
    return theirs;
  }

  async #refuseFork(head: HeadView): Promise<void> {
    const fork = await findFork(this.#store, head, this.#source, this.#writer);
    if (fork === undefined) return;
    await this.#writer.flush();
    await applyChanges(this.#store, fork.changes, `${this.#note}: a forked log`);
    throw fork.error;
  }

  async #tell(receiver: Adoption | Quarantine, applied: Applied, sameRoot: boolean): Promise<ImportReport> {
    const { store, log, names } = this.#source.index.value;
    const work = this.#work;
    if (work === undefined) throw new CofferError("INTERNAL", "an import without work");
    const failed = new Map([...(this.#denials?.failed ?? []), ...applied.failed]);
    for (const [name, { code, message }] of failed) work.refusedNames.set(name, { code, text: message });
    const damaged = [...(this.#denials?.damaged ?? []), ...applied.damaged];
    const came = new Map(names.map(({ name }) => [name as string, parseName(name)]));
    if (receiver instanceof Adoption) for (const name of receiver.names) came.set(name.text, name);
    for (const name of work.refusedNames.keys()) came.set(name, parseName(name));
    const moved = new Set([...(this.#options.denied?.moved ?? []), ...(this.#denials?.moved ?? []), ...applied.moved]);
    const told = await tellNames(work, [...came.values()], { moved, set: applied.set });
    return {
      ...{ store, log: { number: log.number, head: log.head }, sameRoot, names: told },
      refused: [...this.#arrivals.refused, ...damagedTold(damaged)],
      notes: [...work.notes],
      denials: this.#denials?.count ?? 0,
      blobs: { count: this.#blobs.taken, bytes: this.#blobs.takenBytes },
      ...{ mended: this.#blobs.damage.mended, damaged: this.#blobs.damage.left },
      entries: [...this.denied, ...applied.entries],
    };
  }
}
