// SPDX-License-Identifier: Apache-2.0
/**
 * Hostile volumes: each breaks one rule, is refused by that rule and by its name, whatever it comes through; and with the
 * rule switched off it is read to its end, so that rule alone stands between. What lies on a stick is nobody's word.
 * More of them, given to a store: test/repo/hostile-import.slow.test.ts.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { streamInput } from "../../src/sync/input.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import { RULES } from "../../src/sync/rules.ts";
import { readItems, readNothingAfter, readOpening } from "../../src/sync/volume-reader.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { everything, placeOf } from "../support/bundles.ts";
import { goodVolume, hostileBundles, malformedBundles } from "../support/hostile-bundles.ts";
import { ruleIn, without } from "../support/rules-off.ts";

async function* piped(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The whole of one volume, its hash too. */
async function readAll(bytes: Uint8Array): Promise<number> {
  const input = streamInput(piped(bytes), "volume", "hash");
  const opening = await readOpening(input, "volume");
  let items = 0;
  for await (const { read } of readItems(
    input,
    opening.index,
    opening.number,
    "volume",
    () => true,
    opening.firstMember,
  )) {
    for await (const piece of read()) assert.ok(piece.length > 0);
    items += 1;
  }
  await readNothingAfter(input, "volume");
  return items;
}

async function refusal(act: () => Promise<unknown>): Promise<{ readonly code: string; readonly text: string }> {
  try {
    await act();
    return { code: "read", text: "" };
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    assert.match(error.message, /^[\x20-\x7e]{1,900}$/);
    return { code: error.code, text: error.message };
  }
}

const folder = mkdtempSync(join(tmpdir(), "coffer-hostile-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const good = await goodVolume();
const hostile = hostileBundles;
const malformed = malformedBundles;

describe("hostile volumes", () => {
  test("the one that they are made from is good", async () => {
    assert.equal(await readAll(good), 8);
  });

  for (const { name, rules, volume: make, beyond } of hostile) {
    const [rule] = rules;
    test(`${name}: refused by ${rule}`, async () => {
      const volume = await make();
      assert.equal(ruleIn((await refusal(() => readAll(volume))).text), rule);
      // The hash of a volume is asked where all of it is read: by `bundle verify`.
      if (rule === "volume-hash") return;
      const pipe = await refusal(async () => everything(await openPipe(piped(volume), "stdin")));
      assert.equal(ruleIn(pipe.text), rule);
      writeFileSync(join(folder, "volume.tar"), volume);
      const file = await refusal(async () => everything(await openVolumes([placeOf(folder, "volume.tar")])));
      assert.equal(ruleIn(file.text), rule);
    });
    if (beyond) continue;
    test(`${name}: read to its end without ${rules.join(", ")}`, async () => {
      const volume = await make();
      const { code, text } = await without(rules, () => refusal(() => readAll(volume)));
      assert.equal(code, "read", text);
    });
  }

  test("every rule has its hostile volume", () => {
    const broken = new Set(hostile.map(({ rules: [rule] }) => rule));
    assert.deepEqual([...broken].sort(), RULES.flatMap((table) => Object.keys(table)).sort());
  });

  for (const { name, volume: make } of malformed) {
    test(`${name}: refused by its schema`, async () => {
      const volume = await make();
      const { code, text } = await refusal(() => readAll(volume));
      assert.match(code, /^(?:BUNDLE_INVALID|UNSUPPORTED)$/, text);
      assert.equal(ruleIn(text), undefined);
    });
  }

  test("a volume that is cut off anywhere is damaged, never read as whole", async () => {
    const small = good.subarray(0, 12 * 1024);
    for (let length = 0; length < small.length; length += 97) {
      const { code } = await refusal(() => readAll(good.subarray(0, length)));
      assert.equal(code, "VOLUME_DAMAGED", `${length}`);
    }
    for (const less of [1, 512, 1024, 1536]) {
      assert.equal((await refusal(() => readAll(good.subarray(0, -less)))).code, "VOLUME_DAMAGED", `-${less}`);
    }
  });

  test("a volume with any one bit turned is refused", async () => {
    const front = 12 * 1024;
    for (let turn = 0; turn < 400; turn += 1) {
      const bytes = Buffer.from(good);
      const place = turn < 300 ? (turn * 41) % front : good.length - 1 - (turn % 100) * 29;
      bytes[place] = (bytes[place] ?? 0) ^ (1 << (turn % 8));
      const { code } = await refusal(() => readAll(bytes));
      assert.notEqual(code, "read", `byte ${place}`);
    }
  });
});
