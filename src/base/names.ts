// SPDX-License-Identifier: Apache-2.0
/**
 * Names of models, patterns over them, principal names, paths in manifests: parsed once, at the edge.
 * Layer: base. Format: docs/format.md, "Names". Holds invariant 9.
 */
import { CofferError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { quote } from "./quote.ts";

/** `namespace/model@version`, complete and folded; `text` is that form. */
export interface Name {
  readonly namespace: string;
  readonly model: string;
  readonly version: string;
  readonly text: NameText;
}
export type NameText = string & { readonly __brand: "NameText" };
/** `[a-z0-9][a-z0-9._-]{0,63}`: a principal, a tool, a format or a finding. */
export type Label = string & { readonly __brand: "Label" };
/** A relative POSIX path that is safe to create on any system. */
export type ManifestPath = string & { readonly __brand: "ManifestPath" };

const NAMESPACE = /^[a-z0-9]+(?:[_-][a-z0-9]+)*$/;
const PART = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const LABEL = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** Windows opens a device for these, whatever follows the first dot and with spaces before it ("nul .txt"). */
const DEVICE = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9]|conin\$|conout\$)(?: *\..*)?$/i;
const RESERVED_NAMESPACE = "sha256";
/** The longest part of a name, and the longest namespace and model together, with the slash. */
export const PART_CHARS = 80;
export const ID_CHARS = 96;

function invalid(fault: string, text: string): never {
  throw new CofferError("NAME_INVALID", `name ${quote(text)}: ${fault}`);
}

/**
 * Reads a name as people type it: `model`, `namespace/model`, each with `@version` or without.
 * ASCII capitals are folded; `library/` and `@main` fill what is left out.
 *
 * @throws CofferError NAME_INVALID - saying which part is wrong
 */
export function parseName(text: string): Name {
  const folded = foldAscii(text);
  const at = folded.indexOf("@");
  const id = at < 0 ? folded : folded.slice(0, at);
  const version = at < 0 ? "main" : folded.slice(at + 1);
  const slash = id.indexOf("/");
  const namespace = slash < 0 ? "library" : id.slice(0, slash);
  const model = slash < 0 ? id : id.slice(slash + 1);
  return makeName(namespace, model, version, text);
}

/** A name from its three parts, as a URL or a ref path has them; nothing is filled in. @throws CofferError NAME_INVALID */
export function nameFromParts(namespace: string, model: string, version: string): Name {
  const text = `${namespace}/${model}@${version}`;
  return makeName(foldAscii(namespace), foldAscii(model), foldAscii(version), text);
}

function makeName(namespace: string, model: string, version: string, text: string): Name {
  checkPart("namespace", namespace, NAMESPACE, text);
  checkPart("model", model, PART, text);
  checkPart("version", version, PART, text);
  if (namespace === RESERVED_NAMESPACE) invalid("the namespace sha256 is reserved", text);
  if (namespace.length + 1 + model.length > ID_CHARS) invalid(`namespace/model is over ${ID_CHARS} characters`, text);
  return { namespace, model, version, text: `${namespace}/${model}@${version}` as NameText };
}

function checkPart(which: string, part: string, pattern: RegExp, text: string): void {
  if (part.length > PART_CHARS) invalid(`the ${which} is over ${PART_CHARS} characters`, text);
  if (!pattern.test(part)) {
    const inner = which === "namespace" ? "_ or -" : ". _ or -";
    const whole = wholePattern(foldAscii(text)) ?? "'*/*@*'";
    const way = part.includes("*") ? `; to see which names match a pattern: coffer list ${whole}` : "";
    invalid(`the ${which} must be letters and digits, with single ${inner} between them${way}`, text);
  }
  if (part.endsWith(".lock")) invalid(`the ${which} must not end in .lock`, text);
  if (DEVICE.test(part)) invalid(`the ${which} is a device name on Windows`, text);
}

/** Only A-Z: other scripts have letters whose lower case is ASCII (K, the Kelvin sign). */
function foldAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** A rule's pattern over names: three parts, `*` is any run of characters inside one part. */
export interface NamePattern {
  readonly text: string;
  /** What every name that matches begins with. */
  readonly prefix: string;
  matches(name: Name): boolean;
}

const PATTERN = /^([a-z0-9._*-]{1,80})\/([a-z0-9._*-]{1,80})@([a-z0-9._*-]{1,80})$/;

/** @throws CofferError NAME_INVALID - not `part/part@part` of lower-case letters, digits, `. _ - *` */
export function parsePattern(text: string): NamePattern {
  const parts = PATTERN.exec(text);
  if (parts === null) {
    const whole = wholePattern(foldAscii(text));
    const example = whole === undefined ? "" : `, such as ${whole}`;
    return invalid(`a pattern is namespace/model@version, each part with * for any run${example}`, text);
  }
  const tests = parts.slice(1).map(partMatcher);
  return {
    text,
    prefix: text.split("*", 1)[0] ?? "",
    matches: (name) =>
      name.namespace !== RESERVED_NAMESPACE &&
      [name.namespace, name.model, name.version].every((part, index) => tests[index]?.(part) === true),
  };
}

/** What was hardly meant otherwise, with any namespace and any version where they are left out, in a shell's quotes. */
function wholePattern(text: string): string | undefined {
  const spaced = text.includes("/") ? text : `*/${text}`;
  const whole = spaced.includes("@") ? spaced : `${spaced}@*`;
  return PATTERN.test(whole) ? `'${whole}'` : undefined;
}

/** Greedy from the left, without a regular expression: linear in the part however many stars there are. */
function partMatcher(pattern: string): (part: string) => boolean {
  const pieces = pattern.split("*");
  const first = pieces[0] ?? "";
  if (pieces.length === 1) return (part) => part === first;
  const last = pieces.at(-1) ?? "";
  const middle = pieces.slice(1, -1);
  return (part) => {
    if (part.length < first.length + last.length || !part.startsWith(first) || !part.endsWith(last)) return false;
    let from = first.length;
    const end = part.length - last.length;
    for (const piece of middle) {
      const at = part.indexOf(piece, from);
      if (at < 0 || at + piece.length > end) return false;
      from = at + piece.length;
    }
    return true;
  };
}

/** @throws CofferError NAME_INVALID - not `[a-z0-9][a-z0-9._-]{0,63}` */
export function parseLabel(text: string, what = "name"): Label {
  if (!LABEL.test(text)) invalid(`a ${what} is up to 64 of a-z 0-9 . _ -, first a letter or digit`, text);
  return text as Label;
}

/** Printable ASCII without the characters that Windows, shells or ref names give a meaning. */
const PATH_CHARS = /^[\x20-\x7e]+$/;
const PATH_REFUSED = /[\\:*?"<>|]/;

/** @throws CofferError PATH_INVALID - saying which rule of docs/format.md ("Paths") the path breaks */
export function parseManifestPath(text: string): ManifestPath {
  const fail = (fault: string): never => {
    throw new CofferError("PATH_INVALID", `path ${quote(text, 200)}: ${fault}`);
  };
  if (!PATH_CHARS.test(text)) return fail("expected printable ascii, not empty");
  if (text.length > LIMITS.pathBytes) return fail(`over ${LIMITS.pathBytes} bytes`);
  if (PATH_REFUSED.test(text)) return fail('found one of \\ : * ? " < > |');
  for (const part of text.split("/")) {
    if (part === "" || part === "." || part === "..") return fail("found an empty part, . or ..");
    if (part.endsWith(".") || part.endsWith(" ")) return fail("a part ends in a dot or a space");
    if (DEVICE.test(part)) return fail("a part is a device name on Windows");
    // git~1 is how NTFS spells .git for old programs; git refuses it in trees too.
    if (/^(?:\.git|\.coffer|git~[0-9]+)$/i.test(part)) return fail("nothing may lie in .git or .coffer");
  }
  return text as ManifestPath;
}
