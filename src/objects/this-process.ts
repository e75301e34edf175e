// SPDX-License-Identifier: Apache-2.0
/**
 * This process as a writer: a mark by which processes of the same machine can tell later whether it still runs.
 * Layer: objects. Not here: what is done about files of those that do not (leftovers.ts).
 *
 * The mark is `<where>-<pid>-<start>`: a digest of boot, pid namespace and time namespace, the pid, and when it started.
 * Process ids are told apart only where `where` is the same; another machine on a shared folder, a container with pids of
 * its own and an earlier boot all have another. A pid that was given again has another start.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { sha256 } from "../base/digest.ts";
import { systemCode } from "../base/errors.ts";
import type { Writer, WriterState } from "./files.ts";

const MARK = /^([0-9a-f]{16})-([1-9][0-9]{0,9})-([0-9]{1,20})$/;

/** What proc(5) tells of a process: R, S, Z …, and its start in clock ticks since boot. */
interface ProcessStat {
  readonly state: string;
  readonly start: string;
}

let known: Writer | undefined;

/** The same object for all ports of this process. Without /proc it has no mark, and knows of nobody. */
export function thisProcess(): Writer {
  known ??= makeWriter();
  return known;
}

function makeWriter(): Writer {
  const where = placeOfProcesses();
  const own = where === undefined ? undefined : statOf(process.pid);
  if (where === undefined || own === undefined) return { mark: "", stateOf: () => "unknown" };
  const mark = `${where}-${process.pid}-${own.start}`;
  return { mark, stateOf: (other) => (other === mark ? "living" : stateOf(where, other)) };
}

function placeOfProcesses(): string | undefined {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
    const namespaces = ["pid", "time"].map((kind) => namespaceOf(kind));
    return sha256(Buffer.from([boot, ...namespaces].join("\n"))).slice(0, 16);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

/** "" on kernels without that kind: all processes are in the same one then. */
function namespaceOf(kind: string): string {
  try {
    return readlinkSync(`/proc/self/ns/${kind}`);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "";
    throw error;
  }
}

function stateOf(where: string, mark: string): WriterState {
  const [, place, pid, start] = MARK.exec(mark) ?? [];
  if (place !== where || pid === undefined) return "unknown";
  if (!isThere(Number(pid))) return "gone";
  const stat = statOf(Number(pid));
  // Hidden from this account, or ended just now.
  if (stat === undefined) return "unknown";
  // A zombie writes no more, though nobody has asked how it ended.
  return stat.start === start && stat.state !== "Z" && stat.state !== "X" ? "living" : "gone";
}

/** kill(2) tells of every process, also of those that /proc hides from this account. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) !== "ESRCH";
  }
}

function statOf(pid: number): ProcessStat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses and may hold anything; the rest is plain.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const [state, start] = [fields[0], fields[19]];
    return state === undefined || start === undefined || !/^[0-9]+$/.test(start) ? undefined : { state, start };
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}
