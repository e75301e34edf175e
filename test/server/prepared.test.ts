// SPDX-License-Identifier: Apache-2.0
/** Which of the offers that are being made goes to whom (src/server/prepared.ts). */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Asked, Offer } from "../../src/repo/serving.ts";
import { PreparedOffers } from "../../src/server/prepared.ts";
import { until } from "../support/until.ts";

interface Making {
  /** The head that it was begun at. */
  readonly head: number;
  end(at?: number | Error): void;
}

/** A store whose head is a number, and whose offers, each named by its head, are ended by hand. */
function scene(patienceMs = 60_000) {
  const store = { head: 1 };
  const begun: Making[] = [];
  const faults: unknown[] = [];
  let newest: Offer | undefined;
  const headOf = (offer: Offer): number => (offer as unknown as { head: number }).head;
  const offers = {
    asked: async (since = store.head) => ({ head: { number: store.head }, since }) as Asked,
    madeFor: async ({ since }: Asked) => (newest !== undefined && headOf(newest) >= since ? newest : undefined),
    newest: () =>
      new Promise<Offer>((resolve, reject) => {
        const { head } = store;
        const end: Making["end"] = (at = head) => {
          if (at instanceof Error) return reject(at);
          newest = { head: at } as unknown as Offer;
          resolve(newest);
        };
        begun.push({ head, end });
      }),
  };
  const prepared = new PreparedOffers(
    offers,
    patienceMs,
    (error) => void faults.push(error),
    () => undefined,
  );
  /** The head of what was given, or what kept it from being made. */
  const ask = async (): Promise<unknown> => {
    const found = await prepared.newest();
    if (found.kind === "offer") return headOf(found.offer);
    return found.kind === "fault" ? found.error : found.kind;
  };
  const begins = async (count: number): Promise<Making> => {
    assert.ok(await until(() => begun.length === count));
    const last = begun[count - 1];
    assert.ok(last !== undefined);
    return last;
  };
  return { store, begun, faults, ask, begins };
}

test("who asks while one is made shares it if the head has not moved, also if it moves before that is done", async () => {
  const { store, begun, ask, begins } = scene();
  const first = ask();
  const one = await begins(1);
  const second = ask();
  await new Promise(setImmediate);
  store.head = 9;
  one.end();
  assert.deepEqual(await Promise.all([first, second]), [1, 1]);
  assert.equal(begun.length, 1);
});

test("who asks after the head has moved gets the next one, shared by all of these, whatever moves meanwhile", async () => {
  const { store, begun, ask, begins } = scene();
  const first = ask();
  const one = await begins(1);
  store.head = 2;
  const later = [ask(), ask()];
  await new Promise(setImmediate);
  one.end();
  assert.equal(await first, 1);
  const two = await begins(2);
  store.head = 3;
  two.end();
  assert.deepEqual(await Promise.all(later), [2, 2]);
  assert.equal(begun.length, 2);
});

test("one that follows the head while it is made serves those who came after it began", async () => {
  const { store, begun, ask, begins } = scene();
  const first = ask();
  const one = await begins(1);
  store.head = 2;
  const second = ask();
  await new Promise(setImmediate);
  one.end(2);
  assert.deepEqual(await Promise.all([first, second]), [2, 2]);
  assert.equal(begun.length, 1);
});

test("one that fails is told to those for whom it was begun; who came later gets the next", async () => {
  const { store, faults, ask, begins } = scene();
  const first = ask();
  const one = await begins(1);
  store.head = 2;
  const second = ask();
  await new Promise(setImmediate);
  const damage = new Error("damaged");
  one.end(damage);
  assert.equal(await first, damage);
  (await begins(2)).end();
  assert.equal(await second, 2);
  assert.deepEqual(faults, [damage]);
});

test("without patience whoever asks is sent away, however fast it is made, and gets it next time", async () => {
  const { begun, ask } = scene(0);
  const first = ask();
  for (let turns = 0; begun.length === 0 && turns < 100; turns += 1) await Promise.resolve();
  begun[0]?.end();
  assert.equal(await first, "late");
  assert.equal(await ask(), 1);
  assert.equal(begun.length, 1);
});
