// SPDX-License-Identifier: Apache-2.0
/**
 * Two stores under two policy roots, and what waits in the one that receives. Layer: test support.
 */
import type { TestContext } from "node:test";
import type { Digest } from "../../src/base/digest.ts";
import { parseName } from "../../src/base/names.ts";
import { evidenceRef, nameRef } from "../../src/base/ref-path.ts";
import { parseEvidence } from "../../src/objects/documents/evidence.ts";
import { readObject } from "../../src/objects/object-store.ts";
import { readList } from "../../src/repo/dossier.ts";
import type { ImportReport } from "../../src/repo/import.ts";
import { openFolderSource } from "../../src/repo/incoming.ts";
import type { Store } from "../../src/repo/store.ts";
import type { Source } from "../../src/sync/source.ts";
import { inMemory, type Member, makeTeam, model } from "./team-stores.ts";

export const NAME = "acme/tiny@v1";

export interface Pair {
  /** Sends. */
  readonly a: Member;
  /** Receives, under another root. */
  readonly b: Member;
  /** A new store beside `b`. */
  sister(name: string): Promise<Member>;
  readonly manifest: Digest;
  send(): Promise<{ source: Source; files: Map<string, Uint8Array> }>;
}

export async function pair(t: TestContext): Promise<Pair> {
  const [team, others] = [makeTeam(t), makeTeam(t)];
  const [a, b] = [await others.store("a"), await team.store("b")];
  const manifest = await a.trust(NAME, model(1));
  const send = async () => inMemory(await openFolderSource(a.location.root, others.ports));
  return { a, b, manifest, sister: (name) => team.store(name), send };
}

export const [ONE, TWO, THREE] = ["acme/one@main", "acme/two@main", "acme/three@main"] as const;

/** What waits in quarantine, and what is said of it from upstream: result, code and text, sorted. */
export async function waiting({ store }: Pick<Member, "store">): Promise<Record<string, unknown>> {
  const head = await store.head();
  const found: Record<string, unknown> = {};
  for (const text of [NAME, ONE, TWO, THREE]) {
    const manifest = await head.readRef(nameRef("quarantined", parseName(text)));
    if (manifest !== undefined) found[text] = { manifest, said: await upstreamSaid(store, manifest) };
  }
  return found;
}

export async function upstreamSaid(store: Store, manifest: Digest): Promise<string[]> {
  const head = await store.head();
  const said: string[] = [];
  for (const id of await readList(store, await head.readRef(evidenceRef(manifest)), "list of evidence")) {
    const { kind, result, findings } = (await readObject(store.objects, id, "evidence", parseEvidence)).value;
    if (kind === "upstream") said.push(`${result} ${findings[0]?.code}: ${findings[0]?.text}`);
  }
  return said.sort();
}

export const outcomes = ({ names }: ImportReport): Record<string, string> =>
  Object.fromEntries(
    names.map(({ name, outcome, code }) => [name, code === undefined ? outcome : `${outcome} ${code}`]),
  );
