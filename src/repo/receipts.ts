// SPDX-License-Identifier: Apache-2.0
/**
 * Receipts: "this very file was hashed and has not been written since", so that a big file is not read again.
 * Layer: repo. Format: docs/format.md, "Receipts". Holds invariant 6: a receipt stands in for the hash.
 *
 * A receipt holds for one descriptor's mount, device, inode, size, mtime and ctime in one boot, and is worth nothing
 * without the MAC under a secret that comes from the store key. Whoever can alter a file without its ctime moving is
 * root, or the account that may forge receipts anyway: so only files of this account or root that nobody may write
 * get one, on local disks whose file systems stamp every write. Whatever is wrong with a receipt, the bytes are hashed.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { type Digest, isDigest, sha256 } from "../base/digest.ts";
import { isCofferError } from "../base/errors.ts";
import { LIMITS } from "../base/limits.ts";
import type { Random } from "../base/ports.ts";
import type { FilePlace, FileStat, Files, OpenFile } from "../objects/files.ts";
import { parentFolder, tempPath } from "../objects/layout.ts";
import { discard, writeTemp } from "../refs/temp-file.ts";
import type { Machine } from "./machine.ts";

const FOLDER = "local/receipts";
const MAC_BYTES = 32;
/** A change within one tick of the file system's clock could not be told from the state before. */
export const SETTLED_NS = 2_000_000_000n;
/**
 * Local file systems that move ctime with each write, mapped ones included. Not tmpfs: pages mapped there are written
 * without a trace (docs/decisions/0021-receipts.md).
 */
const FILE_SYSTEMS: ReadonlySet<string> = new Set(["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"]);

/** That the file with these marks held exactly `blob`. */
export interface Receipt {
  readonly blob: Digest;
  readonly mount: number;
  readonly device: bigint;
  readonly inode: bigint;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly madeNs: bigint;
}

/** A file fit for a receipt, as it was before it was hashed. */
export interface Sighting {
  readonly stat: FileStat;
  readonly mount: number;
  readonly atNs: bigint;
}

export interface ReceiptParts {
  /** The store. */
  readonly files: Files;
  /** What the MACs are made under; asked for when the first is. */
  readonly key: () => Promise<Uint8Array>;
  readonly machine: Machine;
  readonly random: Random;
}

/** What the receipts of a blob in the store, and those of a folder laid from a manifest, are kept under. */
export const blobTopic = (blob: Digest): string => `blob ${blob}`;
export const folderTopic = (manifest: Digest, folder: string): string => `folder ${manifest} ${folder}`;

export class Receipts {
  private readonly parts: ReceiptParts;

  constructor(parts: ReceiptParts) {
    this.parts = parts;
  }

  /** The receipts kept under `topic` that this boot of this machine wrote; none if anything is wrong with them. */
  async read(topic: string): Promise<ReceiptSet> {
    const { files, machine } = this.parts;
    const boot = machine.bootId();
    const bytes = boot === undefined ? undefined : await readAny(files, receiptPath(topic));
    const body = bytes && (await this.open(topic, bytes));
    if (boot === undefined || body === undefined) return new ReceiptSet([], machine);
    return new ReceiptSet(await decode(body, boot), machine);
  }

  /**
   * Keeps `receipts` under `topic`, in place of what was kept there. Not durable: after a power loss none would hold.
   * @throws CofferError NO_SPACE, IO_ERROR - the files will be hashed again, and no more
   */
  async write(topic: string, receipts: readonly Receipt[]): Promise<void> {
    const { files, random, machine } = this.parts;
    const boot = machine.bootId();
    if (boot === undefined || receipts.length === 0) return;
    const body = await encode(receipts, boot);
    const path = receiptPath(topic);
    await files.makeFolder(FOLDER);
    await files.makeFolder(parentFolder(path));
    const temp = tempPath(files, random);
    await writeTemp(files, temp, Buffer.concat([await this.mac(topic, body), body]), 0o444, "not durable");
    try {
      await files.rename(temp, path);
    } catch (error) {
      await discard(files, temp);
      throw error;
    }
  }

  /**
   * Runs `act`, our own link, chmod or touch of `file`, and keeps its receipt, if it has one, in step with it. Nobody but
   * this account and root may write a file that has a receipt, so no other change can hide behind ours.
   */
  async renew(topic: string, file: OpenFile, blob: Digest, act: () => Promise<void>): Promise<void> {
    const held = await (await this.read(topic)).vouchesFor(file, blob);
    await act();
    if (held === undefined) return;
    const { device, inode, sizeBytes, mtimeNs, ctimeNs, mode } = await file.stat();
    if (inode !== held.inode || device !== held.device || sizeBytes !== held.sizeBytes || (mode & 0o222) !== 0) return;
    await this.write(topic, [{ ...held, mtimeNs, ctimeNs, madeNs: this.parts.machine.nowNs() }]);
  }

  /** Drops what is kept under `topic`. */
  async forget(topic: string): Promise<void> {
    await this.parts.files.remove(receiptPath(topic));
  }

  /** To be called before `file` is hashed; undefined if it must not have a receipt. @throws CofferError IO_ERROR */
  async sight(file: OpenFile): Promise<Sighting | undefined> {
    const place = await file.place();
    if (!isFit(place)) return undefined;
    // Written pages that are mapped elsewhere are watched anew only once they reached the disk.
    await file.fsync();
    return this.judge(await file.stat(), place.mount);
  }

  /** A receipt for `file`, whose bytes were hashed as `blob` since `before`; undefined if it moved meanwhile. */
  async issue(file: OpenFile, blob: Digest, before: Sighting): Promise<Receipt | undefined> {
    const { stat, mount, atNs } = before;
    const [now, place, nowNs] = [await file.stat(), await file.place(), this.parts.machine.nowNs()];
    if (place?.mount !== mount || !sameState(now, stat) || nowNs < atNs) return undefined;
    const { device, inode, sizeBytes, mtimeNs, ctimeNs } = now;
    return { blob, mount, device, inode, sizeBytes, mtimeNs, ctimeNs, madeNs: nowNs };
  }

  /**
   * A receipt for `file`, which this process created for itself, wrote and hashed on the way: `written` is what its
   * descriptor told after the last byte was durable. undefined until nothing has moved for as long as `SETTLED_NS`.
   */
  async issueWritten(file: OpenFile, blob: Digest, written: FileStat): Promise<Receipt | undefined> {
    const place = await file.place();
    const sighting = isFit(place) ? this.judge(written, place.mount) : undefined;
    return sighting && this.issue(file, blob, sighting);
  }

  private judge(stat: FileStat, mount: number): Sighting | undefined {
    const { machine } = this.parts;
    const atNs = machine.nowNs();
    const account = machine.account();
    if (stat.kind !== "file" || (stat.mode & 0o222) !== 0) return undefined;
    if (account === undefined || (stat.owner !== account && stat.owner !== 0)) return undefined;
    return stat.ctimeNs + SETTLED_NS > atNs ? undefined : { stat, mount, atNs };
  }

  private async mac(topic: string, body: Uint8Array): Promise<Buffer> {
    return createHmac("sha256", await this.parts.key())
      .update(`${topic}\n`)
      .update(body)
      .digest();
  }

  private async open(topic: string, bytes: Uint8Array): Promise<Uint8Array | undefined> {
    if (bytes.length < MAC_BYTES) return undefined;
    const body = bytes.subarray(MAC_BYTES);
    return timingSafeEqual(bytes.subarray(0, MAC_BYTES), await this.mac(topic, body)) ? body : undefined;
  }
}

/** Receipts whose MAC was good. */
export class ReceiptSet {
  private readonly receipts: ReadonlyMap<string, Receipt>;
  private readonly machine: Machine;

  constructor(receipts: readonly Receipt[], machine: Machine) {
    this.receipts = new Map(receipts.map((receipt) => [keyOf(receipt.blob, receipt), receipt]));
    this.machine = machine;
  }

  /**
   * The receipt that says that `file` holds exactly `blob`, as of now: whoever reads on asks again after reading, and
   * hands out only what was read before.
   */
  async vouchesFor(file: OpenFile, blob: Digest): Promise<Receipt | undefined> {
    if (this.receipts.size === 0) return undefined;
    const stat = await file.stat();
    const receipt = this.receipts.get(keyOf(blob, stat));
    if (receipt === undefined || !sameState(stat, receipt)) return undefined;
    const place = await file.place();
    if (!isFit(place) || place.mount !== receipt.mount) return undefined;
    // A clock that was set back may stamp a later write with an earlier time.
    return this.machine.nowNs() < receipt.madeNs ? undefined : receipt;
  }
}

function keyOf(blob: Digest, { device, inode }: { readonly device: bigint; readonly inode: bigint }): string {
  return `${blob} ${device} ${inode}`;
}

/** True for a local disk that stays in the machine: of all else, what was there may be changed from outside. */
function isFit(place: FilePlace | undefined): place is FilePlace {
  return place !== undefined && place.medium === "fixed" && FILE_SYSTEMS.has(place.fileSystem);
}

type State = Pick<FileStat, "device" | "inode" | "sizeBytes" | "mtimeNs" | "ctimeNs">;

export function sameState(a: State, b: State): boolean {
  const same = a.device === b.device && a.inode === b.inode && a.sizeBytes === b.sizeBytes;
  return same && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

function receiptPath(topic: string): string {
  const hex = sha256(new TextEncoder().encode(topic));
  return `${FOLDER}/${hex.slice(0, 2)}/${hex.slice(2)}`;
}

async function readAny(files: Files, path: string): Promise<Uint8Array | undefined> {
  try {
    return await files.read(path, LIMITS.documentBytes);
  } catch (error) {
    if (!isCofferError(error) || error.code === "INTERNAL") throw error;
    return undefined;
  }
}

const FORMAT = 1;
type Row = readonly [string, number, string, string, number, string, string, string];

async function encode(receipts: readonly Receipt[], boot: string): Promise<Uint8Array> {
  const rows = receipts.map(
    (one): Row => [
      ...([one.blob, one.mount, `${one.device}`, `${one.inode}`, one.sizeBytes] as const),
      ...([`${one.mtimeNs}`, `${one.ctimeNs}`, `${one.madeNs}`] as const),
    ],
  );
  const { Packr } = await import("msgpackr/pack");
  return new Packr({ useRecords: false }).pack([FORMAT, boot, rows]);
}

/** `body` is ours, by its MAC; of another format or boot it says nothing. */
async function decode(body: Uint8Array, boot: string): Promise<readonly Receipt[]> {
  const { Unpackr } = await import("msgpackr/pack");
  const value: unknown = new Unpackr({ useRecords: false }).unpack(body);
  if (!Array.isArray(value) || value[0] !== FORMAT || value[1] !== boot || !Array.isArray(value[2])) return [];
  return value[2].flatMap((row: unknown) => parseRow(row) ?? []);
}

function parseRow(row: unknown): Receipt | undefined {
  if (!Array.isArray(row)) return undefined;
  const [blob, mount, device, inode, sizeBytes, mtimeNs, ctimeNs, madeNs] = row as readonly unknown[];
  if (typeof blob !== "string" || !isDigest(blob) || typeof mount !== "number" || typeof sizeBytes !== "number") {
    return undefined;
  }
  const [a, b, c, d, e] = [device, inode, mtimeNs, ctimeNs, madeNs].map(whole);
  if (a === undefined || b === undefined || c === undefined || d === undefined || e === undefined) return undefined;
  return { blob, mount, device: a, inode: b, sizeBytes, mtimeNs: c, ctimeNs: d, madeNs: e };
}

function whole(value: unknown): bigint | undefined {
  return typeof value === "string" && /^-?[0-9]{1,20}$/.test(value) ? BigInt(value) : undefined;
}
