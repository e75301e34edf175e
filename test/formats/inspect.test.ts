// SPDX-License-Identifier: Apache-2.0
/**
 * Every rule of the formats layer, one file each (cases.ts), mirrored in test/vectors/formats.json for other
 * implementations. UPDATE_GOLDEN=1 rewrites the vectors.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type Inspection, inspect } from "../../src/formats/inspect.ts";
import { arrayEntry, GGUF, gguf, safetensors, stringEntry, tensorEntry, text } from "./builders.ts";
import { CASES, type Case } from "./cases.ts";
import { memoryReader } from "./memory-reader.ts";

const VECTORS = new URL("../vectors/formats.json", import.meta.url);
const CODE = /^[a-z0-9][a-z0-9._-]{0,63}$/;

function codes(inspection: Inspection, level: string): string[] {
  return inspection.findings.filter((finding) => finding.level === level).map((finding) => finding.code);
}

for (const one of CASES) {
  test(`inspect: ${one.name}`, async () => {
    const inspection = await inspect(one.path, memoryReader(one.bytes));
    assert.deepEqual(codes(inspection, "fail"), one.fails);
    assert.deepEqual(codes(inspection, "warn"), one.warns ?? []);
    assert.equal(inspection.format, one.format);
    assert.equal(inspection.ok, one.fails.length === 0);
    for (const finding of inspection.findings) {
      assert.match(finding.code, CODE);
      assert.match(finding.text, /^[\x20-\x7e]{1,4096}$/, "one line of printable ascii");
      assert.equal(finding.path, one.path);
    }
  });
}

test("inspect: names of cases are unique", () => {
  assert.equal(new Set(CASES.map((one) => one.name)).size, CASES.length);
});

test("inspect: vectors on disk are these cases", () => {
  const about =
    "Inputs of the formats layer and what it must say. path: name of the file in its model. base64: its bytes. format: what it is " +
    "recognised as. fails, warns: codes of the findings of that level, in order. A file is admitted exactly when fails is empty.";
  const cases = CASES.filter((one) => one.bytes.length <= 4096).map(toVector);
  const expected = `${JSON.stringify({ about, cases }, undefined, 1)}\n`;
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(VECTORS, expected);
  assert.equal(readFileSync(VECTORS, "utf8"), expected);
});

function toVector(one: Case): Record<string, unknown> {
  const { name, path, format, fails, warns = [] } = one;
  return { name, path, base64: Buffer.from(one.bytes).toString("base64"), format, fails, warns };
}

test("inspect: an error of the reader passes through", async () => {
  for (const path of ["m.gguf", "config.json", "m.safetensors"]) {
    const reader = { sizeBytes: 100, read: () => Promise.reject(new Error("EIO")) };
    await assert.rejects(inspect(path, reader), /EIO/);
  }
  const whole = memoryReader(gguf());
  let calls = 0;
  const failing = {
    sizeBytes: whole.sizeBytes,
    read: (position: number, length: number) => {
      calls += 1;
      return calls === 2 ? Promise.reject(new TypeError("later")) : whole.read(position, length);
    },
  };
  await assert.rejects(inspect("m.gguf", failing), /later/);
});

test("inspect: tensor data is never read", async () => {
  const sizeBytes = 2 ** 40;
  const items = (sizeBytes - 4096) / 4;
  const headerBytes = gguf({ tensors: [tensorEntry({ shape: [items] })], data: Buffer.alloc(0) }).length;
  const header = gguf({ tensors: [tensorEntry({ shape: [items] })], data: Buffer.alloc(0) });
  const big = memoryReader(header, headerBytes + items * 4);
  assert.ok((await inspect("m.gguf", big)).ok);
  assert.ok(big.bytesRead() < 2 * 2 ** 20, `${big.bytesRead()} bytes read`);
  const dataBytes = 2 ** 41;
  const st = safetensors(`{"a":{"dtype":"U8","shape":[${dataBytes}],"data_offsets":[0,${dataBytes}]}}`, 0);
  const bigSt = memoryReader(st, st.length + dataBytes);
  assert.ok((await inspect("m.safetensors", bigSt)).ok);
  assert.ok(bigSt.bytesRead() < 2 ** 17, `${bigSt.bytesRead()} bytes read`);
});

test("inspect: headers longer than a window, in small windows", async () => {
  const limits = {
    headerBytes: 1 << 20,
    safetensorsHeaderBytes: 1 << 20,
    jsonBytes: 1 << 20,
    jsonContainers: 100,
    windowBytes: 64,
  };
  const words = Array.from({ length: 5000 }, (_, index) => text(`token ${index} ${"x".repeat(index % 150)}`));
  const bools = Buffer.alloc(1000, 1);
  const bytes = gguf({
    keys: [
      arrayEntry("tokenizer.ggml.tokens", GGUF.string, words.length, Buffer.concat(words)),
      arrayEntry("a", GGUF.bool, 1000, bools),
      stringEntry("tokenizer.chat_template", "é".repeat(1000)),
    ],
  });
  const reader = memoryReader(bytes);
  assert.deepEqual(codes(await inspect("m.gguf", reader, limits), "fail"), []);
  assert.ok(reader.bytesRead() <= 2 * bytes.length + 2 ** 16);
  const small = { ...limits, headerBytes: 10_000 };
  assert.deepEqual(codes(await inspect("m.gguf", memoryReader(bytes), small), "fail"), ["header-too-large"]);
  const prose = Buffer.from("wörld ".repeat(1000));
  assert.deepEqual(codes(await inspect("a.md", memoryReader(prose), limits), "fail"), []);
  const tooLarge = await inspect("a.json", memoryReader(Buffer.from("[]")), { ...limits, jsonBytes: 1 });
  assert.deepEqual(codes(tooLarge, "fail"), ["too-large"]);
  assert.equal(tooLarge.format, "json");
  const manyLists = Buffer.from(`[${Array(100).fill("[]").join(",")}]`);
  assert.deepEqual(codes(await inspect("a.json", memoryReader(manyLists), limits), "fail"), ["too-large"]);
  const manyTensors = safetensors(`{${Array(100).fill('"a":{}').join(",")}}`, 0);
  assert.deepEqual(codes(await inspect("m.safetensors", memoryReader(manyTensors), limits), "fail"), [
    "header-too-large",
  ]);
});

test("inspect: a chat template is hashed and measured", async () => {
  const bytes = gguf({ keys: [stringEntry("tokenizer.chat_template", "hello")] });
  const { findings } = await inspect("m.gguf", memoryReader(bytes));
  const found = findings.find((finding) => finding.code === "chat-template");
  assert.equal(found?.level, "info");
  assert.match(found?.text ?? "", /5 bytes, sha256 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824/);
});

test("inspect: a chat template of more than 1 MiB is refused", async () => {
  const bytes = gguf({ keys: [stringEntry("tokenizer.chat_template", "a".repeat(2 ** 20 + 1))] });
  assert.deepEqual(codes(await inspect("m.gguf", memoryReader(bytes)), "fail"), ["gguf-chat-template"]);
  const file = await inspect("a.jinja", memoryReader(Buffer.alloc(2 ** 20 + 1, 0x61)));
  assert.deepEqual(codes(file, "fail"), ["too-large"]);
});

test("inspect: a flood of warnings does not hide a failure", async () => {
  const many = Array.from({ length: 200 }, (_, index) =>
    stringEntry(`tokenizer.chat_template.t${index}`, "{{ lipsum }}"),
  );
  const inspection = await inspect("m.gguf", memoryReader(gguf({ keys: [...many, u8("z", 13)] })));
  assert.deepEqual(codes(inspection, "fail"), ["gguf-value-type"]);
  assert.ok(inspection.findings.length <= 65);
});

function u8(key: string, type: number): Buffer {
  return Buffer.concat([text(key), Buffer.from([type, 0, 0, 0, 0])]);
}
