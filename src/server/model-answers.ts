// SPDX-License-Identifier: Apache-2.0
/** The JSON answers: health, the page of trusted names, one name, one name resolved to its files. Layer: server. */
import type { Name } from "../base/names.ts";
import type { HeadView, KnownManifest, Serving, Verdict } from "../repo/serving.ts";
import type { JsonAnswer } from "./answer.ts";
import { type Refusal, refuse, refuseGone } from "./refusal.ts";

export async function answerHealth(serving: Serving): Promise<JsonAnswer> {
  const head = await serving.head();
  return { kind: "json", body: { status: "ok", store: serving.storeId, head: headJson(head) } };
}

export async function answerPage(serving: Serving, after: Name | undefined, limit: number): Promise<JsonAnswer> {
  const head = await serving.head();
  const { models, next } = await serving.trustedPage(head, after, limit);
  const shown = models.map(({ name, manifest }) => ({
    name,
    manifest: manifest.id,
    files: manifest.value.files.length,
    size: manifest.sizeBytes,
  }));
  return { kind: "json", body: { head: headJson(head), models: shown, next } };
}

export async function answerModel(serving: Serving, name: Name): Promise<JsonAnswer | Refusal> {
  return answerTrusted(serving, name, ({ id, bytes }) => ({
    manifest: { id, document: JSON.parse(Buffer.from(bytes).toString("utf8")) },
  }));
}

export async function answerResolve(serving: Serving, name: Name): Promise<JsonAnswer | Refusal> {
  return answerTrusted(serving, name, ({ value }) => ({
    files: value.files.map(({ path, size, sha256 }) => ({ path, size, sha256, url: `/v1/blobs/sha256/${sha256}` })),
  }));
}

/** Never trusted is the same as unknown; once trusted and not now says so, with the reason. */
async function answerTrusted(
  serving: Serving,
  name: Name,
  describe: (manifest: KnownManifest) => object,
): Promise<JsonAnswer | Refusal> {
  const head = await serving.head();
  const verdict = await serving.verdict(head, name);
  if (verdict.trusted && verdict.manifest !== undefined) {
    const manifest = await serving.manifest(verdict.manifest);
    const body = { head: headJson(head), name: verdict.name, verdict: verdictJson(verdict), ...describe(manifest) };
    return { kind: "json", body };
  }
  const [reason] = verdict.reasons;
  if (!verdict.everTrusted || reason === undefined) return refuse("NOT_FOUND");
  return refuseGone(reason.code, reason.text);
}

function headJson({ number, id }: HeadView): object {
  return { number, id };
}

/** Member by member, so that a verdict that learns more does not change this format by itself. */
function verdictJson(verdict: Verdict): object {
  const { trusted, standing, statement, manifest, policy, publisher, approvers, threshold, validUntil } = verdict;
  const facts = (list: Verdict["established"]): object[] => list.map(({ id, text }) => ({ id, text }));
  return {
    trusted,
    standing,
    statement,
    manifest,
    policy: { number: policy.number, id: policy.id },
    publisher,
    approvers,
    threshold,
    validUntil,
    established: facts(verdict.established),
    notEstablished: facts(verdict.notEstablished),
    findings: facts(verdict.findings),
  };
}
