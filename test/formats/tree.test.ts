// SPDX-License-Identifier: Apache-2.0
/** Checks across the files of one model: shards and their index, code that configs ask for, launch settings. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeTinyHfFiles } from "../../scripts/fixtures/tiny-hf-folder.mjs";
import { inspect, inspectTree } from "../../src/formats/inspect.ts";
import { capFindings } from "../../src/formats/tree.ts";
import { memoryReader } from "./memory-reader.ts";

const SHARD_1 = "model-00001-of-00002.safetensors";
const SHARD_2 = "model-00002-of-00002.safetensors";
const INDEX = "model.safetensors.index.json";

/** Codes by level and path of the tree's own findings, as `level code path`. */
async function check(files: ReadonlyMap<string, Uint8Array | string>): Promise<string[]> {
  const inspected = [];
  for (const [path, content] of files) {
    const reader = memoryReader(typeof content === "string" ? Buffer.from(content) : content);
    inspected.push({ path, reader, inspection: await inspect(path, reader) });
  }
  const findings = await inspectTree(inspected);
  for (const finding of findings) assert.match(finding.text, /^[\x20-\x7e]+$/);
  return findings.map((finding) => `${finding.level} ${finding.code} ${finding.path}`);
}

function changed(changes: Readonly<Record<string, Uint8Array | string | undefined>>): Map<string, Uint8Array | string> {
  const files = new Map<string, Uint8Array | string>(makeTinyHfFiles());
  for (const [path, content] of Object.entries(changes)) {
    if (content === undefined) files.delete(path);
    else files.set(path, content);
  }
  return files;
}

function index(change: (map: Record<string, unknown>) => void): string {
  const value = JSON.parse(Buffer.from(makeTinyHfFiles().get(INDEX) ?? []).toString());
  change(value.weight_map);
  return JSON.stringify(value);
}

test("tree: a whole Hugging Face folder passes", async () => {
  assert.deepEqual(await check(makeTinyHfFiles()), []);
});

test("tree: the same folder one level down passes", async () => {
  const moved = new Map([...makeTinyHfFiles()].map(([path, bytes]) => [`sub/${path}`, bytes]));
  assert.deepEqual(await check(moved), []);
});

test("tree: a shard of the index is missing", async () => {
  const found = await check(changed({ [SHARD_2]: undefined }));
  assert.deepEqual(found, [`warn shard-missing ${SHARD_1}`, `fail index-shard-missing ${INDEX}`]);
});

test("tree: a shard is not safetensors, or broken", async () => {
  assert.deepEqual(await check(changed({ [SHARD_2]: "text" })), [`fail index-shard-format ${INDEX}`]);
  const cut = makeTinyHfFiles().get(SHARD_2)?.subarray(0, -1) ?? new Uint8Array(0);
  assert.deepEqual(await check(changed({ [SHARD_2]: cut })), [`fail index-shard-format ${INDEX}`]);
});

test("tree: the index names a tensor that its shard lacks", async () => {
  const text = index((map) => {
    map["model.extra.weight"] = SHARD_1;
  });
  assert.deepEqual(await check(changed({ [INDEX]: text })), [`fail index-tensor-missing ${INDEX}`]);
});

test("tree: a shard holds a tensor that the index does not name", async () => {
  const text = index((map) => {
    delete map["model.norm.weight"];
  });
  assert.deepEqual(await check(changed({ [INDEX]: text })), [`fail index-tensor-extra ${INDEX}`]);
});

test("tree: the index puts a tensor into the wrong shard", async () => {
  const text = index((map) => {
    map["model.norm.weight"] = SHARD_1;
  });
  const found = await check(changed({ [INDEX]: text }));
  assert.deepEqual(found, [`fail index-tensor-missing ${INDEX}`, `fail index-tensor-extra ${INDEX}`]);
});

for (const path of [
  "../x.safetensors",
  "/etc/x.safetensors",
  "a/../x.safetensors",
  "a\\x.safetensors",
  "c:x",
  "./x",
  "",
]) {
  test(`tree: the index leads outside: ${JSON.stringify(path)}`, async () => {
    const text = index((map) => {
      map["model.norm.weight"] = path;
    });
    const found = await check(changed({ [INDEX]: text }));
    assert.ok(found.includes(`fail index-path ${INDEX}`), found.join());
  });
}

test("tree: an index without a map, or with a number as file", async () => {
  for (const text of ["{}", "[]", '{"weight_map":[]}', '{"weight_map":{"a":1}}']) {
    assert.deepEqual(await check(changed({ [INDEX]: text })), [`fail index-shape ${INDEX}`], text);
  }
});

test("tree: configs that ask for code", async () => {
  const asking = {
    "config.json": '{"auto_map":{"AutoModel":"other/repo--modeling.X"}}',
    "sub/tokenizer_config.json": '{"a":[{"auto_map":{}}]}',
    "generation_config.json": '{"trust_remote_code":true}',
    "adapter_config.json": '{"_attn_implementation_internal":"other/repo"}',
  };
  const found = await check(new Map(Object.entries(asking)));
  assert.deepEqual(
    found,
    Object.keys(asking).map((path) => `warn remote-code ${path}`),
  );
  assert.deepEqual(await check(new Map([["config.json", '{"trust_remote_code":false}']])), []);
});

test("tree: a config that did not pass is not read", async () => {
  assert.deepEqual(await check(new Map([["config.json", '{"auto_map":{},"auto_map":{}}']])), []);
});

test("tree: preset.ini is refused wherever it lies", async () => {
  assert.deepEqual(
    await check(
      new Map([
        ["preset.ini", "[*]\n"],
        ["a/Preset.INI", ""],
      ]),
    ),
    ["fail preset-ini preset.ini", "fail preset-ini a/Preset.INI"],
  );
});

test("tree: shards without an index", async () => {
  const found = await check(
    new Map([
      ["m-00002-of-00003.gguf", "x"],
      ["m-00003-of-00003.gguf", "x"],
    ]),
  );
  assert.deepEqual(found, ["warn shard-missing m-00002-of-00003.gguf"]);
  assert.deepEqual(await check(new Map([["m-00001-of-99999.gguf", "x"]])), []);
});

test("tree: an error of a reader passes through", async () => {
  const inspection = { format: "json", ok: true, findings: [] };
  const reader = { sizeBytes: 10, read: () => Promise.reject(new Error("EIO")) };
  await assert.rejects(inspectTree([{ path: "config.json", reader, inspection }]), /EIO/);
});

test("tree: an index of 200,000 missing shards gives a short report that still fails", async () => {
  const map = Object.fromEntries(Array.from({ length: 200_000 }, (_, at) => [`t${at}`, `s${at}.safetensors`]));
  const bytes = Buffer.from(JSON.stringify({ weight_map: map }));
  const reader = memoryReader(bytes);
  const findings = await inspectTree([{ path: INDEX, reader, inspection: await inspect(INDEX, reader) }]);
  assert.equal(findings.length, 64);
  assert.deepEqual(findings[62]?.code, "index-shard-missing");
  assert.deepEqual(findings[63], { code: "more-findings", level: "fail", path: INDEX, text: "and 199937 more" });
});

test("tree: a cap leaves out the mildest, keeps the order, and never changes the verdict", () => {
  const finding = (level: "info" | "warn" | "fail", at: number) => ({ code: `c${at}`, level, text: "x" });
  const of = (...levels: ("info" | "warn" | "fail")[]) =>
    capFindings(levels.map(finding), 3).map(({ code, level, text }) => `${level} ${code} ${text}`);
  assert.deepEqual(of("info", "fail", "warn"), ["info c0 x", "fail c1 x", "warn c2 x"]);
  assert.deepEqual(of("info", "warn", "info", "fail"), ["warn c1 x", "fail c3 x", "info more-findings and 2 more"]);
  assert.deepEqual(of("warn", "fail", "warn", "info"), ["warn c0 x", "fail c1 x", "warn more-findings and 2 more"]);
  assert.deepEqual(of("fail", "fail", "fail", "fail"), ["fail c0 x", "fail c1 x", "fail more-findings and 2 more"]);
});
