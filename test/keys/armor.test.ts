// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeArmor, decodeBase64, encodeArmor, encodeBase64 } from "../../src/keys/armor.ts";
import { sameBytes } from "../../src/keys/ssh-wire.ts";

const decode = (text: string) => decodeArmor("TEST", text, "file", "KEY_INVALID");

test("armor: any bytes come back, in lines of at most 70 columns", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const text = encodeArmor("TEST", bytes);
      assert.ok(sameBytes(decode(text), bytes));
      assert.ok(text.endsWith("-----END TEST-----\n"));
      const lines = text.split("\n").slice(1, -2);
      assert.ok(lines.every((line, at) => (at < lines.length - 1 ? line.length === 70 : line.length <= 70)));
    }),
  );
});

test("armor: a view is encoded as the view, not as the memory behind it", () => {
  assert.equal(encodeBase64(Uint8Array.from([1, 2, 3, 4]).subarray(1, 3)), "AgM=");
});

test("armor: only canonical base64", () => {
  assert.deepEqual([...(decodeBase64("AgM=") ?? [])], [2, 3]);
  for (const text of ["AgM", "AgN=", "AgM==", "Ag M=", "AgM=\n", "Ag-_", "A", "=", "AgM=AgM=", "ÄgM="]) {
    assert.equal(decodeBase64(text), undefined, JSON.stringify(text));
  }
});

test("armor: layouts that are taken, and what is not", () => {
  const good = "-----BEGIN TEST-----\nAgM=\n-----END TEST-----\n";
  for (const text of [
    good,
    good.trim(),
    good.replaceAll("\n", "\r\n"),
    `\n ${good}\n`,
    good.replace("gM", "\ng\t\n M"),
  ]) {
    assert.deepEqual([...decode(text)], [2, 3], JSON.stringify(text));
  }
  const refused: [string, RegExp][] = [
    ["", /^file: expected a first line "-----BEGIN TEST-----", found none$/],
    ["-----BEGIN TEST-----", /expected a last line/],
    [`x\n${good}`, /first line/],
    [`${good}x`, /last line/],
    [good + good, /canonical base64 in one armor/],
    [good.replaceAll("TEST", "OTHER"), /first line/],
    [good.replace("AgM=", "AgM"), /canonical base64/],
    [good.replace("AgM=", "AgM=\n\u00a0"), /canonical base64/],
  ];
  for (const [text, message] of refused) assert.throws(() => decode(text), { code: "KEY_INVALID", message });
});
