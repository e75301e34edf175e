// SPDX-License-Identifier: Apache-2.0
/** Calls of node:fs outside a store, whose faults become coded errors. Layer: repo. */
import { CofferError, systemCode } from "../base/errors.ts";

/**
 * @param doing - what was attempted, for the message: "make the folder"
 * @throws CofferError NO_SPACE (ENOSPC, EDQUOT) or IO_ERROR with the system's error as cause; anything else as it is
 */
export async function system<T>(doing: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    const kind = code === "ENOSPC" || code === "EDQUOT" ? "NO_SPACE" : "IO_ERROR";
    throw new CofferError(kind, `cannot ${doing} (${code})`, { cause: error });
  }
}
