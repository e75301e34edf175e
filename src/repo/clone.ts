// SPDX-License-Identifier: Apache-2.0
/**
 * `clone`: a new store with the policy root that somebody gave out of band, filled from a bundle or another store.
 * Layer: repo. What the source itself says of its root is never enough.
 */
import { type Digest, isDigest } from "../base/digest.ts";
import { CofferError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { fingerprint } from "../keys/public-key.ts";
import { type Policy, parsePolicy } from "../objects/documents/policy.ts";
import type { Stored } from "../objects/documents/schema.ts";
import type { Source } from "../sync/source.ts";
import { type ImportOptions, type ImportReport, importFrom } from "./import.ts";
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

/** Policy version 1 of a source, checked against the name that the index gives it. @throws CofferError BUNDLE_INVALID */
async function readSourcePolicy(source: Source): Promise<Stored<Policy>> {
  const [pin] = source.index.value.policies;
  for await (const parcel of source.parcels((item) => item.kind === "object" && item.id === pin)) {
    const pieces: Uint8Array[] = [];
    for await (const piece of parcel.read()) pieces.push(Uint8Array.from(piece));
    const policy = parsePolicy(Buffer.concat(pieces));
    if (policy.id === pin) return policy;
  }
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
  const policy = await readSourcePolicy(await open());
  if (root === undefined) throw askForRoot(policy);
  const { number } = policy.value;
  if (root.number !== number) {
    throw new CofferError("UNSUPPORTED", `--root: expected policy version ${number}, found ${root.number}`);
  }
  if (root.digest !== policy.id) {
    throw new CofferError("FOREIGN_ROOT", `--root: the source has policy ${number}:${policy.id}, which is another one`);
  }
  const made = await init(location, policy, ports);
  const store = await openStore(location, ports);
  return { store, made, report: await importFrom(store, await open(), options) };
}
