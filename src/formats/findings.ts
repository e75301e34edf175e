// SPDX-License-Identifier: Apache-2.0
/**
 * What an inspection says: findings, the verdict over them, and how untrusted text is quoted in them.
 * Layer: formats (imports base only). Not here: the rules themselves (gguf.ts, safetensors.ts, companions.ts …).
 */

/** `fail` keeps a file out; `warn` is for people to weigh; `info` only tells. */
export type Level = "info" | "warn" | "fail";

/** One observation. `code`: `[a-z0-9][a-z0-9._-]{0,63}`; `text`: one line of printable ASCII. */
export interface Finding {
  readonly code: string;
  readonly level: Level;
  readonly path?: string;
  readonly text: string;
}

/** `ok` exactly when no finding has level `fail`. */
export interface Inspection {
  readonly format: string;
  readonly ok: boolean;
  readonly findings: readonly Finding[];
}

/** A rule that the content breaks. Never leaves this layer: `inspect` turns it into a `fail` finding. */
export class Malformed extends Error {
  override readonly name = "Malformed";
  readonly code: string;

  constructor(code: string, text: string) {
    super(text);
    this.code = code;
  }
}

/** Findings that one inspection keeps; a hostile file must not make the report itself the burden. */
const MAX_FINDINGS = 64;

/** Collects the findings of one file, at most 64; a `fail` is always kept. */
export class Notes {
  readonly findings: Finding[] = [];
  private readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  add(level: Level, code: string, text: string): void {
    if (level !== "fail" && this.findings.length >= MAX_FINDINGS) return;
    this.findings.push({ code, level, path: this.path, text });
  }

  info(code: string, text: string): void {
    this.add("info", code, text);
  }

  warn(code: string, text: string): void {
    this.add("warn", code, text);
  }

  fail(code: string, text: string): void {
    this.add("fail", code, text);
  }

  /** Runs `walk`; a rule that it finds broken becomes a finding, every other error (I/O) passes through. */
  async guard(walk: () => Promise<void>): Promise<void> {
    try {
      await walk();
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.fail(error.code, error.message);
    }
  }

  /** The verdict over what was collected. */
  conclude(format: string): Inspection {
    return { format, ok: this.findings.every((finding) => finding.level !== "fail"), findings: this.findings };
  }
}

const QUOTED_CHARS = 80;

/** `text` in double quotes as printable ASCII, cut at 80 characters: nothing in a file may steer a terminal. */
export function quote(text: string): string {
  const cut = text.length > QUOTED_CHARS ? `${text.slice(0, QUOTED_CHARS)}…` : text;
  return JSON.stringify(cut.replaceAll("…", "...")).replace(
    /[^\x20-\x7e]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Lower-case extension of the last part of `path` without the dot, or "" (`.gitignore` has none). */
export function extensionOf(path: string): string {
  const base = baseName(path);
  const dot = base.lastIndexOf(".");
  return dot > 0 ? base.slice(dot + 1).toLowerCase() : "";
}

/** The last part of a POSIX path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
