// SPDX-License-Identifier: Apache-2.0
/**
 * On which mount and on what kind of medium an open file lies, from /proc and /sys of Linux. Layer: objects.
 * Not here: which of them are good enough for what (repo/receipts.ts).
 */
import { lstatSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { systemCode } from "../base/errors.ts";
import type { FilePlace } from "./files.ts";

const LOOP = 7;
/** Disks upon disks (device mapper, RAID): deeper than this is not looked into. */
const DEEPEST = 8;

/** One line of mountinfo (proc_pid_mountinfo(5)), as far as it is needed. */
export interface Mount {
  /** `major:minor` of what is mounted; major 0 is no disk of its own. */
  readonly device: string;
  readonly fileSystem: string;
  readonly source: string;
}

/** The mount with `id`; undefined if mountinfo has none, or not in the form that is known. */
export function parseMount(mountinfo: string, id: number): Mount | undefined {
  for (const line of mountinfo.split("\n")) {
    const [fields = "", rest] = line.split(" - ", 2);
    const [number, , device] = fields.split(" ");
    if (number !== String(id)) continue;
    const [fileSystem, source] = rest?.split(" ") ?? [];
    if (device === undefined || fileSystem === undefined || source === undefined) return undefined;
    // Blanks and backslashes in names are written as \040 and the like.
    const plain = source.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    return { device, fileSystem, source: plain };
  }
  return undefined;
}

/** undefined where the system does not say: no /proc, or a mount that this process does not see. */
export function placeOf(descriptor: number): FilePlace | undefined {
  const info = readText(`/proc/self/fdinfo/${descriptor}`);
  const mount = Number(/^mnt_id:\s+([0-9]+)$/m.exec(info ?? "")?.[1] ?? Number.NaN);
  const found = Number.isNaN(mount) ? undefined : parseMount(readText("/proc/self/mountinfo") ?? "", mount);
  if (found === undefined) return undefined;
  return { mount, fileSystem: found.fileSystem, medium: mediumOf(found) };
}

function mediumOf({ device, source }: Mount): FilePlace["medium"] {
  // btrfs has a number of its own for each volume; the disk below it is the source.
  const disk = device.startsWith("0:") ? deviceOf(source) : device;
  return disk === undefined ? "unknown" : mediumOfDisk(`/sys/dev/block/${disk}`, DEEPEST);
}

/** `major:minor` of a device file. */
function deviceOf(path: string): string | undefined {
  if (!path.startsWith("/dev/")) return undefined;
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (stat?.isBlockDevice() !== true) return undefined;
  const [major, minor] = [(stat.rdev >> 8n) & 0xfffn, (stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xfff00n)];
  return `${major}:${minor}`;
}

/** The least of what is below: one removable part makes the whole removable. */
function mediumOfDisk(link: string, depth: number): FilePlace["medium"] {
  if (depth === 0 || lstatSync(link, { throwIfNoEntry: false }) === undefined) return "unknown";
  const folder = realpathSync(link);
  if (readText(`${folder}/dev`)?.startsWith(`${LOOP}:`) === true) return "loop";
  const disk = readText(`${folder}/partition`) === undefined ? folder : `${folder}/..`;
  const plugged = folder.includes("/usb") || readText(`${disk}/device/type`)?.trim() === "SD";
  if (plugged || readText(`${disk}/removable`)?.trim() !== "0") return "removable";
  for (const below of readNames(`${disk}/slaves`)) {
    const medium = mediumOfDisk(`${disk}/slaves/${below}`, depth - 1);
    if (medium !== "fixed") return medium;
  }
  return "fixed";
}

function readText(path: string): string | undefined {
  return orAbsent(() => readFileSync(path, "latin1"));
}

function readNames(path: string): readonly string[] {
  return orAbsent(() => readdirSync(path)) ?? [];
}

function orAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return undefined;
    throw error;
  }
}
