// SPDX-License-Identifier: Apache-2.0
/**
 * Which Host this server answers for, so that a page whose name was rebound to 127.0.0.1 gets nothing.
 * Layer: server. Source: RFC 9110 sections 7.2 and 7.4, RFC 9112 section 3.2.
 */
import { CofferError } from "../base/errors.ts";

const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/;
const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];
const HTTP_PORT = 80;

export interface HostList {
  /** @param host - as a Host field or an absolute target has it; case does not matter */
  allows(host: string): boolean;
}

/** @throws CofferError USAGE - not a host, with or without a port */
export function checkHosts(hosts: readonly string[]): void {
  const bad = hosts.find((host) => !HOST.test(host.toLowerCase()));
  if (bad !== undefined) {
    throw new CofferError("USAGE", `host: expected a name with or without a port, found ${JSON.stringify(bad)}`);
  }
}

/** The loopback names at `port`, and `more` exactly as written. */
export function hostList(port: number, more: readonly string[]): HostList {
  const allowed = new Set(LOOPBACK.map((host) => `${host}:${port}`));
  if (port === HTTP_PORT) for (const host of LOOPBACK) allowed.add(host);
  for (const host of more) allowed.add(host.toLowerCase());
  return { allows: (host) => allowed.has(host.toLowerCase()) };
}
