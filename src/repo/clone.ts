// SPDX-License-Identifier: Apache-2.0
/**
 * `clone`: a new store with the policy root that somebody gave out of band, filled from a bundle or another store.
 * Layer: repo. What the source itself says of its root is never enough.
 */
import { type Digest, isDigest } from "../base/digest.ts";
import { CofferError, passOthers } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { fingerprint } from "../keys/public-key.ts";
import { type Policy, parsePolicy } from "../objects/documents/policy.ts";
import type { Stored } from "../objects/documents/schema.ts";
import { fromBundle } from "../sync/malformed.ts";
import type { Source } from "../sync/source.ts";
import { incomplete } from "./import/incomplete.ts";
import { type ImportOptions, type ImportReport, importFrom } from "./import.ts";
import { type Imported, importAll } from "./import-all.ts";
import { type Arrived, failedAll, type Incoming } from "./incoming.ts";
import { type Initialised, init } from "./init.ts";
import type { Ports, StoreLocation } from "./ports.ts";
import { openStore, type Store } from "./store.ts";

export interface Root {
  readonly number: number;
  readonly digest: Digest;
}

/** `number:digest`, as `init` prints it. @throws CofferError USAGE */
export function parseRoot(text: string): Root {
  const [number = "", digest = "", ...rest] = text.toLowerCase().split(":");
  if (!/^[1-9][0-9]{0,8}$/.test(number) || !isDigest(digest) || rest.length > 0) {
    throw new CofferError("USAGE", `--root: expected number:digest of a policy, found ${quote(text)}`);
  }
  return { number: Number(number), digest };
}

/** Policy version 1 of a source, checked against the name that the index gives it. @throws CofferError BUNDLE_INVALID; BUNDLE_INCOMPLETE - it is where something is missing */
async function readSourcePolicy(source: Source): Promise<Stored<Policy>> {
  const [pin] = source.index.value.policies;
  for await (const parcel of source.parcels((item) => item.kind === "object" && item.id === pin)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of parcel.read()) pieces.push(Uint8Array.from(piece));
    const policy = fromBundle(() => parsePolicy(Buffer.concat(pieces)));
    if (policy.id === pin) return policy;
  }
  if (source.missing.length > 0) throw incomplete(source, "nothing was made, for the policy lies there");
  throw new CofferError("BUNDLE_INVALID", "expected the policy that the index names, found other bytes or none");
}

/** What a source says of its root, for people to compare; nothing is taken. */
function askForRoot({ id, value }: Stored<Policy>): CofferError {
  const people = [...value.principals].map(([name, keys]) => `${name}: ${keys.map(fingerprint).join(", ")}`);
  const text = "expected --root number:digest, from somebody whom you know; nothing was made";
  const says = `this source says --root ${value.number}:${id}: take it only if they say the same`;
  return new CofferError("FOREIGN_ROOT", text, { details: [says, ...people] });
}

export interface Cloned {
  readonly store: Store;
  readonly made: Initialised;
  readonly report: ImportReport;
}

/**
 * @param open - opens the source anew each time
 * @param root - undefined: nothing is made, and the error says what to compare
 * @throws CofferError FOREIGN_ROOT - the source has another root; as `init` and `importFrom`: the new store stays then,
 *   with its policy, and the import can be done again
 */
export async function clone(
  location: StoreLocation,
  open: () => Promise<Source>,
  root: Root | undefined,
  ports: Ports,
  options: ImportOptions = {},
): Promise<Cloned> {
  const { store, made } = await makeStore(location, await open(), root, ports);
  return { store, made, report: await importFrom(store, await open(), options) };
}

/** An empty store with the policy of a source, if that is the one that was asked for. */
async function makeStore(
  location: StoreLocation,
  source: Source,
  root: Root | undefined,
  ports: Ports,
): Promise<Omit<Cloned, "report">> {
  const policy = await readSourcePolicy(source);
  if (root === undefined) throw askForRoot(policy);
  const { number } = policy.value;
  if (root.number !== number) {
    throw new CofferError("UNSUPPORTED", `--root: expected policy version ${number}, found ${root.number}`);
  }
  if (root.digest !== policy.id) {
    throw new CofferError("FOREIGN_ROOT", `--root: the source has policy ${number}:${policy.id}, which is another one`);
  }
  const made = await init(location, policy, ports);
  return { made, store: await openStore(location, ports) };
}

/**
 * `clone` from media, which may hold several bundles: the store is made with the policy of one that has the root, then all
 * are taken over.
 *
 * @param open - opens the media anew each time
 * @throws CofferError as `clone`; what is wrong with the media, if no bundle on them can be taken over
 */
export async function cloneMedia(
  location: StoreLocation,
  open: () => Promise<Arrived>,
  root: Root | undefined,
  ports: Ports,
  options: ImportOptions & { readonly onMade?: (made: Initialised) => void } = {},
): Promise<Omit<Cloned, "report"> & { readonly imported: Imported }> {
  const { bundles, unread } = await open();
  const main = mainOf(bundles, root);
  if (main === undefined) throw failedAll(unread);
  const made = await makeStore(location, main.source, root, ports).catch((error: unknown) => {
    passOthers(error, "BUNDLE_INCOMPLETE");
    throw failedAll([...main.faults, { what: main.what, error }]); // why it lacks something comes first
  });
  options.onMade?.(made.made); // it stays, whatever becomes of the import
  const imported = await importAll(made.store, await open(), options);
  if (imported.reports.length === 0) throw failedAll([...imported.faults, ...imported.failed]);
  return { ...made, imported };
}

/** A bundle that has the root and is whole, else one that has the root, else any. */
function mainOf(bundles: readonly Incoming[], root: Root | undefined): Incoming | undefined {
  const hasRoot = ({ source }: Incoming): boolean =>
    root === undefined || source.index.value.policies[0] === root.digest;
  const whole = bundles.find((one) => hasRoot(one) && one.source.missing.length === 0);
  return whole ?? bundles.find(hasRoot) ?? bundles[0];
}
