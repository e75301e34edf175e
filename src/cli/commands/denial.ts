// SPDX-License-Identifier: Apache-2.0
/** `revoke`, `delete`, `reject`: how trust is taken away or kept back. Layer: cli. */
import { short } from "../../base/digest.ts";
import { CofferError } from "../../base/errors.ts";
import { type Label, type Name, parseName } from "../../base/names.ts";
import {
  type DeletePlan,
  type DeleteRequest,
  deleteName,
  planDelete,
  type RemovedBytes,
  removeBytes,
} from "../../repo/delete.ts";
import {
  draftRefusal,
  planReject,
  type Rejected,
  type RejectPlan,
  refuserOf,
  reject,
  rejectWith,
} from "../../repo/reject.ts";
import { forgetFallen, planRevoke, type RevokePlan, revoke } from "../../repo/revoke.ts";
import type { Store } from "../../repo/store.ts";
import { type Context, open, showLate, storeFlag } from "../context.ts";
import { counted, fileLines, sizeText, table } from "../format.ts";
import { deletedJson, plannedDeleteJson, plannedRevokeJson, rejectedJson, revokedJson } from "../json-acts.ts";
import { actorFlag, type PersonOptions, signerFor } from "../people.ts";
import { readSignature, readSigned, writeForSigning } from "../signing.ts";

export interface RevokeOptions extends PersonOptions {
  readonly reason?: string;
  readonly also?: readonly string[];
  readonly replace?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export async function runRevoke(context: Context, text: string, options: RevokeOptions): Promise<void> {
  const { ui } = context;
  const name = parseName(text);
  const request = {
    name,
    also: options.also ?? [],
    replace: options.replace === true,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
  };
  const store = await open(context);
  const plan = await planRevoke(store, request);
  if (plan.already !== undefined) {
    if (options.dryRun !== true) await forgetFallen(store, plan);
    ui.json(plannedRevokeJson(plan));
    ui.say(`${name.text} is revoked already (statement ${short(plan.already)}); nothing was done`);
    return;
  }
  showPlan(context, plan);
  if (options.dryRun === true) {
    ui.json(plannedRevokeJson(plan));
    for (const fallen of plan.falls) ui.data(fallen.text);
    const as = await actorFlag(context, store, name, "revoke");
    ui.next(`coffer revoke${storeFlag(context)} ${name.text} --reason TEXT${as}`);
    return;
  }
  const signer = await signerFor(context, store, options);
  await ui.confirm(`revoke ${name.text}, for ever?`, options.yes === true);
  const done = await revoke(store, request, signer, plan);
  showLate(context, store);
  ui.json(revokedJson(done));
  if (done.entry === undefined) {
    ui.say(
      `signed by ${done.signed.join(", ")}: ${done.signed.length} of ${done.threshold} needed; nothing is revoked yet`,
    );
    ui.next(`coffer revoke${storeFlag(context)} ${name.text} --as ANOTHER`);
    return;
  }
  for (const fallen of done.falls.length === 0 ? [name] : done.falls) ui.data(fallen.text);
  ui.say(
    `${name.text} is revoked by ${done.signed.join(", ")}: statement ${short(done.statement)}, log entry ${done.entry}`,
  );
  ui.next(`coffer show${storeFlag(context)} ${name.text}`);
}

function showPlan({ ui }: Context, plan: RevokePlan): void {
  ui.say(
    `revoking ${plan.name.text}: ${counted(plan.revokes.manifests.length, "manifest")}, ${counted(plan.revokes.blobs.length, "blob")} of weights`,
  );
  if (plan.waiting !== undefined) {
    const { reason } = plan.waiting.value;
    ui.say(`  statement ${plan.waiting.id}, which others have signed`);
    ui.say(`  reason  ${reason ?? "(none given)"}`);
    for (const blob of plan.revokes.blobs) ui.say(`  revokes blob ${blob}`);
  }
  for (const line of table(plan.falls.map((name) => ["  falls", name.text]))) ui.say(line);
  for (const { blob, heldBy } of plan.kept) {
    ui.say(`  stays  blob ${blob}, which ${heldBy.text} holds too; to take it as well: --also ${blob}`);
  }
}

export interface DeleteOptions extends PersonOptions {
  readonly reason?: string;
  readonly revoke?: boolean;
  readonly replace?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

export async function runDelete(context: Context, text: string, options: DeleteOptions): Promise<void> {
  const { ui } = context;
  const name = parseName(text);
  const reason = options.reason === undefined ? {} : { reason: options.reason };
  const request = { name, replace: options.replace === true, ...reason };
  const store = await open(context);
  const plan = await planDelete(store, request);
  if (plan.already !== undefined) {
    ui.say(`${name.text} is deleted already (statement ${short(plan.already)}); nothing was signed`);
    const removed = options.dryRun === true ? undefined : await removeBytes(store, plan);
    ui.json(plannedDeleteJson(plan, removed));
    if (removed !== undefined) tellRemoved(context, removed);
    return;
  }
  if (!plan.revoked && options.revoke !== true) {
    throw new CofferError("NOT_REVOKED", `${name.text} is not revoked, so it cannot be deleted`);
  }
  const revocation = plan.revoked ? undefined : { name, also: [], ...reason };
  const revokePlan = revocation === undefined ? undefined : await planRevoke(store, revocation);
  if (revokePlan !== undefined) showPlan(context, revokePlan);
  showDeletion(context, plan);
  if (options.dryRun === true) return ui.json(plannedDeleteJson(plan));
  const signer = await signerFor(context, store, options);
  const what = revokePlan === undefined ? "delete" : "revoke and delete";
  await ui.confirm(`${what} ${name.text}, and remove its bytes?`, options.yes === true);
  const revoked = revocation === undefined ? undefined : await revoke(store, revocation, signer, revokePlan);
  if (revoked !== undefined) {
    showLate(context, store);
    if (revoked.entry === undefined) {
      ui.json(deletedJson({ plan, revoked }));
      ui.say(
        `signed by ${revoked.signed.join(", ")}: ${revoked.signed.length} of ${revoked.threshold} needed; nothing is revoked yet`,
      );
      ui.next(`coffer delete${storeFlag(context)} ${name.text} --revoke --as ANOTHER`);
      return;
    }
    ui.say(`${name.text} is revoked by ${revoked.signed.join(", ")}: log entry ${revoked.entry}`);
  }
  const done = await deleteName(store, withReason(request, plan, revokePlan), signer, plan);
  showLate(context, store);
  ui.json(deletedJson({ plan, revoked, deleted: done }));
  if (done.entry === undefined && done.already === undefined) {
    ui.say(
      `signed by ${done.signed.join(", ")}: ${done.signed.length} of ${done.threshold} needed; nothing is deleted yet`,
    );
    ui.next(`coffer delete${storeFlag(context)} ${name.text} --as ANOTHER`);
    return;
  }
  ui.data(name.text);
  if (done.entry === undefined) ui.say(`${name.text} was deleted meanwhile (statement ${short(done.statement)})`);
  else
    ui.say(
      `${name.text} is deleted by ${done.signed.join(", ")}: statement ${short(done.statement)}, log entry ${done.entry}`,
    );
  const removed = await removeBytes(store, done);
  ui.json(deletedJson({ plan, revoked, deleted: done, removed }));
  tellRemoved(context, removed);
  ui.next(`coffer log${storeFlag(context)} ${name.text}`);
}

/** Of a deletion for which none is given, the reason of the revocation; what others have signed says its own. */
function withReason(request: DeleteRequest, plan: DeletePlan, revocation: RevokePlan | undefined): DeleteRequest {
  const because = plan.because ?? revocation?.waiting?.value.reason;
  if (request.reason !== undefined || plan.waiting !== undefined || because === undefined) return request;
  return { ...request, reason: because };
}

function showDeletion({ ui }: Context, { name, manifests, blobs, waiting }: DeletePlan): void {
  ui.say(
    `deleting ${name.text}: ${counted(manifests.length, "manifest")}, ${counted(blobs.count, "blob")}, ${sizeText(blobs.bytes)}`,
  );
  for (const manifest of manifests) ui.say(`  manifest ${manifest}`);
  if (waiting !== undefined) {
    ui.say(`  statement ${waiting.id}, which others have signed`);
    ui.say(`  reason  ${waiting.value.reason ?? "(none given)"}`);
  }
  ui.say("  what another name holds stays; the record stays; all else of these bytes is removed");
}

function tellRemoved({ ui }: Context, { blobs, bytes, held, left }: RemovedBytes): void {
  const day = blobs === 0 ? "" : ", and removed by the next `coffer gc` after a day";
  ui.say(`moved to the trash${day}: ${counted(blobs, "blob")}, ${sizeText(bytes)}`);
  if (held.length > 0) ui.say(`stays, since something else holds it: ${counted(held.length, "blob")}`);
  if (left.length > 0) ui.warn(`could not be moved, and is left to \`coffer gc\`: ${counted(left.length, "blob")}`);
}

export interface RejectOptions extends PersonOptions {
  readonly reason?: string;
  readonly statement?: string;
  readonly out?: string;
  readonly in?: readonly string[];
  readonly yes?: boolean;
}

export async function runReject(context: Context, text: string, options: RejectOptions): Promise<void> {
  const name = parseName(text);
  if (options.in !== undefined) return takeRefusals(context, name, options.in, options);
  const { ui } = context;
  const { reason } = options;
  if (reason === undefined)
    throw new CofferError("USAGE", "reject: expected --reason TEXT; everybody who asks is told");
  const store = await open(context);
  const { statement } = options;
  const plan = await planReject(store, { name, ...(statement === undefined ? {} : { statement }) });
  const document = draftRefusal(store, plan, reason);
  if (options.out !== undefined) {
    const lines = [...planLines(plan, reason), ...effectLines(plan)];
    const errand = { name, command: "reject", document: "refusal", namespace: "coffer-refusal" } as const;
    return writeForSigning(context, options.out, { ...errand, bytes: document.bytes, lines });
  }
  for (const line of planLines(plan, reason)) ui.say(line);
  const signer = await signerFor(context, store, options);
  for (const line of effectLines(plan, await refuserOf(store, name, signer.publicKey))) ui.say(line);
  await ui.confirm(`refuse this for ${name.text}, for ever?`, options.yes === true);
  const done = await reject(store, plan, reason, signer);
  ui.json(rejectedJson(name, [done]));
  await tellRejected(context, store, done);
  showLate(context, store);
}

/** What is refused, in words: the files by which a person knows it, then the exact statement. */
function planLines({ name, statement, manifest, state, refusedBy }: RejectPlan, reason: string): string[] {
  return [
    `${name.text} shall not be trusted as these files, says who signs this refusal, for ever:`,
    ...fileLines(manifest.value),
    `  manifest   ${manifest.id}`,
    `  statement  ${statement.id} (${state === "proposed" ? "the open candidate" : "what stands"})`,
    `  issued     ${statement.value.issuedAt}`,
    ...[...refusedBy].map(([who, why]) => `  refused    by ${who}: ${why}`),
    `  reason     ${reason}`,
  ];
}

/** What comes of it, said before anything is signed. */
function effectLines({ name, state, stoppers, refusedBy, verdict }: RejectPlan, who?: Label): string[] {
  if (who !== undefined && refusedBy.has(who)) return [`  effect     none: ${who} has refused it before`];
  const stops = who === undefined ? stoppers.length > 0 : stoppers.includes(who);
  const by = who === undefined && stops ? `if ${stoppers.join(" or ")} signs: ` : "";
  if (state === "proposed") {
    if (stops) return [`  effect     ${by}too few approvers are left, and this candidate can never be promoted`];
    return [`  effect     ${who ?? "who signs"} does not count as approver of it; the others may still promote it`];
  }
  if (stops) return [`  effect     ${by}too few approvals are left, and ${name.text} stops being trusted at once`];
  if (verdict.trusted) return [`  effect     ${name.text} stays trusted: enough others have approved it`];
  return [`  effect     ${name.text} is not trusted as it is: ${verdict.reasons[0]?.text ?? ""}`];
}

async function tellRejected(
  context: Context,
  store: Store,
  { name, state, refuser, refusal, entry, stopped }: Rejected,
): Promise<void> {
  const { ui } = context;
  if (entry === undefined) {
    ui.say(`${refuser} has refused it before; nothing was done`);
    return;
  }
  ui.data(refusal);
  ui.say(`refused by ${refuser}: refusal ${short(refusal)} of ${name.text}, log entry ${entry}`);
  const anew = state === "proposed" && stopped;
  ui.next(
    anew
      ? `coffer propose${storeFlag(context)} ${name.text} --replace${await actorFlag(context, store, name, "publish")}`
      : `coffer show${storeFlag(context)} ${name.text}`,
  );
}

/** Refusals that were signed elsewhere; each says itself which statement it is about. */
async function takeRefusals(
  context: Context,
  name: Name,
  files: readonly string[],
  { reason, statement }: RejectOptions,
): Promise<void> {
  if (reason !== undefined || statement !== undefined) {
    throw new CofferError("USAGE", "reject: --in takes reason and statement from the refusal that was signed");
  }
  const store = await open(context);
  const rejected: Rejected[] = [];
  for (const file of files) {
    const document = readSigned(context, file, "a refusal");
    const done = await rejectWith(store, name, document, readSignature(context, file));
    rejected.push(done);
    await tellRejected(context, store, done);
  }
  context.ui.json(rejectedJson(name, rejected));
  showLate(context, store);
}
