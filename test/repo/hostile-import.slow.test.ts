// SPDX-License-Identifier: Apache-2.0
/**
 * Hostile volumes given to a store: each is refused by its rule, the store is byte for byte what it was, and nothing of it
 * is left in local/tmp but what the next writer takes away; without that rule the same volume is imported. src/repo/import.ts.
 */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { importFrom } from "../../src/repo/import.ts";
import { init } from "../../src/repo/init.ts";
import { openStore } from "../../src/repo/store.ts";
import { openPipe } from "../../src/sync/pipe.ts";
import type { Source } from "../../src/sync/source.ts";
import { openVolumes } from "../../src/sync/volumes.ts";
import { goodVolume, HOSTILE_POLICY, hostileBundles, malformedBundles } from "../support/hostile-bundles.ts";
import { trickyBundles, trickyForms } from "../support/hostile-tricks.ts";
import { makeMachine, NEW_STORE, newLocation, portsOn } from "../support/machine.ts";
import { MemoryFiles } from "../support/memory-files.ts";
import { ruleIn, without } from "../support/rules-off.ts";
import { contents, difference } from "../support/store-bytes.ts";

const machine = await makeMachine();
after(() => machine.end());
const location = newLocation(machine);
const started = machine.disk.crash("none-lost");
await init(location, HOSTILE_POLICY, portsOn(machine, started, "hostile"));

async function* piped(volume: Uint8Array): AsyncGenerator<Uint8Array> {
  yield volume;
}

async function asFile(volume: Uint8Array): Promise<Source> {
  const files = new MemoryFiles();
  files.plant("volume.tar", volume);
  return openVolumes([{ files, path: "volume.tar", what: "volume.tar" }]);
}

interface Brought {
  /** "imported", or the code. */
  readonly code: string;
  readonly text: string;
  /** Paths of the store that are others than before, local/tmp left out. */
  readonly changed: readonly string[];
  /** What is left in local/tmp, and what of it is left by the next writer, a month later. */
  readonly staged: readonly string[];
  readonly swept: readonly string[];
}

const MONTH_NS = 30n * 24n * 3600n * 1_000_000_000n;

async function bring(open: () => Promise<Source>): Promise<Brought> {
  const disk = started.crash("none-lost");
  const before = contents(disk, NEW_STORE);
  const store = await openStore(location, portsOn(machine, disk, "import"));
  let told = { code: "imported", text: "" };
  try {
    await importFrom(store, await open());
  } catch (error) {
    assert.ok(isCofferError(error), String(error));
    told = { code: error.code, text: error.message };
  }
  const tmp = `${NEW_STORE}/local/tmp`;
  const staged = (await disk.list(tmp)) ?? [];
  const changed = difference(before, contents(disk, NEW_STORE));
  const later = disk.crash("none-lost");
  later.nowNs += MONTH_NS;
  await (await openStore(location, portsOn(machine, later, "later"))).sweep();
  return { ...told, changed, staged, swept: (await later.list(tmp)) ?? [] };
}

function isUntouched({ changed, staged, swept }: Brought): void {
  assert.deepEqual(changed, []);
  for (const name of staged) assert.match(name, /^import-[0-9a-f]{64}$/);
  assert.deepEqual(swept, []);
}

const hostile = [...hostileBundles, ...trickyBundles];
const malformed = [...malformedBundles, ...trickyForms];

/** The import looks at the policies too, and refuses these once more. */
const CAUGHT_AGAIN = new Set(["no policy", "a policy twice in its chain", "a policy that does not come"]);

describe("hostile volumes given to a store", () => {
  test("the one that they are made from is imported", async () => {
    const volume = await goodVolume();
    for (const open of [() => openPipe(piped(volume), "stdin"), () => asFile(volume)]) {
      const { code, text, changed, staged } = await bring(open);
      assert.equal(code, "imported", text);
      assert.ok(changed.length > 0);
      assert.deepEqual(staged, []);
    }
  });

  test("there are a hundred and more", () => {
    assert.equal(new Set(hostile.map(({ name }) => name)).size, hostile.length);
    assert.ok(hostile.length >= 100, `${hostile.length}`);
  });

  for (const { name, rules, volume: make, beyond } of hostile) {
    // An import reads no more of a file than it needs; `bundle verify` reads all of it.
    if (rules[0] === "volume-hash") continue;
    test(`${name}: refused by ${rules[0]}, and the store is what it was`, async () => {
      const volume = await make();
      for (const open of [() => openPipe(piped(volume), "stdin"), () => asFile(volume)]) {
        const brought = await bring(open);
        assert.equal(ruleIn(brought.text), rules[0], `${brought.code} ${brought.text}`);
        isUntouched(brought);
      }
    });
    if (beyond) continue;
    test(`${name}: imported without ${rules.join(", ")}`, async () => {
      const volume = await make();
      const { code, text } = await without(rules, () => bring(() => openPipe(piped(volume), "stdin")));
      if (CAUGHT_AGAIN.has(name)) assert.match(code, /^(?:BUNDLE_INVALID|UNSUPPORTED)$/);
      else assert.equal(code, "imported", text);
    });
  }

  for (const { name, volume: make } of malformed) {
    test(`${name}: refused by its form, and the store is what it was`, async () => {
      const volume = await make();
      const brought = await bring(() => openPipe(piped(volume), "stdin"));
      assert.match(brought.code, /^(?:BUNDLE_INVALID|UNSUPPORTED)$/, brought.text);
      isUntouched(brought);
    });
  }

  test("bytes without an end are refused before they are read", async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield await goodVolume();
      for (;;) {
        given += 1;
        yield new Uint8Array(65_536);
      }
    }
    const brought = await bring(() => openPipe(endless(), "stdin"));
    assert.equal(ruleIn(brought.text), "nothing-after");
    assert.ok(given < 3, `${given}`);
    isUntouched(brought);
  });
});
