// SPDX-License-Identifier: Apache-2.0
/** The machine as receipts need it: which boot, what time, whose process. Layer: repo. */
import { readFileSync } from "node:fs";
import { systemCode } from "../base/errors.ts";

export interface Machine {
  /** Another one after each boot; undefined where the system has none. */
  readonly bootId: () => string | undefined;
  /** The clock that file systems stamp with, in nanoseconds since 1970. */
  readonly nowNs: () => bigint;
  /** Number of the account that this process acts as; undefined where there is no such thing. */
  readonly account: () => number | undefined;
}

export const realMachine: Machine = {
  bootId: () => {
    try {
      const text = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
      return /^[0-9a-f-]{36}$/.test(text) ? text : undefined;
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      return undefined; // no Linux, or a /proc that is closed: no receipts
    }
  },
  nowNs: () => BigInt(Date.now()) * 1_000_000n,
  account: () => process.geteuid?.(),
};
