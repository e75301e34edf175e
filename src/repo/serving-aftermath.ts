// SPDX-License-Identifier: Apache-2.0
/**
 * What was committed after an offer: whether any of it speaks against something. An offer may be given to whoever has
 * waited for it while nothing does. Layer: repo. Holds invariant 8. Reads only.
 *
 * Listed are the moves that take nothing away; whatever is not listed does. Not here: what time alone ends (serving-time.ts).
 */
import type { Digest } from "../base/digest.ts";
import { type ParsedRef, parseRefPath } from "../base/ref-path.ts";
import type { HeadView } from "../refs/head-view.ts";
import type { Breathe } from "../sync/plan.ts";
import type { Item } from "../sync/source.ts";
import type { Store } from "./store.ts";

/** What waits under a name, and what others said that decides nothing here. */
const HARMLESS: ReadonlySet<ParsedRef["family"]> = new Set([
  "acquired",
  "quarantined",
  "proposed",
  "revoking",
  "deleting",
  "remotes",
]);

export class Aftermath {
  readonly #store: Pick<Store, "moves">;
  readonly #documents: readonly Item[];
  readonly #breathe: Breathe;
  /** The newest head that is known to deny nothing more. */
  #quiet: Pick<HeadView, "number" | "root">;
  #isOver = false;
  #last: Promise<unknown> = Promise.resolve();

  /** @param documents - of the offer that was made at `head` */
  constructor(store: Pick<Store, "moves">, head: HeadView, documents: readonly Item[], breathe: Breathe) {
    this.#store = store;
    this.#quiet = head;
    this.#documents = documents;
    this.#breathe = breathe;
  }

  /** True if nothing was denied from the offer's head to `head`; each move is looked at once. @throws CofferError CORRUPT */
  isQuiet(head: HeadView): Promise<boolean> {
    const looked = this.#last.then(() => this.#follow(head));
    this.#last = Promise.allSettled([looked]);
    return looked;
  }

  async #follow(head: HeadView): Promise<boolean> {
    if (this.#isOver) return false;
    if (head.number <= this.#quiet.number) return true;
    this.#isOver = await this.#denies(head);
    if (!this.#isOver) this.#quiet = head;
    return !this.#isOver;
  }

  async #denies(head: HeadView): Promise<boolean> {
    const concerned = new Set<Digest>();
    for await (const { ref, to } of this.#store.moves(this.#quiet.root, head)) {
      await this.#breathe();
      const parsed = parseRefPath(ref);
      if (parsed.family === "evidence" || parsed.family === "signers") concerned.add(parsed.digest);
      else if (parsed.family === "trusted" ? to === undefined : !HARMLESS.has(parsed.family)) return true;
    }
    return concerned.size > 0 && this.#offersAny(concerned);
  }

  /** Evidence may block the manifest that it is about, and one more signature makes a denial, or a fail, reach further. */
  async #offersAny(documents: ReadonlySet<Digest>): Promise<boolean> {
    for (const item of this.#documents) {
      await this.#breathe();
      if (item.kind === "object" && documents.has(item.id)) return true;
    }
    return false;
  }
}
