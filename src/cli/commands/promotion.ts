// SPDX-License-Identifier: Apache-2.0
/** `add`, `propose`, `approve`, `promote`: how a model comes to be trusted. Layer: cli. */
import { short } from "../../base/digest.ts";
import { CofferError, isCofferError } from "../../base/errors.ts";
import { type Name, parseName } from "../../base/names.ts";
import { formatTime, parseTime, type Time } from "../../base/time.ts";
import { add } from "../../repo/add.ts";
import { firstMissing } from "../../repo/blobs.ts";
import {
  approve,
  approveWith,
  type Candidate,
  needCandidate,
  propose,
  whyNotProposable,
} from "../../repo/candidates.ts";
import { onePersonSuffices, openCandidates, type Promoted, promote, promoteAlone } from "../../repo/promote.ts";
import { findSources } from "../../repo/sources.ts";
import type { Store } from "../../repo/store.ts";
import { type Context, open, showLate, storeFlag } from "../context.ts";
import { candidateLines, counted, sizeText } from "../format.ts";
import { addedJson, approvedJson, promotedJson, proposedJson } from "../json-acts.ts";
import { actorFlag, type PersonOptions, signerFor } from "../people.ts";
import { type Errand, readSignature, writeForSigning } from "../signing.ts";

export interface AddOptions {
  readonly name: string;
  readonly keep?: boolean;
  readonly move?: boolean;
  readonly license?: string;
  readonly source?: string;
  readonly revision?: string;
}

export async function runAdd(context: Context, patterns: readonly string[], options: AddOptions): Promise<void> {
  const { io, ui } = context;
  const name = parseName(options.name);
  if ((options.source === undefined) !== (options.revision === undefined)) {
    throw new CofferError("USAGE", "add: --source and --revision go together");
  }
  const store = await open(context);
  const { files, leftOut } = await findSources(patterns, io.cwd);
  if (leftOut.length > 0) ui.say(`left out: ${leftOut.slice(0, 10).join(", ")}${leftOut.length > 10 ? " …" : ""}`);
  const added = await add(store, {
    name,
    files,
    keep: options.keep === true,
    move: options.move === true,
    ...(options.license === undefined ? {} : { license: options.license }),
    ...(options.source === undefined || options.revision === undefined
      ? {}
      : { source: { url: options.source, revision: options.revision } }),
    onBytes: (bytes) => ui.progress(`adding ${sizeText(bytes)}`),
  });
  showLate(context, store);
  for (const { level, path, text, code } of added.findings) if (level !== "info") ui.warn(`${path}: ${text} (${code})`);
  ui.data(added.manifest);
  const blocked = added.state === "quarantined" ? await whyNotProposable(store, name, added.manifest) : undefined;
  ui.json(addedJson(added, leftOut, blocked));
  const total = added.files.reduce((sum, file) => sum + file.size, 0);
  const again = added.moved ? "" : ", as before";
  ui.say(
    `${name.text} is ${added.state}${again}: ${counted(added.files.length, "file")}, ${sizeText(total)}, manifest ${short(added.manifest)}`,
  );
  if (blocked !== undefined) ui.warn(`it cannot be proposed: ${blocked.text} [${blocked.code}]`);
  else if (added.state === "quarantined") {
    const act = await actAfterAdd(store, name);
    const as = await actorFlag(context, store, name, act === "promote" ? "alone" : "publish");
    ui.next(`coffer ${act}${storeFlag(context)} ${name.text}${as}`);
  } else if (added.state === "trusted") ui.next(`coffer resolve${storeFlag(context)} ${name.text}`);
  else ui.say("it failed inspection and is kept apart: nothing can promote it");
}

/** Where one person suffices, `promote` does it all; a name without a rule fails there with the reason. */
async function actAfterAdd(store: Store, name: Name): Promise<"propose" | "promote"> {
  try {
    return (await onePersonSuffices(store, name)) ? "promote" : "propose";
  } catch (error) {
    if (isCofferError(error, "NO_RULE")) return "propose";
    throw error;
  }
}

export interface ProposeOptions extends PersonOptions {
  readonly to?: string;
  readonly replace?: boolean;
  readonly expires?: string;
}

/** `--to @prod` keeps namespace and model; `--to ns/model@v` is a whole name. */
export function targetName(name: Name, to: string | undefined): Name {
  if (to === undefined) return name;
  return parseName(to.startsWith("@") ? `${name.namespace}/${name.model}${to}` : to);
}

/** A time, or a number of days from now as `90d`. */
function parseEnd(context: Context, text: string | undefined): Time | undefined {
  if (text === undefined) return undefined;
  const days = /^([1-9][0-9]{0,4})d$/.exec(text)?.[1];
  return days === undefined ? parseTime(text) : formatTime(context.io.ports.clock() + Number(days) * 86_400);
}

async function proposeRequest(context: Context, store: Store, text: string, options: ProposeOptions) {
  const from = parseName(text);
  const name = targetName(from, options.to);
  const end = parseEnd(context, options.expires);
  return {
    name,
    ...(name.text === from.text ? {} : { from }),
    signer: await signerFor(context, store, options),
    replace: options.replace === true,
    ...(end === undefined ? {} : { expiresAt: end }),
  };
}

export async function runPropose(context: Context, text: string, options: ProposeOptions): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const request = await proposeRequest(context, store, text, options);
  const candidate = await propose(store, request);
  showLate(context, store);
  for (const line of candidateLines(candidate)) ui.say(line);
  ui.json(proposedJson(candidate));
  ui.data(candidate.statement.id);
  const waits = candidate.verdict.reasons.map((reason) => reason.text).join("; ");
  ui.say(`${request.name.text} is proposed${waits === "" ? "" : `: ${waits}`}`);
  const as = await actorFlag(context, store, request.name, "approve", candidate.verdict);
  ui.next(`coffer approve${storeFlag(context)} ${request.name.text}${as}`);
}

export interface ApproveOptions extends PersonOptions {
  readonly out?: string;
  readonly in?: readonly string[];
  readonly yes?: boolean;
}

function approvalErrand(candidate: Candidate): Errand {
  const { name, statement } = candidate;
  const lines = candidateLines(candidate);
  return {
    ...{ name, command: "approve", document: "statement", namespace: "coffer-statement" },
    ...{ bytes: statement.bytes, lines },
  };
}

export async function runApprove(context: Context, text: string, options: ApproveOptions): Promise<void> {
  const { ui } = context;
  const name = parseName(text);
  const store = await open(context);
  const candidate = await needCandidate(store, name);
  if (options.out !== undefined) return writeForSigning(context, options.out, approvalErrand(candidate));
  const approvedBy: string[] = [];
  if (options.in !== undefined) {
    for (const file of options.in) {
      const who = await approveWith(store, name, readSignature(context, file));
      approvedBy.push(who);
      ui.say(`added the approval of ${who}`);
    }
  } else {
    for (const line of candidateLines(candidate)) ui.say(line);
    const signer = await signerFor(context, store, options);
    await ui.confirm(`sign this for ${name.text}?`, options.yes === true);
    const who = await approve(store, name, candidate.statement.id, signer);
    approvedBy.push(who);
    ui.say(`approved by ${who}`);
  }
  const now = await needCandidate(store, name);
  ui.json(approvedJson(approvedBy, now));
  const { verdict } = now;
  if (verdict.trusted) {
    ui.next(`coffer promote${storeFlag(context)} ${name.text}`);
    return;
  }
  ui.say(`not yet: ${verdict.reasons.map((reason) => reason.text).join("; ")}`);
  const file = await firstMissing(store, now.manifest.value);
  const back = `send this signature back to where the bytes are (there: coffer approve ${name.text} --in FILE)`;
  if (file !== undefined) ui.say(back);
  if (file === undefined || verdict.reasons.some(({ code }) => code !== "BLOB_MISSING" && code !== "EVIDENCE_MISSING"))
    ui.next(`coffer approve${storeFlag(context)} ${name.text} --as ANOTHER`);
}

export async function runPromote(context: Context, texts: readonly string[], options: ProposeOptions): Promise<void> {
  const { ui } = context;
  const store = await open(context);
  const { done, waiting } = await promoteThem(context, store, texts, options);
  showLate(context, store);
  ui.json(promotedJson(done, waiting));
  for (const { name, statement, manifest, verdict, entry } of done) {
    ui.data(name.text);
    const by = `published by ${verdict.publisher}, approved by ${verdict.approvers.join(", ")}`;
    ui.say(
      `${name.text} is trusted: manifest ${short(manifest)}, statement ${short(statement)}, ${by}, log entry ${entry}`,
    );
  }
  const [first] = done;
  if (first !== undefined) ui.next(`coffer resolve${storeFlag(context)} ${first.name.text}`);
}

/** What was promoted, and candidates that were looked at but are not ready. */
interface PromotedNow {
  readonly done: readonly Promoted[];
  readonly waiting: Parameters<typeof promotedJson>[1];
}

async function promoteThem(
  context: Context,
  store: Store,
  texts: readonly string[],
  options: ProposeOptions,
): Promise<PromotedNow> {
  if (texts.length === 0) return promoteReady(context, store);
  const names = texts.map((text) => targetName(parseName(text), options.to));
  const [text, ...others] = texts;
  const [name] = names;
  if (text !== undefined && name !== undefined && others.length === 0 && (await onePersonSuffices(store, name))) {
    if (await needsAll(store, name)) {
      return { done: await promoteAlone(store, await proposeRequest(context, store, text, options)), waiting: [] };
    }
  }
  return { done: await promote(store, names), waiting: [] };
}

/** True if nobody has proposed the name yet, so that one person does it all. */
async function needsAll(store: Store, name: Name): Promise<boolean> {
  try {
    return !(await needCandidate(store, name)).verdict.trusted;
  } catch (error) {
    if (isCofferError(error, "NOT_PROPOSED")) return true;
    throw error;
  }
}

async function promoteReady(context: Context, store: Store): Promise<PromotedNow> {
  const { ready, waiting } = await openCandidates(store);
  for (const error of waiting.values()) context.ui.say(`not ready: ${error.message} [${error.code}]`);
  if (ready.length > 0) {
    const later = [...waiting].map(([name, { code, message }]) => [name, { code, text: message }] as const);
    return { done: await promote(store, ready), waiting: later };
  }
  const [error] = waiting.values();
  if (error === undefined) throw new CofferError("NOT_PROPOSED", "nothing is proposed");
  throw new CofferError(error.code, `none of ${counted(waiting.size, "candidate")} is ready`);
}
