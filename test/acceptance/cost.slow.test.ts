// SPDX-License-Identifier: Apache-2.0
/** docs/acceptance.md, W1: cost that does not grow with the store, counted in files and not in time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { model, Scene } from "../support/scene.ts";

const FEW = 10;
const MANY = 100;

test("W1 a lookup and a promotion open no more files among 100 models than among 10", {
  timeout: 900_000,
}, async (t) => {
  const scene = await new Scene(t).init();
  const costs = async (seed: number): Promise<number[]> => {
    await scene.add(`acme/new${seed}`, model(seed));
    const promoting = await scene.opened(() => scene.must("promote", `acme/new${seed}`));
    return [promoting, await scene.opened(() => scene.must("resolve", "acme/n1"))];
  };
  for (let at = 0; at < FEW; at += 1) await scene.trust(`acme/n${at}`, model(1000 + at));
  const few = await costs(1);
  for (let at = FEW; at < MANY; at += 1) await scene.trust(`acme/n${at}`, model(1000 + at));
  const many = await costs(2);
  t.diagnostic(`promote, resolve: ${few} files among ${FEW}, ${many} among ${MANY}`);
  assert.ok(few.every((count) => count > 0));
  // The tree of refs is a level or two deeper; nothing else may have grown.
  for (const [index, count] of many.entries()) assert.ok(count <= (few[index] ?? 0) + 30, `${few} among 10, ${many}`);
});
