// SPDX-License-Identifier: Apache-2.0
/**
 * Fairness among writers. An act that takes longer than its rivals' would lose every race: it leaves a file that asks
 * them to let it go first. Advice, not a lock: nobody waits longer than PATIENCE_MS for it, a file that a crash left is
 * removed by the first who has waited that long, and the link of the log entry stays the only commit.
 * Layer: refs. Holds invariant 4. Not here: the transaction itself (transaction.ts).
 */
import type { Files } from "../objects/files.ts";
import { discard } from "./temp-file.ts";

const TURN = "local/turn";
/** Longer than an act takes, short enough for a person to wait once after a crash. */
const PATIENCE_MS = 1000;
const STEP_MS = 5;

/** One writer's side of it, for one transaction. */
export class Turn {
  private readonly files: Files;
  private readonly sleep: (ms: number) => Promise<void>;
  #mine = false;

  constructor(files: Files, sleep: (ms: number) => Promise<void>) {
    this.files = files;
    this.sleep = sleep;
  }

  /** Waits while another writer asks to go first. @throws CofferError IO_ERROR */
  async letPass(): Promise<void> {
    if (this.#mine) return;
    let asked: bigint | undefined;
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += STEP_MS) {
      const there = await this.files.stat(TURN);
      if (there === undefined) return;
      // The next one who asks is waited for by those who come after: all get on.
      if (asked !== undefined && there.inode !== asked) return;
      asked = there.inode;
      await this.sleep(STEP_MS);
    }
    await discard(this.files, TURN);
  }

  /** Asks the others to wait; does nothing if somebody else asks already. @throws CofferError NO_SPACE, IO_ERROR */
  async ask(): Promise<void> {
    if (this.#mine) return;
    const file = await this.files.create(TURN, 0o644);
    this.#mine = file !== undefined;
    await file?.close();
  }

  /** Must follow, whatever came of the transaction. */
  async end(): Promise<void> {
    if (this.#mine) await discard(this.files, TURN);
    this.#mine = false;
  }
}
