// SPDX-License-Identifier: Apache-2.0
/**
 * Ends this process when one execution takes too long, also where it never gives way, and leaves its input behind. A thread
 * of its own watches a counter. Layer: test support.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";

const MOST_MS = 60_000;

const WATCH = `
const { workerData } = require("node:worker_threads");
const counter = new Int32Array(workerData.shared);
let last = -1;
let since = performance.now();
setInterval(() => {
  const now = Atomics.load(counter, 0);
  if (now !== last) [last, since] = [now, performance.now()];
  if (performance.now() - since < workerData.mostMs) return;
  require("node:fs").writeSync(1, "found: execution " + now + " hangs; its input is in .tmp/fuzz-bundle/running.gz\\n");
  process.kill(process.pid, "SIGKILL");
}, 500);
`;

export interface Watchdog {
  /** @param packed - what to leave behind */
  begin(packed: () => Buffer): void;
  end(): void;
}

export function startWatchdog(folder: string): Watchdog {
  const shared = new SharedArrayBuffer(4);
  const counter = new Int32Array(shared);
  const worker = new Worker(WATCH, { eval: true, workerData: { shared, mostMs: MOST_MS }, execArgv: [] });
  worker.unref();
  return {
    begin(packed) {
      Atomics.add(counter, 0, 1);
      writeFileSync(join(folder, "running.gz"), packed());
    },
    end: () => void worker.terminate(),
  };
}
