// SPDX-License-Identifier: Apache-2.0
/** Names over HTTP: what is trusted now, what was once, and that all else is one and the same "unknown". */
import assert from "node:assert/strict";
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { sha256 } from "../../src/base/digest.ts";
import { makeSafetensors, makeStoreFixture, ruleFor } from "../support/store-fixture.ts";
import { errorOf, serve, serveNew } from "./client.ts";

const SMALL = makeSafetensors(64);
const OTHER = makeSafetensors(64, 2);
const THIRD = makeSafetensors(64, 3);

suite("server: names", () => {
  test("health says which store and which head", async (t) => {
    const { fixture, running } = await serveNew(t);
    const answer = await running.get("/health");
    assert.equal(answer.status, 200);
    const head = await fixture.store.head();
    assert.deepEqual(JSON.parse(answer.body.toString()), {
      status: "ok",
      store: fixture.store.id,
      head: { number: head.number, id: head.id },
    });
  });

  test("a trusted name: verdict, manifest, files with addresses that work; names are folded", async (t) => {
    const { fixture, running } = await serveNew(t);
    const added = await fixture.trust("acme/tiny@main", {
      "model.safetensors": SMALL,
      "README.md": Buffer.from("# x\n"),
    });
    const model = await running.get("/v1/models/Acme/tiny/MAIN");
    assert.equal(model.status, 200);
    assert.equal(model.headers["content-type"], "application/json");
    const shown = JSON.parse(model.body.toString());
    assert.equal(shown.name, "acme/tiny@main");
    assert.equal(shown.verdict.trusted, true);
    assert.deepEqual(shown.verdict.approvers, ["alice", "bob"]);
    assert.equal(shown.manifest.id, added.manifest);
    assert.deepEqual(
      shown.manifest.document.files,
      added.files.map((file) => ({ ...file })),
    );
    const resolved = JSON.parse((await running.get("/v1/resolve/acme/tiny/main")).body.toString());
    assert.deepEqual(resolved.verdict, shown.verdict);
    assert.deepEqual(
      resolved.files.map((file: { path: string; size: number }) => [file.path, file.size]),
      [
        ["README.md", 4],
        ["model.safetensors", SMALL.length],
      ],
    );
    for (const file of resolved.files) {
      const blob = await running.get(file.url);
      assert.equal(sha256(blob.body), file.sha256);
    }
    assert.deepEqual(
      (await running.get("/v1/models/acme/tiny/main")).body,
      model.body,
      "the same head, the same bytes",
    );
  });

  test("never trusted is unknown: byte for byte one answer", async (t) => {
    const { fixture, running } = await serveNew(t);
    const quarantined = await fixture.add("acme/quarantined", { "m.safetensors": SMALL });
    const proposed = await fixture.add("acme/proposed", { "m.safetensors": OTHER });
    await fixture.approve("acme/proposed", await fixture.propose("acme/proposed"), "alice", "bob");
    await fixture.add("acme/withdrawn", { "m.safetensors": THIRD });
    await fixture.revoke("acme/withdrawn");
    const unknown = await running.get("/v1/models/acme/unknown/main");
    assert.equal(unknown.status, 404);
    assert.equal(errorOf(unknown).code, "NOT_FOUND");
    const blobs = [quarantined, proposed].flatMap(({ files }) => files.map((file) => file.sha256));
    const same = [
      ...["quarantined", "proposed", "withdrawn"].flatMap((name) => [
        `/v1/models/acme/${name}/main`,
        `/v1/resolve/acme/${name}/main`,
      ]),
      ...[...blobs, quarantined.manifest, sha256(SMALL.subarray(1))].map((hex) => `/v1/blobs/sha256/${hex}`),
      ...["/v1/models/sha256/x/y", "/v1/models/a_/b/c", "/v1/models/nul/b/c", "/v1/models/acme/proposed"],
      ...["/", "/v1", "/v2/models", "/v1/blobs/md5/00", "/v1/blobs/sha256/00", "/v1/resolve", "/favicon.ico", "/*"],
      `/v1/blobs/sha256/${sha256(SMALL).toUpperCase()}`,
    ];
    const { date: _, ...headers } = unknown.headers;
    for (const path of same) {
      const answer = await running.get(path);
      const { date: __, ...found } = answer.headers;
      assert.equal(answer.status, 404, path);
      assert.deepEqual(answer.body, unknown.body, path);
      assert.deepEqual(found, headers, path);
    }
    assert.deepEqual(running.faults, []);
  });

  test("once trusted and then revoked: 410 with code and reason, at once; new bytes come back", async (t) => {
    const { fixture, running } = await serveNew(t);
    await fixture.trust("acme/tiny", { "m.safetensors": SMALL });
    assert.equal((await running.get("/v1/resolve/acme/tiny/main")).status, 200);
    await fixture.revoke("acme/tiny", 'backdoor "<script>"\u202e in layer 3');
    for (const path of ["/v1/models/acme/tiny/main", "/v1/resolve/acme/tiny/main"]) {
      const gone = await running.get(path);
      assert.equal(gone.status, 410);
      assert.equal(errorOf(gone).code, "REVOKED");
      assert.match(errorOf(gone).message, /backdoor "<script>"/);
    }
    assert.equal((await running.get(`/v1/blobs/sha256/${sha256(SMALL)}`)).status, 404);
    await fixture.trust("acme/tiny", { "m.safetensors": OTHER });
    assert.equal((await running.get("/v1/resolve/acme/tiny/main")).status, 200);
    assert.equal((await running.get(`/v1/blobs/sha256/${sha256(OTHER)}`)).status, 200);
    assert.equal((await running.get(`/v1/blobs/sha256/${sha256(SMALL)}`)).status, 404);
  });

  test("time alone takes trust away: expired, stale, a clock set back", async (t) => {
    const fixture = await makeStoreFixture(t, [ruleFor("*/*@*", { freshness: { warnDays: 5, denyDays: 10 } })]);
    const running = await serve(t, fixture);
    const start = fixture.nowS;
    await fixture.trust("acme/ends", { "m.safetensors": SMALL }, "2026-11-22T11:00:00Z");
    await fixture.trust("acme/ages", { "m.safetensors": OTHER });
    const code = async (name: string): Promise<string> => {
      const answer = await running.get(`/v1/resolve/acme/${name}/main`);
      return answer.status === 200 ? "200" : `${answer.status} ${errorOf(answer).code}`;
    };
    assert.equal(await code("ends"), "200");
    fixture.nowS = start + 3599;
    assert.equal(await code("ends"), "200");
    fixture.nowS = start + 3600;
    assert.equal(await code("ends"), "410 EXPIRED");
    assert.equal((await running.get(`/v1/blobs/sha256/${sha256(SMALL)}`)).status, 404);
    assert.equal(await code("ages"), "200");
    fixture.nowS = start + 10 * 24 * 3600;
    assert.equal(await code("ages"), "410 STALE");
    fixture.nowS = start - 3600;
    assert.equal(await code("ages"), "410 NOT_YET_VALID");
  });

  test("pages hold the names trusted now, sorted, each once", async (t) => {
    const { fixture, running } = await serveNew(t);
    const names = ["b/two@main", "a/one@v1", "a/one@v2", "c/three@main"];
    for (const [at, name] of names.entries())
      await fixture.trust(name, { "m.safetensors": makeSafetensors(64, 10 + at) });
    await fixture.add("a/waits", { "m.safetensors": makeSafetensors(64, 20) });
    await fixture.revoke("b/two@main");
    const page = async (query: string) => JSON.parse((await running.get(`/v1/models${query}`)).body.toString());
    const all = await page("");
    assert.deepEqual(
      all.models.map((entry: { name: string }) => entry.name),
      ["a/one@v1", "a/one@v2", "c/three@main"],
    );
    assert.equal(all.next, undefined);
    const [first] = all.models;
    assert.deepEqual(Object.keys(first), ["name", "manifest", "files", "size"]);
    assert.equal(first.files, 1);
    assert.equal(first.size, makeSafetensors(64, 11).length);
    const found: string[] = [];
    let query = "?limit=1";
    for (let guard = 0; guard < 10; guard += 1) {
      const { models, next } = await page(query);
      found.push(...models.map((entry: { name: string }) => entry.name));
      if (next === undefined) break;
      query = `?limit=1&after=${guard % 2 === 0 ? next : encodeURIComponent(next)}`;
    }
    assert.deepEqual(found, ["a/one@v1", "a/one@v2", "c/three@main"]);
    assert.deepEqual((await page("?after=z/z@z")).models, []);
    assert.deepEqual((await page("?after=c/three@main")).models, []);
  });

  test("queries that are not understood are refused", async (t) => {
    const { running } = await serveNew(t);
    const bad = [
      "limit=0",
      "limit=1001",
      "limit=-1",
      "limit=1e2",
      "limit=",
      "limit=1&limit=1",
      "after=%00",
      "after=a/b/c",
    ];
    for (const query of [...bad, "after=%", "after=%ff", "page=2", "limit", "__proto__=1", "&"]) {
      const answer = await running.get(`/v1/models?${query}`);
      assert.equal(answer.status, 400, query);
      assert.equal(errorOf(answer).code, "BAD_REQUEST");
    }
    assert.equal((await running.get("/v1/models?")).status, 200);
    assert.equal((await running.get("/health?x=1")).status, 400);
  });

  test("damage is 503 with its code, and told to the operator: a signature, the policy, the log", async (t) => {
    const fixture = await makeStoreFixture(t);
    const added = await fixture.trust("acme/tiny", { "m.safetensors": SMALL });
    await fixture.trust("acme/fine", { "m.safetensors": OTHER });
    const key = fixture.signers.alice.publicKey.keyId;
    unlinkSync(
      join(fixture.location.root, "signatures", added.manifest.slice(0, 2), `${added.manifest.slice(2)}.${key}.sig`),
    );
    const running = await serve(t, fixture);
    const answer = await running.get("/v1/models/acme/tiny/main");
    assert.equal(answer.status, 503);
    assert.equal(errorOf(answer).code, "CORRUPT");
    assert.equal((await running.get(`/v1/blobs/sha256/${sha256(SMALL)}`)).status, 503);
    assert.equal(running.faults.length, 2);
    const page = JSON.parse((await running.get("/v1/models")).body.toString());
    assert.deepEqual(
      page.models.map((entry: { name: string }) => entry.name),
      ["acme/fine@main"],
    );
    assert.equal((await running.get(`/v1/blobs/sha256/${sha256(OTHER)}`)).status, 200);
    const { number } = await fixture.store.head();
    unlinkSync(join(fixture.location.root, "log", "000000", String(number).padStart(12, "0")));
    for (const path of ["/health", "/v1/models", "/v1/models/acme/fine/main", `/v1/blobs/sha256/${sha256(OTHER)}`]) {
      const behind = await running.get(path);
      assert.equal(behind.status, 503, path);
      assert.equal(errorOf(behind).code, "LOG_BEHIND_MEMORY");
    }
  });
});
