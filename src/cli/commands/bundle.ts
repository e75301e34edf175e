// SPDX-License-Identifier: Apache-2.0
/** `bundle create`, `bundle inspect`, `bundle verify`: what travels between stores, made and looked at. Layer: cli. */
import { basename, resolve } from "node:path";
import { short } from "../../base/digest.ts";
import { CofferError, ERRORS, EXIT, worstOf } from "../../base/errors.ts";
import { parseName, parsePattern } from "../../base/names.ts";
import { quote } from "../../base/quote.ts";
import { type Bundle, type BundleRequest, makeBundle, receiverOf, rootText, sameBundle } from "../../repo/bundle.ts";
import { volumeNumbers, type WrittenVolume, writeVolumes } from "../../repo/bundle-files.ts";
import {
  type Inspected,
  indexOf,
  inspectBundles,
  isVolumePath,
  type Media,
  type NamedPath,
  streamVolumes,
  type Told,
  targetAt,
  type Verified,
  verifyBundles,
} from "../../repo/bundle-media.ts";
import { readReceipt } from "../../repo/delivery.ts";
import { type Fault, failedAll, failedText, messageWith } from "../../repo/incoming.ts";
import type { Sealing } from "../../repo/sealing.ts";
import type { Store } from "../../repo/store.ts";
import { type IdentityOptions, type RecipientOptions, sealingFor, unlockFrom } from "../age-files.ts";
import { type Context, open, quoteArgument } from "../context.ts";
import { counted, sizeText, table } from "../format.ts";
import { createdJson, inspectedJson, verifiedJson } from "../json-bundles.ts";
import { refuseSpecial } from "../small-file.ts";
import { readReceiptFile } from "./receipt.ts";

export interface CreateOptions extends RecipientOptions, IdentityOptions {
  readonly out: string;
  /** commander's form of --no-blobs. */
  readonly blobs: boolean;
  readonly candidates?: boolean;
  readonly revocations?: boolean;
  readonly volumeSize?: string;
  readonly onlyVolume?: string;
  readonly again?: string;
  readonly for?: string;
}

/** In place of a path: stdin, or stdout. */
export const PIPE = "-";

const named = ({ io }: Context, path: string): NamedPath => ({ absolute: resolve(io.cwd, path), shown: path });

export async function runBundleCreate(
  context: Context,
  words: readonly string[],
  options: CreateOptions,
): Promise<void> {
  const { io, ui } = context;
  checkOptions(context, words, options);
  const only = options.onlyVolume === undefined ? undefined : parseNumber(options.onlyVolume);
  const sealing = await sealingFor(context, options);
  const out = named(context, options.out);
  if (options.out !== PIPE) isVolumePath(out, sealing); // refused before anything is gathered
  const store = await open(context);
  const bundle = await bundleFor(context, store, words, options, sealing);
  const numbers = volumeNumbers(bundle, only);
  if (options.out === PIPE) {
    await streamVolumes(store, bundle, numbers, sealing, io.outBytes);
    ui.say(summary(bundle));
    sayRecipients(context, sealing);
    return;
  }
  const target = await targetAt(io.ports, out, sealing);
  if (target.name !== undefined && numbers.length > 1) {
    throw new CofferError("USAGE", `--out: expected a folder for ${numbers.length} volumes, found a file`);
  }
  const written = await writeVolumes(store, bundle, numbers, target, {
    random: io.ports.random,
    sealing,
    onBytes: (volume, done, of) => ui.progress(`volume ${volume}: ${sizeText(done)} of ${sizeText(of)}`),
  });
  tellCreated(context, bundle, written, options.out, sealing);
}

/** @throws CofferError USAGE - options that contradict each other */
function checkOptions(context: Context, words: readonly string[], options: CreateOptions): void {
  const ways = [words.length > 0, options.revocations === true, options.again !== undefined].filter(Boolean).length;
  const choice = "names, --revocations and --again";
  if (ways === 0) throw new CofferError("USAGE", `bundle create: expected one of ${choice}, found none`);
  if (ways > 1) throw new CofferError("USAGE", `bundle create: expected only one of ${choice}, found ${ways}`);
  if (
    options.again !== undefined &&
    (options.candidates === true || !options.blobs || options.volumeSize !== undefined || options.for !== undefined)
  )
    throw new CofferError(
      "USAGE",
      "bundle create: --again makes what was made; only --only-volume and --out go with it",
    );
  if (options.again === undefined && options.identity !== undefined)
    throw new CofferError(
      "USAGE",
      "bundle create: --identity opens the bundle of --again; recipients go with --encrypt-to",
    );
  if (options.revocations === true && options.candidates === true)
    throw new CofferError("USAGE", "bundle create: --revocations brings no names, so no candidates");
  if (options.out === PIPE && context.ui.inJson)
    throw new CofferError("USAGE", "bundle create: --out - prints the bundle itself, so not with --json");
}

async function bundleFor(
  context: Context,
  store: Store,
  words: readonly string[],
  options: CreateOptions,
  sealing: Sealing | undefined,
): Promise<Bundle> {
  if (options.again !== undefined) {
    const again = named(context, options.again);
    const { index, signature, sealed } = await indexOf(context.io.ports, again, unlockFrom(context, options));
    if (sealed && sealing === undefined) {
      const text = "--again: that bundle is encrypted: expected --encrypt-to as well, or a volume that was decrypted";
      throw new CofferError("USAGE", text);
    }
    return sameBundle(store, index, signature);
  }
  const receipt = options.for === undefined ? undefined : await readReceipt(readReceiptFile(context, options.for));
  context.ui.progress("gathering what travels");
  const receiver = receipt === undefined ? {} : { receiver: receiverOf(receipt) };
  return makeBundle(store, { ...requestOf(words, options, sealing), ...receiver });
}

/** What words and options ask for. @throws CofferError NAME_INVALID, USAGE */
export function requestOf(
  words: readonly string[],
  options: Pick<CreateOptions, "blobs" | "candidates" | "revocations" | "volumeSize">,
  sealing?: Sealing | undefined,
): BundleRequest {
  const size = options.volumeSize === undefined ? undefined : parseVolumeSize(options.volumeSize);
  const isPattern = (word: string): boolean => word.includes("*");
  return {
    names: words.filter((word) => !isPattern(word)).map((word) => parseName(word)),
    patterns: words.filter(isPattern).map(parsePattern),
    candidates: options.candidates === true,
    blobs: options.blobs && options.candidates !== true && options.revocations !== true,
    ...(size === undefined ? {} : { volumeBytes: sealing?.room(size) ?? size }),
  };
}

function parseNumber(text: string): number {
  if (/^[1-9][0-9]{0,3}$/.test(text)) return Number(text);
  throw new CofferError("USAGE", `--only-volume: expected the number of a volume, found ${quote(text, 40)}`);
}

/** The largest file of FAT32, and what a single-layer DVD holds. */
const MEDIA_BYTES: Readonly<Record<string, number>> = { fat32: 4_294_967_295, dvd: 4_700_000_000 };
const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };
const LEAST_VOLUME_BYTES = 16 * 1024 ** 2;

/** `fat32`, `dvd`, or a number of bytes with K, M, G or T for powers of 1,024. @throws CofferError USAGE */
export function parseVolumeSize(text: string): number {
  const media = MEDIA_BYTES[text.toLowerCase()];
  if (media !== undefined) return media;
  const [, digits, unit = ""] = /^([1-9][0-9]{0,14})([KMGT]?)$/i.exec(text) ?? [];
  const bytes = Number(digits ?? 0) * (UNITS[unit.toUpperCase()] ?? 1);
  if (Number.isSafeInteger(bytes) && bytes >= LEAST_VOLUME_BYTES) return bytes;
  throw new CofferError(
    "USAGE",
    `--volume-size: expected fat32, dvd, or 16M and more (K, M, G, T), found ${quote(text, 40)}`,
  );
}

function summary({ index: { id, value } }: Bundle): string {
  const bytes = value.items.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const parts = [
    counted(value.names.length, "name"),
    ...(value.candidates.length > 0 ? [counted(value.candidates.length, "candidate")] : []),
    counted(value.revocations.length, "revocation"),
    counted(value.refusals.length, "refusal"),
  ];
  return `bundle ${short(id)} of log entry ${value.log.number}: ${parts.join(", ")}; ${counted(value.items.length, "item")}, ${sizeText(bytes)}`;
}

function tellCreated(
  context: Context,
  bundle: Bundle,
  written: readonly WrittenVolume[],
  out: string,
  sealing: Sealing | undefined,
): void {
  const { ui } = context;
  const isFile = isVolumePath(named(context, out), sealing);
  ui.json(createdJson(bundle, written, sealing?.recipients ?? []));
  for (const { file } of written) ui.data(isFile ? out : `${out.replace(/\/+$/, "")}/${file}`);
  ui.say(summary(bundle));
  const all = bundle.index.value.volumes.length;
  ui.say(
    `${counted(written.length, "volume")}${written.length < all ? ` of ${all}` : ""}, ${sizeText(written.reduce((sum, { bytes }) => sum + bytes, 0))}`,
  );
  sayRecipients(context, sealing);
  ui.next(`coffer bundle verify ${quoteArgument(out)}${sealing === undefined ? "" : " --identity FILE"}`);
}

function sayRecipients({ ui }: Context, sealing: Sealing | undefined): void {
  if (sealing !== undefined) ui.say(`encrypted to ${counted(sealing.recipients.length, "recipient")}`);
}

export function mediaOf(context: Context, paths: readonly string[], options: IdentityOptions): Media {
  const unlock = unlockFrom(context, options);
  if (paths.includes(PIPE)) {
    if (paths.length > 1) throw new CofferError("USAGE", "expected - alone, or paths");
    return { kind: "pipe", stream: context.io.input(), shown: "stdin", unlock };
  }
  const places = paths.map((path) => named(context, path));
  for (const { absolute, shown } of places) refuseSpecial(absolute, shown, "a volume, a folder, or - for a pipe");
  return { kind: "paths", paths: places, unlock };
}

export async function runBundleInspect(
  context: Context,
  paths: readonly string[],
  options: IdentityOptions,
): Promise<number> {
  const { ui } = context;
  const media = mediaOf(context, paths, options);
  const told = await inspectBundles(context.io.ports, media);
  if (told.bundles.length === 0) throw failedAll(told.failed);
  ui.json(inspectedJson(told));
  for (const looked of told.bundles) {
    for (const line of inspectedLines(looked)) ui.data(line);
    const of = ofBundle(told, looked.id);
    for (const { what, error } of looked.faults) ui.warn(`${of}left out: ${messageWith(what, error)}`);
    for (const what of looked.missing) ui.warn(`${of}${what} is not here`);
  }
  for (const fault of told.failed) ui.warn(`cannot be read: ${failedText(fault)}`);
  sayPassedOver(context, told.passedOver);
  ui.say("all of this is the sender's word; `coffer bundle verify` checks hashes and signatures");
  const flags = (options.identity ?? []).map((file) => ` --identity ${quoteArgument(file)}`);
  ui.next(`coffer bundle verify ${paths.map(quoteArgument).join(" ")}${flags.join("")}`);
  const faults = [...told.failed, ...told.bundles.flatMap((looked) => looked.faults)];
  return worstOf(faults.map(({ error }) => ERRORS[error.code].exit));
}

/** Of files that one would not take for volumes: more than these are counted only. */
const PASSED_OVER_SHOWN = 8;

export function sayPassedOver({ ui }: Context, passedOver: readonly Fault[]): void {
  for (const { what, error } of passedOver.slice(0, PASSED_OVER_SHOWN))
    ui.say(`passed over, and may hold a volume: ${messageWith(what, error)}`);
  const more = passedOver.length - PASSED_OVER_SHOWN;
  if (more > 0) ui.say(`passed over as well: ${counted(more, "file")} more`);
}

/** Which bundle it is, where there are several. */
function ofBundle({ bundles, failed }: Told<unknown>, id: string): string {
  return bundles.length + failed.length > 1 ? `bundle ${short(id)}: ` : "";
}

const FILES_SHOWN = 20;

/** Which blobs of the names below a bundle holds. */
const BLOBS_SHOWN = { all: "all", none: "none", missing: "those that the receiver lacked by its receipt" } as const;

function inspectedLines(looked: Inspected): string[] {
  const { index, id, blobs, bytes } = looked;
  const people = (signers: readonly string[]): string =>
    signers.map((key) => [...looked.people].find(([keyId]) => keyId === key)?.[1] ?? short(key)).join(", ");
  const documents = (entries: readonly (Inspected["names"][number] | Inspected["candidates"][number])[]): string[] =>
    entries.flatMap((entry) => {
      const state = "state" in entry ? entry.state : "candidate";
      const signed = entry.signers.length === 0 ? "" : `  signed by ${people(entry.signers)}`;
      const files = entry.files ?? [];
      return [
        `${state}  ${entry.name}  ${entry.manifest === undefined ? "" : short(entry.manifest)}${signed}`,
        ...files
          .slice(0, FILES_SHOWN)
          .map(({ path, size, sha256, format }) => `  ${sha256}  ${sizeText(size).padStart(8)}  ${format}  ${path}`),
        ...(files.length > FILES_SHOWN ? [`  and ${counted(files.length - FILES_SHOWN, "file")} more`] : []),
      ];
    });
  return [
    `bundle ${id}`,
    ...table([
      ["  from", `store ${index.store}, log entry ${index.log.number}`],
      ["  signed by", `store key ${index.storeKey.keyId}`],
      ["  policy", `root ${rootText(index.policies)}, ${counted(index.policies.length, "version")}`],
      [
        "  holds",
        `${counted(index.items.length, "item")}, ${sizeText(bytes)}, in ${counted(index.volumes.length, "volume")}`,
      ],
      ["  blobs", `${BLOBS_SHOWN[index.blobs]}: ${counted(blobs.count, "blob")}, ${sizeText(blobs.bytes)}`],
      ["  denials", `${counted(index.revocations.length, "revocation")}, ${counted(index.refusals.length, "refusal")}`],
    ]),
    ...documents(looked.names),
    ...documents(looked.candidates),
    ...looked.revocations.map(({ name, state, statement, issuedAt, reason }) =>
      [`${state ?? "denial"}`, name ?? short(statement), issuedAt, reason]
        .filter((text) => text !== undefined)
        .join("  "),
    ),
  ];
}

/** @returns 5 where something is damaged, 9 where a volume is missing */
export async function runBundleVerify(
  context: Context,
  paths: readonly string[],
  options: IdentityOptions,
): Promise<number> {
  const { ui } = context;
  let done = 0;
  const told = await verifyBundles(context.io.ports, mediaOf(context, paths, options), (bytes) => {
    done += bytes;
    ui.progress(`checking ${sizeText(done)}`);
  });
  if (told.bundles.length === 0) throw failedAll(told.failed);
  ui.json(verifiedJson(told));
  const statuses = told.bundles.map((verified) => {
    const of = ofBundle(told, verified.index.id);
    if (of !== "") ui.data(`bundle ${verified.index.id}`);
    sayVerified(context, verified);
    if (verified.faults.length === 0 && verified.missing.length === 0) return EXIT.ok;
    tellWhatToBring(context, verified, of === "" ? paths[0] : verified.what);
    if (verified.faults.length === 0) return EXIT.incomplete;
    return verified.faults.every(isShut) ? EXIT.usage : EXIT.corrupt;
  });
  for (const fault of told.failed) ui.data(`cannot be read: ${failedText(fault)}`);
  sayPassedOver(context, told.passedOver);
  const worst = worstOf([...statuses, ...told.failed.map(({ error }) => ERRORS[error.code].exit)]);
  if (worst === EXIT.ok)
    ui.say("all is well: nothing of it is missing or damaged; whom you trust is for the store to say");
  return worst;
}

/** True of what its reader lacks something for. */
function isShut({ error }: Fault): boolean {
  return ERRORS[error.code].exit === EXIT.usage;
}

function sayVerified({ ui }: Context, verified: Verified): void {
  const { objects, signatures, blobs, blobsInPart, bytes, signers } = verified;
  ui.data(
    `checked ${counted(objects, "object")}, ${counted(signatures, "signature")} by ${counted(signers.size, "key")}, ${counted(blobs, "whole blob")}: ${sizeText(bytes)}`,
  );
  for (const [key, count] of [...signers].sort()) ui.data(`  key ${key}: ${counted(count, "good signature")}`);
  if (blobsInPart > 0) ui.data(`  not whole here: ${counted(blobsInPart, "blob")}`);
  for (const fault of verified.faults)
    ui.data(`${isShut(fault) ? "not opened" : "damaged"}: ${fault.error.message} [${fault.error.code}]`);
  for (const what of verified.missing) ui.data(`missing: ${what}`);
}

function tellWhatToBring({ ui }: Context, { wanted, index, sealed }: Verified, place = ""): void {
  const [first] = wanted;
  if (first === undefined) return;
  const from = basename(place);
  const flags = sealed ? " --encrypt-to RECIPIENT" : "";
  ui.say(
    `where bundle ${short(index.id)} was made, with any good volume of it: coffer bundle create --again ${quoteArgument(from)} --only-volume ${first}${flags} --out FOLDER`,
  );
  if (wanted.length > 1)
    ui.say(`and the same for ${counted(wanted.length - 1, "other volume")}: ${wanted.slice(1, 21).join(", ")}`);
}
