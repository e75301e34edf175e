// SPDX-License-Identifier: Apache-2.0
/**
 * Several bundles at once, as a stick has them: first what any of them denies, then each by itself, and one that is no good
 * keeps no other out. Layer: repo. Not here: how one is taken over (import.ts).
 */
import type { Digest } from "../base/digest.ts";
import { type CofferError, isCofferError, passOthers } from "../base/errors.ts";
import type { Fault } from "../sync/volumes.ts";
import { blamed } from "./import/blame.ts";
import type { WholeBlobs } from "./import/damage.ts";
import type { AppliedDenials } from "./import/denials.ts";
import { isOwn } from "./import/remotes.ts";
import type { Upstream } from "./import/upstream.ts";
import { foreignDenials, type ImportOptions, type ImportReport, importDenials, importFrom } from "./import.ts";
import type { Arrived, Incoming } from "./incoming.ts";
import type { Store } from "./store.ts";

export interface Imported {
  readonly taken: readonly Incoming[];
  /** One for each bundle that was taken over, in that order. */
  readonly reports: readonly ImportReport[];
  /** Volumes that could not be used. */
  readonly faults: readonly Fault[];
  /** Bundles that were not imported, by their first volume; what they deny was taken where that came. */
  readonly failed: readonly Fault[];
  /** Bundles of this store itself whose state its log holds, which are passed over. */
  readonly own: readonly string[];
  /** Files that may hold a volume, and of which nobody can tell: worth a note. */
  readonly passedOver: readonly Fault[];
}

export async function importAll(
  store: Store,
  { bundles, unread, passedOver }: Arrived,
  options: ImportOptions = {},
): Promise<Imported> {
  const own = new Set<Incoming>();
  for (const bundle of bundles) if (await isOwn(store, bundle.source)) own.add(bundle);
  const others = inOrder(
    store,
    bundles.filter((bundle) => !own.has(bundle)),
  );
  const denied = await denyFirst(store, others, options);
  const foreign = await foreignFirst(store, others, options);
  const reports: ImportReport[] = [];
  const failed = [...unread];
  const taken: Incoming[] = [];
  const whole: WholeBlobs = new Map();
  let ours: CofferError | undefined;
  for (const bundle of others) {
    const { what, source } = bundle;
    try {
      if (ours !== undefined) throw ours;
      const besideNewer = taken.some((other) => isNewer(other, bundle));
      const beside = foreign.get(rootOf(bundle));
      const how = { ...options, denied: denied.get(bundle), besideNewer, beside, whole };
      reports.push(await importFrom(store, source, how));
      taken.push(bundle);
    } catch (error) {
      passOthers(error);
      if (isOurs(error)) ours = error;
      failed.push({ what, error: await blamed(error, bundle, options.onLook) });
    }
  }
  const faults = others.flatMap((bundle) => bundle.faults);
  return { reports: withoutMended(reports), taken, faults, failed, own: [...own].map(({ what }) => what), passedOver };
}

/** What one bundle did not bring, another may have. */
function withoutMended(reports: readonly ImportReport[]): readonly ImportReport[] {
  const mended = new Set(reports.flatMap((report) => report.mended.map(({ blob }) => blob)));
  return reports.map((report) => ({ ...report, damaged: report.damaged.filter(({ blob }) => !mended.has(blob)) }));
}

/** Of its policies. */
const rootOf = ({ source }: Incoming): Digest | undefined => source.index.value.policies[0];

const numberOf = ({ source }: Incoming): number => source.index.value.log.number;

function isNewer(one: Incoming, other: Incoming): boolean {
  return one.source.index.value.store === other.source.index.value.store && numberOf(one) > numberOf(other);
}

/**
 * The oldest first; but what other policy roots send the newest first: nothing lands that a newer bundle beside it denies,
 * or takes the place of.
 */
function inOrder(store: Store, bundles: readonly Incoming[]): readonly Incoming[] {
  const isOurRoot = (one: Incoming): boolean => rootOf(one) === store.pin;
  const oldestFirst = bundles.toSorted((one, other) => numberOf(one) - numberOf(other));
  return [...oldestFirst.filter(isOurRoot), ...oldestFirst.filter((one) => !isOurRoot(one)).reverse()];
}

/**
 * What any of several bundles denies, before the first of them is taken over: the next one may revoke what this one brings.
 * One alone begins with its denials anyway.
 */
async function denyFirst(
  store: Store,
  bundles: readonly Incoming[],
  options: ImportOptions,
): Promise<ReadonlyMap<Incoming, AppliedDenials | undefined>> {
  const denied = new Map<Incoming, AppliedDenials | undefined>();
  if (bundles.length < 2) return denied;
  for (const bundle of bundles) {
    try {
      denied.set(bundle, await importDenials(store, bundle.source, options));
    } catch (error) {
      passOthers(error); // its import begins with the same, and tells it
    }
  }
  return denied;
}

/**
 * The same of other policy roots, by root: there it decides only what lands, so it is looked at and not kept. The newest bundle
 * of one store comes first anyway; but which of several stores of a root knows more, no number tells.
 */
async function foreignFirst(
  store: Store,
  bundles: readonly Incoming[],
  options: ImportOptions,
): Promise<ReadonlyMap<Digest | undefined, Upstream>> {
  const found = new Map<Digest | undefined, Upstream>();
  for (const bundle of bundles) {
    const root = rootOf(bundle);
    const { store: of } = bundle.source.index.value;
    const hasSister = (one: Incoming): boolean => rootOf(one) === root && one.source.index.value.store !== of;
    if (root === store.pin || !bundles.some(hasSister)) continue;
    try {
      found.set(root, await foreignDenials(store, bundle.source, { ...options, beside: found.get(root) }));
    } catch (error) {
      passOthers(error); // its import begins with the same, and tells it
    }
  }
  return found;
}

/** What no other bundle would fare better with. Not NO_SPACE: the next one may be small. */
function isOurs(error: CofferError): boolean {
  return isCofferError(error, "READ_ONLY", "IO_ERROR", "NO_STORE_KEY", "REF_MOVED", "STATE_UNWRITABLE");
}
