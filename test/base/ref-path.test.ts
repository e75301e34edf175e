// SPDX-License-Identifier: Apache-2.0
/** Ref paths (invariant 9): each family reads back as what it was made from; no other text is a ref. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseDigest } from "../../src/base/digest.ts";
import { isCofferError } from "../../src/base/errors.ts";
import { nameFromParts, parseName } from "../../src/base/names.ts";
import {
  asRefPath,
  evidenceRef,
  NAME_FAMILIES,
  nameRef,
  type ParsedRef,
  POLICY_REF,
  parseRefPath,
  REMOTE_KINDS,
  refusedRef,
  remoteRef,
  revokedRef,
  signersRef,
} from "../../src/base/ref-path.ts";

const hex = "0123456789abcdef".repeat(4);
const digest = parseDigest(hex);
const name = parseName("Acme/Tiny-2.5@V1.0");

function written(ref: ParsedRef): string {
  if (ref.family === "policy") return POLICY_REF;
  if ("name" in ref) return nameRef(ref.family, ref.name);
  if (ref.family === "revoked-bytes") return revokedRef(ref.digest, ref.kind);
  if (ref.family === "remotes") return remoteRef(ref.store, ref.kind);
  return { refused: refusedRef, evidence: evidenceRef, signers: signersRef }[ref.family](ref.digest);
}

describe("ref paths: each family round-trips", () => {
  for (const family of NAME_FAMILIES) {
    test(family, () => {
      const path = nameRef(family, name);
      assert.equal(path, `refs/${family}/acme/tiny-2.5/v1.0`);
      assert.deepEqual(parseRefPath(path), { family, name });
      assert.equal(asRefPath(path), path);
    });
  }
  for (const kind of ["manifest", "blob", "statement"] as const) {
    test(`revoked ${kind}`, () => {
      const path = revokedRef(digest, kind);
      assert.equal(path, `refs/revoked/sha256/${hex}/${kind}`);
      assert.deepEqual(parseRefPath(path), { family: "revoked-bytes", digest, kind });
    });
  }
  for (const kind of REMOTE_KINDS) {
    test(`of another store: ${kind}`, () => {
      const path = remoteRef(digest, kind);
      assert.equal(path, `refs/remotes/${hex}/${kind}`);
      assert.deepEqual(parseRefPath(path), { family: "remotes", store: digest, kind });
    });
  }
  for (const wrong of [
    `refs/remotes/${hex}`,
    `refs/remotes/${hex}/head`,
    `refs/remotes/${hex}/index/x`,
    "refs/remotes/a/index",
  ]) {
    test(`not a ref: ${wrong.slice(0, 30)}`, () => {
      assert.throws(
        () => parseRefPath(wrong),
        (error) => isCofferError(error, "NAME_INVALID"),
      );
    });
  }
  test("the families of names are these", () => {
    const wanted = "acquired chain deleted deleting proposed quarantined revoked revoking trusted waiting";
    assert.equal(NAME_FAMILIES.join(" "), wanted);
  });
  test("refused, evidence, signers, policy", () => {
    assert.equal(refusedRef(digest), `refs/refused/sha256/${hex}`);
    assert.equal(evidenceRef(digest), `refs/evidence/sha256/${hex}`);
    assert.equal(signersRef(digest), `refs/signers/sha256/${hex}`);
    assert.deepEqual(parseRefPath(refusedRef(digest)), { family: "refused", digest });
    assert.deepEqual(parseRefPath(evidenceRef(digest)), { family: "evidence", digest });
    assert.deepEqual(parseRefPath(signersRef(digest)), { family: "signers", digest });
    assert.deepEqual(parseRefPath(POLICY_REF), { family: "policy" });
  });

  test("different things have different paths", () => {
    const other = nameFromParts("acme", "tiny-2.5", "v1.1");
    const paths = [
      POLICY_REF,
      refusedRef(digest),
      evidenceRef(digest),
      signersRef(digest),
      ...(["manifest", "blob", "statement"] as const).map((kind) => revokedRef(digest, kind)),
      ...NAME_FAMILIES.flatMap((family) => [nameRef(family, name), nameRef(family, other)]),
    ];
    assert.equal(new Set(paths).size, paths.length);
  });
});

describe("ref paths: refused", () => {
  for (const [fault, text] of [
    ["nothing", ""],
    ["refs alone", "refs"],
    ["refs and a slash", "refs/"],
    ["leading slash", "/refs/trusted/acme/tiny/main"],
    ["without refs", "trusted/acme/tiny/main"],
    ["refs in capitals", "REFS/trusted/acme/tiny/main"],
    ["family in capitals", "refs/Trusted/acme/tiny/main"],
    ["name in capitals", "refs/trusted/Acme/tiny/main"],
    ["model in capitals", "refs/trusted/acme/Tiny/main"],
    ["version in capitals", "refs/trusted/acme/tiny/MAIN"],
    ["family unknown", "refs/approved/acme/tiny/main"],
    ["git's heads", "refs/heads/main"],
    ["git's heads, three parts", "refs/heads/acme/tiny/main"],
    ["family of Object.prototype", "refs/constructor/acme/tiny/main"],
    ["__proto__", "refs/__proto__/acme/tiny/main"],
    ["no family", "refs//acme/tiny/main"],
    ["no version", "refs/trusted/acme/tiny"],
    ["empty version", "refs/trusted/acme/tiny/"],
    ["empty model", "refs/trusted/acme//main"],
    ["empty namespace", "refs/trusted//tiny/main"],
    ["a part too many", "refs/trusted/acme/tiny/main/x"],
    ["trailing slash", "refs/trusted/acme/tiny/main/"],
    ["name as people type it", "refs/trusted/acme/tiny@main"],
    ["traversal in the family", "refs/../acme/tiny/main"],
    ["traversal in the namespace", "refs/trusted/../tiny/main"],
    ["traversal in the model", "refs/trusted/acme/../main"],
    ["traversal in the version", "refs/trusted/acme/tiny/.."],
    ["a dot", "refs/trusted/acme/./main"],
    ["backslashes", "refs\\trusted\\acme\\tiny\\main"],
    ["backslash in a part", "refs/trusted/acme/tiny/a\\b"],
    ["NUL", "refs/trusted/acme/tiny/main\0"],
    ["newline", "refs/trusted/acme/tiny/main\n"],
    ["space", " refs/trusted/acme/tiny/main"],
    ["look-alike letter", "refs/trusted/acme/tiny/\u212a"],
    [".lock", "refs/trusted/acme/tiny/main.lock"],
    ["device name", "refs/trusted/acme/tiny/nul"],
    ["reserved namespace", "refs/trusted/sha256/tiny/main"],
    ["digest under a family of names", `refs/trusted/sha256/${hex}/manifest`],
    ["digest under proposed", `refs/proposed/sha256/${hex}/statement`],
    ["revoked bytes of no kind", `refs/revoked/sha256/${hex}`],
    ["revoked bytes of an unknown kind", `refs/revoked/sha256/${hex}/policy`],
    ["revoked bytes, kind in capitals", `refs/revoked/sha256/${hex}/Blob`],
    ["revoked bytes, digest in capitals", `refs/revoked/sha256/${hex.toUpperCase()}/blob`],
    ["revoked bytes, digest too short", `refs/revoked/sha256/${hex.slice(1)}/blob`],
    ["revoked bytes, a part too many", `refs/revoked/sha256/${hex}/blob/x`],
    ["refused with a kind", `refs/refused/sha256/${hex}/statement`],
    ["refused with a trailing slash", `refs/refused/sha256/${hex}/`],
    ["refused without algorithm", `refs/refused/${hex}`],
    ["evidence of another algorithm", `refs/evidence/sha512/${hex}`],
    ["evidence of no digest", "refs/evidence/sha256/tiny"],
    ["evidence under a name", "refs/evidence/acme/tiny/main"],
    ["signers with a kind", `refs/signers/sha256/${hex}/statement`],
    ["signers with a trailing slash", `refs/signers/sha256/${hex}/`],
    ["signers without algorithm", `refs/signers/${hex}`],
    ["signers, digest in capitals", `refs/signers/sha256/${hex.toUpperCase()}`],
    ["signers, digest too long", `refs/signers/sha256/${hex}0`],
    ["signers under a name", "refs/signers/acme/tiny/main"],
    ["waiting about a digest", `refs/waiting/sha256/${hex}`],
    ["waiting about a digest and a kind", `refs/waiting/sha256/${hex}/statement`],
    ["waiting without a version", "refs/waiting/acme/tiny"],
    ["policy with a part", "refs/policy/acme"],
    ["policy as a name", "refs/policy/acme/tiny/main"],
    ["policy with a trailing slash", "refs/policy/"],
  ] as const) {
    test(fault, () => {
      assert.throws(() => parseRefPath(text), { code: "NAME_INVALID", message: /^[\x20-\x7e]{1,400}$/ });
      assert.throws(() => asRefPath(text), { code: "NAME_INVALID" });
    });
  }

  test("what is accepted is written again as it was", () => {
    const part = fc.constantFrom(
      "refs",
      "trusted",
      "revoked",
      "signers",
      "sha256",
      hex,
      "blob",
      "a",
      "B",
      "..",
      "",
      "policy",
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const text = parts[0] === "refs" ? parts.join("/") : ["refs", ...parts].join("/");
        try {
          const ref = parseRefPath(text);
          assert.equal(written(ref), text);
        } catch (error) {
          assert.ok(isCofferError(error, "NAME_INVALID"), String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });
});
