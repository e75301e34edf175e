// SPDX-License-Identifier: Apache-2.0
/**
 * Which volume it was, where an import found bytes that are not those of their name: it hashes no volume as a whole, since every
 * item proves itself (docs/decisions/0032), and so knows the blob only. Layer: repo. Changes nothing.
 */
import { short } from "../../base/digest.ts";
import { CofferError, passOthers } from "../../base/errors.ts";
import { counted } from "../../base/quantity.ts";
import { type Fault, faultOf, type Volumes } from "../../sync/volumes.ts";
import { failedText, type Incoming } from "../incoming.ts";

/** Volumes that are told one by one. */
const MOST_TOLD = 20;

interface Damaged {
  readonly number: number;
  readonly fault: Fault;
}

/**
 * The same error; of an OBJECT_MISMATCH from volume files with which of them are damaged, and how they are cut again, in its
 * details. Reads these once more.
 */
export async function blamed(
  error: CofferError,
  { volumes }: Incoming,
  onLook: (what: string) => void = () => undefined,
): Promise<CofferError> {
  if (volumes === undefined || error.code !== "OBJECT_MISMATCH") return error;
  const details = [...error.details, ...(await linesOf(volumes, onLook))];
  return new CofferError(error.code, error.message, { cause: error, details });
}

async function linesOf(volumes: Volumes, onLook: (what: string) => void): Promise<readonly string[]> {
  if (volumes.folders.length > 0) return ["`coffer bundle verify` says what of it is damaged"];
  try {
    const damaged = await damagedOf(volumes, onLook);
    return damaged.length === 0 ? [nothingFound(volumes)] : told(damaged, volumes);
  } catch (error) {
    passOthers(error); // what the import itself met is what counts
    return [`which volume is damaged cannot be told: ${error.message} [${error.code}]`];
  }
}

/** Those of which no copy is good. */
async function damagedOf(volumes: Volumes, onLook: (what: string) => void): Promise<readonly Damaged[]> {
  const damaged: Damaged[] = [];
  for (const [number, places] of volumes.held) {
    let last: Fault | undefined;
    for (const place of places) {
      onLook(place.what);
      last = await faultOf(volumes, { place, number });
      if (last === undefined) break;
    }
    if (last !== undefined) damaged.push({ number, fault: last });
  }
  return damaged.sort((one, other) => one.number - other.number);
}

function nothingFound({ missing }: Volumes): string {
  const here = "no volume that is here is damaged: each is as it was written";
  return missing.length === 0
    ? `${here}, so the bytes were wrong where they were made; ask there`
    : `${here}; one that came before was, or the bytes were wrong where they were made; give all volumes together`;
}

function told(damaged: readonly Damaged[], { index, sealed }: Volumes): readonly string[] {
  const [first, ...others] = damaged.map(({ number }) => number);
  const flags = sealed ? " --encrypt-to RECIPIENT" : "";
  const same =
    others.length === 0 ? "" : `; and the same for ${counted(others.length, "other volume")}: ${some(others)}`;
  return [
    ...damaged.slice(0, MOST_TOLD).map(({ number, fault }) => `volume ${number} is damaged: ${failedText(fault)}`),
    `where bundle ${short(index.id)} was made, with any good volume of it: coffer bundle create --again VOLUME --only-volume ${first}${flags} --out FOLDER${same}`,
    "then give all volumes together: blobs that came in part were not kept",
  ];
}

function some(numbers: readonly number[]): string {
  return numbers.slice(0, MOST_TOLD).join(", ") + (numbers.length > MOST_TOLD ? " …" : "");
}
