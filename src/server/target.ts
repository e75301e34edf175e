// SPDX-License-Identifier: Apache-2.0
/**
 * Request targets, parsed once into a typed route. Paths are never decoded: every address of this server can be written
 * without a percent sign, so one that holds any is refused, and no second reading can differ from the first.
 * Layer: server. Source: RFC 9112 section 3.2, RFC 3986. Holds invariant 9.
 */
import { type Digest, isDigest } from "../base/digest.ts";
import { passOthers } from "../base/errors.ts";
import { type Name, nameFromParts, parseName } from "../base/names.ts";
import type { HostList } from "./hosts.ts";
import { type Refusal, refuse } from "./refusal.ts";

export type Route =
  | { readonly kind: "health" }
  | { readonly kind: "models"; readonly limit: number; readonly after: Name | undefined }
  | { readonly kind: "model"; readonly name: Name }
  | { readonly kind: "resolve"; readonly name: Name }
  | { readonly kind: "blob"; readonly blob: Digest }
  | { readonly kind: "offer" }
  | { readonly kind: "offer-signature" | "offer-documents"; readonly index: Digest };

const TARGET_CHARS = 2048;
/** Visible ASCII without a fragment: what a target may hold (RFC 3986 section 2). */
const TARGET = /^[\x21\x22\x24-\x7e]+$/;
const ABSOLUTE = /^http:\/\/([^/?]*)(.*)$/i;
const DEFAULT_LIMIT = 100;
const MOST_LIMIT = 1000;
const LIMIT = /^[1-9][0-9]{0,3}$/;

/** @param target - the request target as it came over the wire */
export function parseTarget(target: string, hosts: HostList): Route | Refusal {
  if (target.length > TARGET_CHARS) return refuse("TARGET_TOO_LONG");
  if (!TARGET.test(target)) return refuse("BAD_REQUEST", "target: expected visible ascii without a fragment");
  if (target.startsWith("/")) return parseOrigin(target);
  const [, authority, rest] = ABSOLUTE.exec(target) ?? [];
  if (authority === undefined || rest === undefined) return refuse("BAD_REQUEST", "target: expected a path");
  if (!hosts.allows(authority)) return refuse("HOST_REFUSED");
  return parseOrigin(rest.startsWith("/") ? rest : `/${rest}`);
}

function parseOrigin(target: string): Route | Refusal {
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  if (/[%\\]/.test(path)) return refuse("BAD_REQUEST", "path: expected no percent sign and no backslash");
  const parts = path.slice(1).split("/");
  if (path !== "/" && parts.some((part) => part === "" || part === "." || part === "..")) {
    return refuse("BAD_REQUEST", "path: expected no empty part, no . and no ..");
  }
  const query = parseQuery(mark < 0 ? undefined : target.slice(mark + 1));
  return "kind" in query ? query : route(parts, query);
}

function route(parts: readonly string[], query: ReadonlyMap<string, string>): Route | Refusal {
  const [first, second, ...rest] = parts;
  if (first === "v1" && second === "models" && rest.length === 0) return parsePage(query);
  const [stray] = query.keys();
  if (stray !== undefined) return refuse("BAD_REQUEST", "query: expected none at this address");
  if (first === "health" && second === undefined) return { kind: "health" };
  if (first !== "v1") return refuse("NOT_FOUND");
  if (second === "models") return parseModel("model", rest);
  if (second === "resolve") return parseModel("resolve", rest);
  if (second === "blobs") return parseBlob(rest);
  if (second === "bundle") return parseOffer(rest);
  return refuse("NOT_FOUND");
}

/** What is no name is as unknown as a name that nobody has promoted, and gets the same answer. */
function parseModel(kind: "model" | "resolve", parts: readonly string[]): Route | Refusal {
  const [namespace, model, version, more] = parts;
  if (namespace === undefined || model === undefined || version === undefined || more !== undefined) {
    return refuse("NOT_FOUND");
  }
  const name = nameOr(() => nameFromParts(namespace, model, version));
  return name === undefined ? refuse("NOT_FOUND") : { kind, name };
}

function nameOr(parse: () => Name): Name | undefined {
  try {
    return parse();
  } catch (error) {
    passOthers(error, "NAME_INVALID");
    return undefined;
  }
}

function parseBlob(parts: readonly string[]): Route | Refusal {
  const [algorithm, hex, more] = parts;
  if (algorithm !== "sha256" || hex === undefined || more !== undefined || !isDigest(hex)) return refuse("NOT_FOUND");
  return { kind: "blob", blob: hex };
}

function parseOffer(parts: readonly string[]): Route | Refusal {
  const [index, what, more] = parts;
  if (index === undefined) return { kind: "offer" };
  if (!isDigest(index) || more !== undefined) return refuse("NOT_FOUND");
  if (what === "signature" || what === "documents") return { kind: `offer-${what}`, index };
  return refuse("NOT_FOUND");
}

function parsePage(query: ReadonlyMap<string, string>): Route | Refusal {
  const stray = [...query.keys()].find((key) => key !== "limit" && key !== "after");
  if (stray !== undefined) return refuse("BAD_REQUEST", "query: expected limit and after, each once or not at all");
  const limit = query.get("limit");
  if (limit !== undefined && (!LIMIT.test(limit) || Number(limit) > MOST_LIMIT)) {
    return refuse("BAD_REQUEST", `limit: expected a number from 1 to ${MOST_LIMIT}`);
  }
  const text = query.get("after");
  const after = text === undefined ? undefined : nameOr(() => parseName(text));
  if (text !== undefined && after === undefined) {
    return refuse("BAD_REQUEST", "after: expected a name, as next gave it");
  }
  return { kind: "models", limit: limit === undefined ? DEFAULT_LIMIT : Number(limit), after };
}

/** Values are decoded here, once; a plus sign is a plus sign. */
function parseQuery(text: string | undefined): ReadonlyMap<string, string> | Refusal {
  const values = new Map<string, string>();
  for (const pair of text === undefined || text === "" ? [] : text.split("&")) {
    const equals = pair.indexOf("=");
    const key = equals < 0 ? pair : pair.slice(0, equals);
    const value = decode(equals < 0 ? "" : pair.slice(equals + 1));
    if (value === undefined || values.has(key)) {
      return refuse("BAD_REQUEST", "query: expected key=value pairs, each key once");
    }
    values.set(key, value);
  }
  return values;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    return undefined;
  }
}
