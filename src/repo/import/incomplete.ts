// SPDX-License-Identifier: Apache-2.0
/** What to say where not all of a bundle is here: what lacks, and what to bring. Layer: repo. Pure. */
import { CofferError } from "../../base/errors.ts";
import { itemsOfVolume } from "../../sync/cut.ts";
import type { Item, Source } from "../../sync/source.ts";

/** Of what is missing: a folder may lack any number of items. */
const MOST_TOLD = 8;

/** @param so - what comes of it */
export function incomplete({ missing }: Pick<Source, "missing">, so: string): CofferError {
  const more = missing.length > MOST_TOLD ? ` and ${missing.length - MOST_TOLD} more` : "";
  const text = `expected all of the bundle, ${missing.slice(0, MOST_TOLD).join(", ")}${more} missing`;
  return new CofferError("BUNDLE_INCOMPLETE", `${text}; ${so}`);
}

const KEPT = "the blobs that came are kept for the next import of it";

/**
 * Of an import that keeps what came of blobs, and no documents: a volume has to come next if it has some, or part of a blob
 * that is not here, whether it is here now or not.
 *
 * @param lacks - of an item of a blob: it is asked for, and neither here nor kept
 */
export function incompleteImport(
  source: Source,
  lacks: (item: Item & { readonly kind: "blob" }) => boolean,
): CofferError {
  const { index, missingVolumes } = source;
  const count = index.value.volumes.length;
  const needed = index.value.volumes.flatMap((_, at) => {
    const items = itemsOfVolume(index.value, at + 1);
    return items.some((item) => item.kind !== "blob" || lacks(item)) ? [at + 1] : [];
  });
  const isNeeded = new Set(needed);
  const missing = missingVolumes?.filter((number) => isNeeded.has(number)) ?? [];
  if (missing.length === 0) return incomplete(source, KEPT);
  const words = missing.map((number) => `volume ${number} of ${count}`);
  const asked = needed.length < count ? numbersText(needed) : undefined;
  if (asked === undefined) return incomplete({ missing: words }, "give all of its volumes together");
  const give = needed.length === 1 ? `volume ${asked}` : `volumes ${asked} together`;
  return incomplete({ missing: words }, `${KEPT}: give ${give}, the others need not come again`);
}

/** `1 to 3, 5 and 9`; undefined where that gets long. */
function numbersText(numbers: readonly number[]): string | undefined {
  const ranges: { readonly first: number; last: number }[] = [];
  for (const number of numbers) {
    const before = ranges.at(-1);
    if (before?.last === number - 1) before.last = number;
    else ranges.push({ first: number, last: number });
  }
  if (ranges.length > MOST_TOLD) return undefined;
  const texts = ranges.flatMap(({ first, last }) => {
    if (first === last) return [`${first}`];
    return last === first + 1 ? [`${first}`, `${last}`] : [`${first} to ${last}`];
  });
  return [texts.slice(0, -1).join(", "), ...texts.slice(-1)].filter((text) => text !== "").join(" and ");
}
