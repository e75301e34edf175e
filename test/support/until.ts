// SPDX-License-Identifier: Apache-2.0
/** Waiting for what comes in its own time, so that no test depends on how quick the machine is. Layer: test support. */
import { setTimeout as sleep } from "node:timers/promises";

/** Looks again every few milliseconds until it holds; false after two minutes, which only ends what would never end. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<boolean> {
  const endMs = performance.now() + 120_000;
  while (!(await holds())) {
    if (performance.now() > endMs) return false;
    await sleep(10);
  }
  return true;
}
