// SPDX-License-Identifier: Apache-2.0
/** Bytes into an answer, one piece after the other, so that nothing piles up before a slow client. Layer: server. */
import type { ServerResponse } from "node:http";

/** Resolves when the bytes may be overwritten: true, or false once the client is gone. */
export function writeBytes(response: ServerResponse, bytes: Uint8Array): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const gone = (): void => resolve(false);
    response.once("close", gone);
    response.write(bytes, (error) => {
      response.off("close", gone);
      resolve(error === undefined || error === null);
    });
  });
}
