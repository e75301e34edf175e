// SPDX-License-Identifier: Apache-2.0
/** Tar headers: one form is written and read, every byte of it has its rule, and stock tar reads the same. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { encodeTarHeader, memberBytes, paddingBytes, readTarHeader, TAR_RULES } from "../../src/sync/tar.ts";

const HEX = "0123456789abcdef".repeat(4);
const PATHS = ["bundle/index.json", `blobs/ab/${HEX.slice(2)}.part-00001`, `signatures/ab/${HEX.slice(2)}/${HEX}.sig`];

function summed(header: Buffer): Buffer {
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

const good = (path = PATHS[0] ?? ""): Buffer => Buffer.from(encodeTarHeader({ path, sizeBytes: 1234 }));

function ruleOf(header: Uint8Array): string {
  try {
    readTarHeader(header, "volume");
    return "none";
  } catch (error) {
    assert.ok(isCofferError(error, "BUNDLE_INVALID"), String(error));
    assert.match(error.message, /^[\x20-\x7e]+$/);
    return /\(rule ([a-z-]+)\)$/.exec(error.message)?.[1] ?? error.message;
  }
}

/** A header with some text put somewhere, its checksum made right again. */
const changed = (at: number, text: string, path?: string): Buffer => {
  const header = good(path);
  header.write(text, at, "latin1");
  return summed(header);
};

describe("tar headers", () => {
  for (const path of PATHS) {
    test(`${path.slice(0, 16)}… is read as it was written, by stock tar too`, () => {
      const header = good(path);
      assert.deepEqual(readTarHeader(header, "volume"), { path, sizeBytes: 1234 });
      const archive = Buffer.concat([header, Buffer.alloc(1234 + paddingBytes(1234) + 1024)]);
      const listed = spawnSync("tar", ["-tvf", "-"], {
        input: archive,
        encoding: "utf8",
        env: { ...process.env, TZ: "UTC" },
      });
      assert.equal(listed.status, 0, listed.stderr);
      assert.match(listed.stdout, new RegExp(`^-r--r--r-- 0/0 +1234 1970-01-01 00:00 ${path}\\n$`));
    });
  }

  const CASES: readonly (readonly [string, string, Buffer])[] = [
    ["a wrong checksum", "tar-checksum", Buffer.from(good().fill("9", 148, 149))],
    ["a checksum of another spelling", "tar-checksum", Buffer.from(good().fill(0, 155, 156))],
    ["no magic", "tar-magic", changed(257, "\0\0\0\0\0\0")],
    ["gnu magic", "tar-magic", changed(257, "ustar  \0")],
    ["a hard link", "tar-type", changed(156, "1")],
    ["a symbolic link", "tar-type", changed(156, "2")],
    ["a device", "tar-type", changed(156, "3")],
    ["a folder", "tar-type", changed(156, "5")],
    ["a pax header", "tar-type", changed(156, "x")],
    ["a global pax header", "tar-type", changed(156, "g")],
    ["a gnu long name", "tar-type", changed(156, "L")],
    ["the old type of a file", "tar-type", changed(156, "\0")],
    ["a link's target", "tar-link", changed(157, "/etc/passwd")],
    ["a size in binary", "tar-size", changed(124, "\x80\0\0\0\0\0\0\0\0\0\0\x01")],
    ["a size with blanks", "tar-size", changed(124, "       1234 ")],
    ["a size that is short", "tar-size", changed(124, "1234\0")],
    ["another mode", "tar-mode", changed(100, "0000755\0")],
    ["an owner", "tar-owner", changed(108, "0001750\0")],
    ["a group", "tar-owner", changed(116, "0001750\0")],
    ["an owner's name", "tar-owner", changed(265, "root")],
    ["a group's name", "tar-owner", changed(297, "wheel")],
    ["a time", "tar-time", changed(136, "14000000000\0")],
    ["a device number", "tar-device", changed(329, "0000001\0")],
    ["a device number of the other kind", "tar-device", changed(337, "0000001\0")],
    ["a path with something after its end", "tar-path", changed(50, "x")],
    ["a path that is not ascii", "tar-path", changed(0, "\xe9")],
    ["a path that is cut without need", "tar-prefix", changed(345, "bundle")],
    ["a prefix alone", "tar-prefix", changed(0, "\0".repeat(100), PATHS[2])],
    ["bytes in the rest", "tar-rest", changed(500, "x")],
  ];
  for (const [what, rule, header] of CASES) {
    test(`refuses ${what}`, () => assert.equal(ruleOf(header), rule));
  }

  test("every rule is broken by one of these", () => {
    assert.deepEqual([...new Set(CASES.map(([, rule]) => rule))].sort(), Object.keys(TAR_RULES).sort());
  });

  // No byte is free: a header says one thing in one way.
  test("any other value of any byte is refused, or is another path or size", () => {
    for (const path of PATHS) {
      const original = good(path);
      for (let at = 0; at < 512; at += 1) {
        for (const value of [0, 0x20, 0x30, 0x31, 0x41, 0xff]) {
          if (original[at] === value || (at >= 148 && at < 156)) continue;
          const header = Buffer.from(original);
          header[at] = value;
          summed(header);
          if (ruleOf(header) !== "none") continue;
          const found = readTarHeader(header, "volume");
          assert.ok(found.path !== path || found.sizeBytes !== 1234, `byte ${at} = ${value}`);
          assert.deepEqual(Buffer.from(encodeTarHeader(found)), header, `byte ${at} = ${value}`);
        }
      }
    }
  });

  test("content is padded to whole blocks", () => {
    assert.deepEqual([0, 1, 511, 512, 513].map(paddingBytes), [0, 511, 1, 0, 511]);
    assert.deepEqual([0, 1, 512, 513].map(memberBytes), [512, 1024, 1024, 1536]);
  });
});

test("a path or a size that no header holds is our own mistake", () => {
  const wrong = [
    { path: "a".repeat(101), sizeBytes: 1 },
    { path: `${"a".repeat(156)}/b`, sizeBytes: 1 },
    { path: "a", sizeBytes: 8 ** 11 },
  ];
  for (const member of wrong) {
    assert.throws(
      () => encodeTarHeader(member),
      (error) => isCofferError(error, "INTERNAL"),
    );
  }
});
