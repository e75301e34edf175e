// SPDX-License-Identifier: Apache-2.0
/** `doctor`, the part about the machine: Node.js, ssh-keygen, umask, clock. Writes nothing. Layer: cli. */
import { spawnSync } from "node:child_process";
import { systemCode } from "../base/errors.ts";
import type { Report } from "../repo/doctor.ts";

/** package.json says the same; a test compares them. */
export const LEAST_NODE = [20, 19] as const;
/** `ssh-keygen -Y` as of here. */
const LEAST_SSH = [8, 1] as const;
/** This program did not exist before: a clock that says so is wrong. */
const EARLIEST_S = Date.parse("2026-01-01T00:00:00Z") / 1000;

/** What is asked of the system; tests put their own in. */
export interface Probe {
  readonly node: string;
  readonly nowS: number;
  readonly umask: number;
  /** Standard output and error of a program, undefined if it cannot be started. */
  readonly run: (program: string, args: readonly string[]) => string | undefined;
}

export function realProbe(nowS: number): Probe {
  return { node: process.versions.node, nowS, umask: process.umask(), run: runProgram };
}

function runProgram(program: string, args: readonly string[]): string | undefined {
  const { stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", input: "", timeout: 10_000 });
  if (error !== undefined && systemCode(error) !== "ETIMEDOUT") return undefined;
  return `${stdout ?? ""}${stderr ?? ""}`;
}

export function examineMachine(probe: Probe, report: Report): void {
  const node = versionIn(probe.node);
  if (isAtLeast(node, LEAST_NODE)) report({ what: "node", level: "ok", text: probe.node });
  else {
    const text = `expected Node.js ${LEAST_NODE.join(".")} or newer, found ${probe.node}`;
    report({ what: "node", level: "fail", text, mend: "install a newer Node.js", code: "UNSUPPORTED" });
  }
  examineSsh(probe, report);
  const mask = probe.umask.toString(8).padStart(3, "0");
  if ((probe.umask & 0o700) !== 0) {
    const text = `expected one that leaves the owner all rights, found ${mask}`;
    report({ what: "umask", level: "fail", text, mend: "umask 022", code: "IO_ERROR" });
  } else if ((probe.umask & 0o022) !== 0o022) {
    const text = `expected 022 or stricter, found ${mask}: others could write what you make`;
    report({ what: "umask", level: "warn", text, mend: "umask 022" });
  } else report({ what: "umask", level: "ok", text: mask });
  if (probe.nowS < EARLIEST_S) {
    const text = `expected a time after 2026-01-01, found ${new Date(probe.nowS * 1000).toISOString()}`;
    report({ what: "clock", level: "fail", text, mend: "set this machine's clock", code: "NOT_YET_VALID" });
  }
}

/** Coffer signs and checks without it; people who sign elsewhere, and who check without Coffer, need it. */
function examineSsh(probe: Probe, report: Report): void {
  const mend = "install OpenSSH 8.1 or newer (Debian: apt-get install openssh-client)";
  // With no file given it explains -Y itself, if it knows that.
  const found = probe.run("ssh-keygen", ["-Y", "check-novalidate"]);
  if (found === undefined) {
    const text = "expected it for keys and signatures made elsewhere, found none";
    report({ what: "ssh-keygen", level: "warn", text, mend });
    return;
  }
  const version = /OpenSSH_([0-9]+\.[0-9]+)/.exec(probe.run("ssh", ["-V"]) ?? "")?.[1];
  const old = version !== undefined && !isAtLeast(versionIn(version), LEAST_SSH);
  if (old || /(?:unknown|illegal|invalid) option/.test(found)) {
    const text = `expected OpenSSH ${LEAST_SSH.join(".")} or newer, found ${version ?? "one without -Y"}`;
    report({ what: "ssh-keygen", level: "warn", text, mend });
    return;
  }
  report({ what: "ssh-keygen", level: "ok", text: version === undefined ? "knows -Y" : `OpenSSH ${version}` });
}

function versionIn(text: string): readonly number[] {
  return text.split(".").map(Number);
}

function isAtLeast(
  [major = 0, minor = 0]: readonly number[],
  [wantMajor, wantMinor]: readonly [number, number],
): boolean {
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}
