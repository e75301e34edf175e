// SPDX-License-Identifier: Apache-2.0
/** Paths of items: each kind has one spelling, and nothing else is one. Invariant 9. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { parseKeyId } from "../../src/keys/public-key.ts";
import { type Item, itemPath, MOST_PARTS, parseItem } from "../../src/sync/source.ts";

const id = sha256(new Uint8Array());
const keyId = parseKeyId(id);
const at = "e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const GOOD: readonly (readonly [string, Item])[] = [
  [`objects/${at}`, { kind: "object", id, sizeBytes: 1 }],
  [`signatures/${at}/${keyId}.sig`, { kind: "signature", object: id, keyId, sizeBytes: 2 }],
  [`blobs/${at}`, { kind: "blob", blob: id, sizeBytes: 3 }],
  [`blobs/${at}.part-00000`, { kind: "blob", blob: id, part: 0, sizeBytes: 4 }],
  [`blobs/${at}.part-00042`, { kind: "blob", blob: id, part: 42, sizeBytes: 4 }],
  [`blobs/${at}.part-99999`, { kind: "blob", blob: id, part: MOST_PARTS - 1, sizeBytes: 4 }],
];

const BAD: readonly string[] = [
  "",
  "objects",
  `/objects/${at}`,
  `./objects/${at}`,
  `objects//${at}`,
  `objects/${at}/`,
  `objects/../objects/${at}`,
  `Objects/${at}`,
  `objects/${at.toUpperCase()}`,
  `objects/${at.slice(0, -1)}`,
  `objects/${at}0`,
  `objects/${at}\n`,
  `objects\\${at}`,
  `objects/${at.replace("/", "")}`,
  `objects/${at}.part-00000`,
  `signatures/${at}`,
  `signatures/${at}.${keyId}.sig`,
  `signatures/${at}/${keyId}`,
  `signatures/${at}/${keyId}.SIG`,
  `signatures/${at}/${keyId.slice(1)}.sig`,
  `blobs/${at}.part-0`,
  `blobs/${at}.part-000000`,
  `blobs/${at}.part--0001`,
  `blobs/${at}.part-0000a`,
  `refs/trusted/acme/tiny/main`,
  `log/000000/000000000001`,
  `bundle/index.json`,
  `local/head`,
];

describe("paths of items", () => {
  for (const [path, item] of GOOD) {
    test(`${path.slice(0, 14)}… is a ${item.kind}`, () => {
      assert.deepEqual(parseItem(path, item.sizeBytes), item);
      assert.equal(itemPath(item), path);
    });
  }

  for (const path of BAD) {
    test(`${JSON.stringify(path).slice(0, 40)} is none`, () => {
      assert.throws(
        () => parseItem(path, 1),
        (error) => isCofferError(error, "BUNDLE_INVALID"),
      );
    });
  }

  test("every path fits the two fields of a tar header", () => {
    for (const [path] of GOOD) assert.ok(path.slice(path.lastIndexOf("/") + 1).length <= 100, path);
  });
});
