// SPDX-License-Identifier: Apache-2.0
/** A bundle as it comes through a pipe. Layer: sync. Format: docs/format.md, "Volumes". Not here: media (volumes.ts). */
import { CofferError } from "../base/errors.ts";
import type { Unlock } from "./age-header.ts";
import { streamInput } from "./input.ts";
import { unsealStream } from "./sealed.ts";
import type { Source } from "./source.ts";
import { readItems, readNothingAfter, readOpening, type SignedIndex } from "./volume-reader.ts";

/**
 * A bundle that comes through a pipe: its volumes one after the other, from the first on, all of them. Read once.
 * Encrypted, they are one age file together.
 * @throws CofferError as `openVolumes`
 */
export async function openPipe(
  stream: AsyncIterable<Uint8Array>,
  what: string,
  unlock?: Unlock,
): Promise<Source & SignedIndex> {
  const input = streamInput(unsealStream(stream, what, unlock), what);
  const { number, firstMember, bodyAt: _, ...signed } = await readOpening(input, what);
  const of = signed.index.value.volumes.length;
  return {
    ...signed,
    missing: [],
    async *parcels(wants) {
      expectVolume(number, 1, what);
      yield* readItems(input, signed.index, 1, what, wants, firstMember);
      for (let next = 2; next <= of; next += 1) {
        if (await input.atEnd())
          throw new CofferError("BUNDLE_INCOMPLETE", `${what}: ended before volume ${next} of ${of}`);
        const opening = await readOpening(input, what, signed);
        if (opening.index.id !== signed.index.id) {
          throw new CofferError(
            "BUNDLE_INVALID",
            `${what}: expected volume ${next} of the same bundle, found another's`,
          );
        }
        expectVolume(opening.number, next, what);
        yield* readItems(input, signed.index, next, what, wants, opening.firstMember);
      }
      await readNothingAfter(input, what);
    },
  };
}

function expectVolume(found: number, expected: number, what: string): void {
  if (found === expected) return;
  throw new CofferError("BUNDLE_INVALID", `${what}: expected volume ${expected}, found volume ${found}`);
}
