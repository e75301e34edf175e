// SPDX-License-Identifier: Apache-2.0
/** To whom bundles are encrypted and with what they are opened, from texts that people gave. Layer: repo. Reads no file. */
import { openSealing, type Sealing, type Unlock, unlockWith } from "../sync/age-header.ts";
import { parseIdentities, parseRecipients } from "../sync/age-keys.ts";

export type { Sealing, Unlock } from "../sync/age-header.ts";

/** A word of the command line, or what a file holds, and how people call it. */
export interface KeyText {
  readonly text: string;
  readonly what: string;
}

/** @throws CofferError RECIPIENT_INVALID, LIMIT_EXCEEDED */
export async function sealingTo(recipients: readonly KeyText[]): Promise<Sealing> {
  return openSealing(await parseRecipients(recipients));
}

/** @param read - called when the first encrypted volume is met; what it throws comes out there, as does IDENTITY_INVALID */
export function unlockBy(read: () => readonly KeyText[]): Unlock {
  return unlockWith(async () => {
    const parsed = read().map(({ text, what }) => parseIdentities(text, what));
    return (await Promise.all(parsed)).flat();
  });
}
