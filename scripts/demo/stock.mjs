// SPDX-License-Identifier: Apache-2.0
/** The whole store checked with `sha256sum` and `ssh-keygen` alone; where one is missing, it says so and shows nothing. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { filesBelow } from "../lib.mjs";

/** Arguments in one call, far below what any system allows. */
const BATCH = 200;
const LOG_NOTE = "line 1 is what was signed, the rest is the signature";

/** Every file under objects/ and blobs/ has the name that sha256sum prints. */
export async function checkNames(stage, store) {
  if (!stage.has("sha256sum")) return stage.skip("sha256sum over objects and blobs", "sha256sum is not installed");
  const files = ["objects", "blobs"].flatMap((folder) =>
    filesBelow(stage.path(store, folder)).map((file) => `${store}/${folder}/${file}`),
  );
  stage.check(files.length > 0, "expected files under objects/ and blobs/");
  stage.say("Each file under objects/ and blobs/ is named by what sha256sum prints for it:");
  stage.print(`$ sha256sum $(find ${store}/objects ${store}/blobs -type f)`);
  let shown = 0;
  for (let at = 0; at < files.length; at += BATCH) {
    const batch = files.slice(at, at + BATCH);
    const { status, output } = await stage.quiet(["sha256sum", ...batch]);
    const lines = output.trimEnd().split("\n");
    stage.check(status === 0 && lines.length === batch.length, `sha256sum ended with ${status}: ${output}`);
    for (const line of lines) {
      const [digest, file] = line.split("  ");
      if (shown < 3) stage.print(line);
      shown += 1;
      const name = file.split("/").slice(-2).join("");
      stage.check(name === digest, `${file}: sha256sum says ${digest}`);
    }
  }
  stage.print(`… and ${shown - 3} more lines\n${shown} files, ${shown} names equal`);
}

/** Who may sign: the people of the policy and the store, as ssh-keygen reads it. */
function writeSigners(stage, store) {
  const { principals } = JSON.parse(readFileSync(stage.path("policy.json"), "utf8"));
  const first = readFileSync(stage.path(store, "log/000000/000000000001"), "utf8").split("\n")[0];
  const people = Object.entries(principals).map(([name, { keys }]) => [name, keys[0].key]);
  const signers = [...people, ["store", JSON.parse(first).storeKey]];
  const text = signers.map(([name, key]) => `${name} ${key}\n`).join("");
  writeFileSync(stage.path("allowed_signers"), text);
  stage.print(`$ cat allowed_signers\n${text.trimEnd()}`);
  // A key's id, which stands in the names of signature files: the SHA-256 of its wire form.
  const keyId = (key) =>
    createHash("sha256")
      .update(Buffer.from(key.split(" ")[1], "base64"))
      .digest("hex");
  return new Map(signers.map(([name, key]) => [keyId(key), name]));
}

const verifyWords = (who, namespace, signature) => [
  ...["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", who, "-n", namespace, "-s", signature],
];

/** Every signature in the store, among them those of the promoted models, over the object that its name says. */
export async function checkSignatures(stage, store) {
  if (!stage.stockKeys) return stage.skip("ssh-keygen -Y verify over signatures", "ssh-keygen is not installed");
  stage.say("Each signature passes ssh-keygen, with the keys from the policy and the store's own from log entry 1:");
  const names = writeSigners(stage, store);
  const seen = new Map();
  for (const file of filesBelow(stage.path(store, "signatures"))) {
    const [, object, keyId] = /^(.+)\.([0-9a-f]{64})\.sig$/u.exec(file) ?? [];
    stage.check(names.has(keyId), `signatures/${file}: expected a key of the policy or of the store`);
    const document = `${store}/objects/${object}`;
    const namespace = JSON.parse(readFileSync(stage.path(document), "utf8")).type.replace("/", "-");
    const words = verifyWords(names.get(keyId), namespace, `${store}/signatures/${file}`);
    const what = `${namespace} by ${names.get(keyId)}`;
    const says = [`Good "${namespace}" signature for ${names.get(keyId)}`];
    if (namespace === "coffer-statement" && !seen.has(what)) await stage.run(words, { input: document, says });
    else await verifyQuietly(stage, words, document, says[0]);
    seen.set(what, (seen.get(what) ?? 0) + 1);
  }
  for (const what of ["coffer-statement by alice", "coffer-statement by bob", "coffer-statement by carol"]) {
    stage.check(seen.has(what), `expected a ${what}`);
  }
  for (const [what, count] of [...seen].sort()) stage.print(`${count} × good ${what}`);
}

async function verifyQuietly(stage, words, input, expected) {
  const { status, output } = await stage.quiet(words, input);
  stage.check(status === 0 && output.startsWith(expected), `ssh-keygen -Y verify of ${words.at(-1)}: ${output.trim()}`);
}

/** Each log entry: its first line, and the store key's signature over it. */
export async function checkLog(stage, store) {
  if (!stage.stockKeys) return stage.skip("ssh-keygen -Y verify over the log", "ssh-keygen is not installed");
  const entries = filesBelow(stage.path(store, "log"));
  stage.check(entries.length > 0, "expected log entries");
  stage.say(`So does each entry of the log: ${LOG_NOTE}. The newest:`);
  for (const entry of entries) {
    const text = readFileSync(stage.path(store, "log", entry), "utf8");
    const end = text.indexOf("\n") + 1;
    writeFileSync(stage.path("entry"), text.slice(0, end));
    writeFileSync(stage.path("entry.sig"), text.slice(end));
    const words = verifyWords("store", "coffer-log", "entry.sig");
    const says = 'Good "coffer-log" signature for store';
    if (entry !== entries.at(-1)) await verifyQuietly(stage, words, "entry", says);
    else {
      const file = `${store}/log/${entry}`;
      stage.print(`$ head -n 1 ${file} > entry; tail -n +2 ${file} > entry.sig`);
      await stage.run(words, { input: "entry", says: [says] });
    }
  }
  stage.print(`${entries.length} entries, ${entries.length} good signatures`);
}
