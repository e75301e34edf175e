// SPDX-License-Identifier: Apache-2.0
/**
 * What every HTTP client here holds to: to whom a login is shown, whose certificates are believed, and how slow a server may
 * be. Layer: base.
 */
import { X509Certificate } from "node:crypto";
import { CofferError } from "./errors.ts";

export interface Login {
  readonly username: string;
  readonly password: string;
}

/** True where nobody between can read what is sent: https, or this machine by the names that lead nowhere else. */
export function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === "https:" || ["127.0.0.1", "localhost", "[::1]"].includes(hostname);
}

/** The header field of a login (RFC 7617), or none: without a login, and where others could read it. */
export function loginFields(url: URL, login: Login | undefined): Readonly<Record<string, string>> {
  if (login === undefined || !isPrivate(url)) return {};
  return { authorization: `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}` };
}

/** True of the statuses by which a server, or a proxy before it, wants a login or refuses the one that it got. */
export function isDenied(status: number): boolean {
  return status === 401 || status === 403 || status === 407;
}

/**
 * What to say of such an answer.
 * @param shown - the address, without a login
 * @param variables - of the environment, that a login is taken from
 */
export function denied(shown: string, status: number, sent: boolean, variables: string): CofferError {
  const wants = status === 403 ? "it does not allow this" : "it wants a login";
  const text = sent
    ? "it refuses this with the login that was sent"
    : `${wants}; ${variables} are sent over https only`;
  return new CofferError("REMOTE_DENIED", `${shown}: it answered ${status}: ${text}`);
}

/** What a server has had of its client's time, and what it gave for it. */
export interface Patience {
  readonly waitedMs: number;
  readonly bytes: number;
}

const SLOWEST_BYTES_PER_S = 1024;

/** How long so many bytes may take, after a first silence that is allowed: a server that takes longer holds its client for ever. */
export function slowestMs(bytes: number): number {
  return (bytes / SLOWEST_BYTES_PER_S) * 1000;
}

/** What to say of a server that is too slow, or undefined. @param firstMs - how long it may give next to nothing at first */
export function slowness({ waitedMs, bytes }: Patience, firstMs: number): string | undefined {
  if (waitedMs - firstMs <= slowestMs(bytes)) return undefined;
  return `too slow: ${bytes} bytes came, fewer than ${SLOWEST_BYTES_PER_S} a second`;
}

/** @throws CofferError USAGE - not certificates in PEM (RFC 7468) */
export function checkAuthorities(pem: string): void {
  try {
    const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    if (found.length === 0) throw new Error("no certificate");
    for (const one of found) void new X509Certificate(one);
  } catch (error) {
    throw new CofferError("USAGE", "certificate authorities: expected certificates in PEM, found others or none", {
      cause: error,
    });
  }
}
