// SPDX-License-Identifier: Apache-2.0
/** Which hosts a server answers for: the loopback at its port, and what was named, whatever the case. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isCofferError } from "../../src/base/errors.ts";
import { checkHosts, hostList } from "../../src/server/hosts.ts";

test("the loopback names stand with the port, and at port 80 without it too", () => {
  const other = hostList(8470, []);
  for (const host of ["127.0.0.1:8470", "LocalHost:8470", "[::1]:8470"]) assert.equal(other.allows(host), true, host);
  for (const host of ["localhost", "127.0.0.1", "[::1]", "localhost:80", "localhost:84700", "", "127.0.0.2:8470"])
    assert.equal(other.allows(host), false, host);
  const web = hostList(80, []);
  for (const host of ["127.0.0.1", "LOCALHOST", "[::1]", "localhost:80"]) assert.equal(web.allows(host), true, host);
  assert.equal(web.allows("localhost:8470"), false);
});

test("other names count exactly as they were given", () => {
  const hosts = hostList(8470, ["Models.example.org", "proxy.example.org:8443"]);
  for (const host of ["models.example.ORG", "proxy.example.org:8443"]) assert.equal(hosts.allows(host), true, host);
  for (const host of ["models.example.org:8470", "proxy.example.org", "example.org", "models.example.org."])
    assert.equal(hosts.allows(host), false, host);
});

test("what is no host is refused", () => {
  checkHosts(["a", "a.b:1", "[::1]:8470", "A-B.example.org"]);
  for (const host of ["", "a b", "-a", "a-", "a:", "a:123456", "http://a", "a/b", "[::1", "a\n"])
    assert.throws(
      () => checkHosts(["good", host]),
      (error) => isCofferError(error, "USAGE"),
      JSON.stringify(host),
    );
});
