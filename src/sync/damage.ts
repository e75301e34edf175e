// SPDX-License-Identifier: Apache-2.0
/** What counts as damage of a volume, and going on behind it. Layer: sync. Not here: how it is found (volume-reader.ts, medium.ts). */
import { passOthers } from "../base/errors.ts";
import type { OnDamage, Parcel } from "./source.ts";

/** What makes a volume one that cannot be used. */
export const DAMAGE = ["BUNDLE_INVALID", "VOLUME_DAMAGED", "SIGNATURE_INVALID", "UNSUPPORTED"] as const;

/** Nothing comes behind damage, which `onDamage` is told, if there is one; what cannot be read of an item its `read` throws alone. */
export async function* untilDamage(
  parcels: AsyncIterable<Parcel>,
  onDamage: OnDamage | undefined,
): AsyncGenerator<Parcel> {
  if (onDamage === undefined) {
    yield* parcels;
    return;
  }
  let isBroken = false;
  async function* noted(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* pieces;
    } catch (error) {
      isBroken = true;
      throw error;
    }
  }
  try {
    for await (const { item, read } of parcels) {
      yield { item, read: () => noted(read()) };
      if (isBroken) return;
    }
  } catch (error) {
    passOthers(error, ...DAMAGE);
    onDamage(error);
  }
}
