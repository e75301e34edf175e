// SPDX-License-Identifier: Apache-2.0
/** The main job, one function a step. Each shows commands, runs them and checks what it claims. */
import {
  chmodSync,
  closeSync,
  copyFileSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { ROOT } from "../lib.mjs";
import { getBlob, getJson } from "./http.mjs";
import { checkLog, checkNames, checkSignatures } from "./stock.mjs";

const STORE = "my.coffer";
const SHARD = "model-00001-of-00002.safetensors";
const REASON = "training data withdrawn";

const idIn = (output) => /^[0-9a-f]{64}$/mu.exec(output)?.[0];
const blobFile = (sha256) => `${STORE}/blobs/${sha256.slice(0, 2)}/${sha256.slice(2)}`;

async function makeKeys(stage) {
  stage.begin("Three people make keys");
  stage.say("alice and carol let coffer make theirs. (Without a passphrase, as nobody is here to type one.)");
  for (const name of ["alice", "carol"]) {
    await stage.coffer(["key", "new", name, "--no-passphrase"]);
    copyFileSync(join(stage.home, ".config", "coffer", "keys", `${name}.pub`), stage.path(`${name}.pub`));
  }
  stage.stockKeys = stage.has("ssh-keygen");
  if (stage.stockKeys) {
    stage.say("bob uses OpenSSH: coffer's keys are OpenSSH keys.");
    await stage.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob", "-f", "bob"]);
  } else {
    stage.say("bob would use OpenSSH, but there is no ssh-keygen here.");
    await stage.coffer(["key", "new", "bob", "--no-passphrase", "--out", "bob"]);
  }
}

function writePolicy(stage) {
  const key = (name) =>
    readFileSync(stage.path(`${name}.pub`), "utf8")
      .split(" ")
      .slice(0, 2)
      .join(" ");
  const person = (name) => `    "${name}": { "keys": [{ "key": "${key(name)}", "status": "active" }] }`;
  const text = `{
  "principals": {
${["alice", "bob", "carol"].map(person).join(",\n")}
  },
  "rootRole": { "principals": ["alice", "bob", "carol"], "threshold": 2 },
  "rules": [{
    "names": "acme/*@*",
    "publishers": ["alice", "bob"],
    "approvers": { "principals": ["alice", "bob"], "threshold": 2 },
    "revokers": { "principals": ["carol"], "threshold": 1 },
    "evidence": [{ "kind": "inspection" }]
  }]
}
`;
  writeFileSync(stage.path("policy.json"), text);
  stage.print(`$ cat policy.json\n${text.trimEnd()}`);
}

async function makeStore(stage) {
  stage.begin("A store with a policy");
  stage.say(
    "alice and bob publish and approve, both must sign; carol alone may revoke. It is a file that people write:",
  );
  writePolicy(stage);
  await stage.coffer(["init", STORE, "--policy", "policy.json"]);
  stage.say("From here on commands find the store by themselves:");
  stage.export("COFFER_STORE", STORE);
}

async function bringModels(stage, own) {
  stage.begin("Models to take in");
  const fixture = (name) => ["node", join(ROOT, "scripts", "fixtures", name)];
  const shown = (name, ...args) => ["node", `scripts/fixtures/${name}`, ...args].join(" ");
  if (own === undefined) {
    stage.say("A tiny llama in GGUF, which llama.cpp loads:");
    await stage.run([...fixture("tiny-gguf.mjs"), "tiny.gguf"], { shown: shown("tiny-gguf.mjs", "tiny.gguf") });
  }
  stage.shown = own ?? "tiny.gguf";
  stage.file = own ?? stage.path("tiny.gguf");
  stage.say("A folder as Hugging Face lays it out, with safetensors shards:");
  await stage.run([...fixture("tiny-hf-folder.mjs"), "hf"], { shown: shown("tiny-hf-folder.mjs", "hf") });
  stage.say("And a pickle, as torch.save writes them, which runs a command when it is loaded:");
  await stage.run([...fixture("tiny-pickle.mjs"), "model.bin"], { shown: shown("tiny-pickle.mjs", "model.bin") });
}

async function addModels(stage) {
  stage.begin("Bytes go in untrusted, and are looked at");
  stage.say("The pickle is refused for what it holds, whatever its name:");
  await stage.coffer(["add", "model.bin", "--name", "acme/pickled"], { exit: 3, says: ["[ADMISSION_REFUSED]"] });
  const { size } = statSync(stage.file);
  stage.say(
    size > 1e9 ? "Your model (one pass over all of it, so this takes a while):" : "The others are quarantined:",
  );
  const added = await stage.coffer(["add", stage.shown, "--name", "acme/tiny"], { says: ["quarantined"] });
  await stage.coffer(["add", "hf", "--name", "acme/tiny-hf"], { says: ["quarantined", "9 files"] });
  stage.check(idIn(added) !== undefined, "add did not print the manifest's id");
  stage.say("Nothing of it can be had yet:");
  await stage.coffer(["path", "acme/tiny"], { exit: 3, says: ["coffer: error: "] });
}

async function oneApproval(stage) {
  stage.begin("One approval of two is not enough");
  stage.say("alice proposes, which signs the manifest as its publisher, and approves:");
  stage.statement = idIn(await stage.coffer(["propose", "acme/tiny", "--as", "alice"]));
  await stage.coffer(["approve", "acme/tiny", "--as", "alice", "--yes"], { says: ["approved by alice"] });
  stage.say("That is one signature. The policy wants two:");
  await stage.coffer(["promote", "acme/tiny"], { exit: 3, says: ["[APPROVALS_SHORT]"] });
}

async function secondApproval(stage) {
  stage.begin("The second approval, and the promotion");
  if (stage.stockKeys) {
    stage.say("bob sits elsewhere, without coffer. He gets the bytes and a summary, reads, and signs with ssh-keygen:");
    await stage.coffer(["approve", "acme/tiny", "--out", "for-bob"]);
    const bytes = "for-bob/acme-tiny-main.statement";
    await stage.run(["ssh-keygen", "-Y", "sign", "-n", "coffer-statement", "-f", "bob", bytes]);
    await stage.coffer(["approve", "acme/tiny", "--in", `${bytes}.sig`], { says: ["added the approval of bob"] });
  } else {
    stage.skip("an approval signed by ssh-keygen -Y sign", "ssh-keygen is not installed");
    await stage.coffer(["approve", "acme/tiny", "--as", "bob", "--key", "bob", "--yes"], { says: ["approved by bob"] });
  }
  stage.say("The folder takes the same way:");
  await stage.coffer(["propose", "acme/tiny-hf", "--as", "bob", "--key", "bob"], { lines: 4 });
  await stage.coffer(["approve", "acme/tiny-hf", "--as", "alice", "--yes"], { lines: 4 });
  await stage.coffer(["approve", "acme/tiny-hf", "--as", "bob", "--key", "bob", "--yes"], { lines: 4 });
  stage.say("Both become trusted in one transaction. Promoting needs nobody's key, only their signatures:");
  await stage.coffer(["promote"], { says: ["acme/tiny@main is trusted", "acme/tiny-hf@main is trusted"] });
}

async function reachRuntime(stage) {
  stage.begin("A runtime gets the bytes");
  stage.say("What is established about the name, and what is not:");
  const resolved = await stage.coffer(["resolve", "acme/tiny"], { says: ["acme/tiny@main: trusted"] });
  stage.sha256 = /^([0-9a-f]{64}) {2}/mu.exec(resolved)?.[1];
  stage.say('One verified path, for llama-cli -m "$(coffer path acme/tiny)":');
  const path = (await stage.coffer(["path", "acme/tiny"])).trim();
  stage.check(statSync(path).size === statSync(stage.file).size, "the file at that path has another size");
  stage.say("Or over HTTP. (The demo asks with Node's fetch; curl does the same.)");
  stage.url = await stage.serve();
  const answer = await getJson(stage, `${stage.url}/v1/resolve/acme/tiny/main`);
  stage.check(answer.status === 200 && answer.text.includes(stage.sha256), "expected 200 and the file's SHA-256");
  const blob = await getBlob(stage, `${stage.url}/v1/blobs/sha256/${stage.sha256}`);
  stage.check(blob.status === 200 && blob.whole, `expected a whole body with 200, found ${blob.status}`);
  stage.check(blob.sha256 === stage.sha256, "the SHA-256 of what was downloaded is not the one promised");
  if (!stage.has("sha256sum")) {
    stage.skip("sha256sum over the file that went in", "sha256sum is not installed");
    return;
  }
  stage.say("The same as of the file that went in:");
  await stage.run(["sha256sum", stage.shown], { says: [blob.sha256] });
}

async function revoke(stage) {
  stage.begin("carol revokes");
  stage.say(
    "Before that: the same bytes are proposed as @prod too, and both have signed. Only the promotion is missing:",
  );
  await stage.coffer(["propose", "acme/tiny", "--to", "@prod", "--as", "alice"], { lines: 2 });
  await stage.coffer(["approve", "acme/tiny@prod", "--as", "alice", "--yes"], { lines: 2 });
  await stage.coffer(["approve", "acme/tiny@prod", "--as", "bob", "--key", "bob", "--yes"], { lines: 2 });
  stage.say("alice may not revoke:");
  const words = ["revoke", "acme/tiny", "--reason", REASON, "--yes"];
  await stage.coffer([...words, "--as", "alice"], { exit: 3, says: ["[NOT_ALLOWED]"] });
  stage.say("carol may, alone:");
  await stage.coffer([...words, "--as", "carol"], { says: ["acme/tiny@main is revoked by carol"] });
  stage.say("From now on it is refused, here and by the server that has been running all the time:");
  await stage.coffer(["path", "acme/tiny"], { exit: 3, says: [REASON, "[REVOKED]"] });
  const answer = await getJson(stage, `${stage.url}/v1/resolve/acme/tiny/main`);
  stage.check(answer.status === 410 && answer.text.includes(REASON), "expected 410 with the reason");
  const blob = await getJson(stage, `${stage.url}/v1/blobs/sha256/${stage.sha256}`);
  stage.check([404, 410].includes(blob.status), `expected the blob to be gone, found ${blob.status}`);
  await sameBytes(stage);
}

/** What was revoked are bytes, so no other name brings them back: neither one that is ready, nor a new one. */
async function sameBytes(stage) {
  stage.say("The same bytes do not come back under another name, not even where every signature is there:");
  await stage.coffer(["promote", "acme/tiny@prod"], { exit: 3, says: [REASON, "[REVOKED]"] });
  await stage.coffer(["add", stage.shown, "--name", "acme/fresh"], { says: ["quarantined"] });
  await stage.coffer(["propose", "acme/fresh", "--as", "alice"], { exit: 3, says: ["[REVOKED]"] });
}

/** Changes one byte in place, as a failing disk or an intruder would. */
function flip(stage, file) {
  const path = stage.path(file);
  chmodSync(path, 0o644);
  const handle = openSync(path, "r+");
  try {
    const at = fstatSync(handle).size - 1;
    const before = Buffer.alloc(1);
    readSync(handle, before, 0, 1, at);
    const letter = before.toString("latin1") === "X" ? "Y" : "X";
    writeSync(handle, letter, at);
    stage.print(`$ chmod u+w ${file}; printf ${letter} | dd of=${file} bs=1 seek=${at} conv=notrunc status=none`);
  } finally {
    closeSync(handle);
  }
}

async function damage(stage) {
  stage.begin("Somebody tampers with the store");
  const listed = await stage.quiet(["coffer", "resolve", "acme/tiny-hf"]);
  stage.shard = new RegExp(`^([0-9a-f]{64}) {2}${SHARD}$`, "mu").exec(listed.output)?.[1];
  stage.check(stage.shard !== undefined, `expected ${SHARD} in the answer of resolve`);
  stage.say("One byte of a shard that is trusted:");
  flip(stage, blobFile(stage.shard));
  stage.say("It is not served, not even in part:");
  const blob = await getJson(stage, `${stage.url}/v1/blobs/sha256/${stage.shard}`);
  stage.check(blob.status === 503 || !blob.whole, `expected 503 or a cut connection, found ${blob.status}`);
  await stage.coffer(["path", "acme/tiny-hf", SHARD], { exit: 5, says: ["[CORRUPT]"] });
  stage.say("The file that shows where a ref stands gets the revoked model's statement:");
  const ref = `${STORE}/refs/trusted/acme/tiny-hf/main`;
  stage.print(`$ echo ${stage.statement} > ${ref}`);
  writeFileSync(stage.path(ref), `${stage.statement}\n`);
  stage.say("That changes no answer: those files are a view, and the signed log decides:");
  const files = /^(?:[0-9a-f]{64} {2}.+\n)+/u.exec(listed.output)?.[0];
  await stage.coffer(["resolve", "acme/tiny-hf"], { says: [files, "acme/tiny-hf@main: trusted"] });
  await stage.coffer(["resolve", "acme/tiny"], { exit: 3, says: ["[REVOKED]"] });
  stage.say("fsck names both:");
  const says = [blobFile(stage.shard).slice(STORE.length + 1), "refs/trusted/acme/tiny-hf/main"];
  await stage.coffer(["fsck"], { exit: 5, says });
}

async function mend(stage) {
  stage.begin("Mended from a copy");
  stage.say("fsck has put the ref's file right. Adding the same files again replaces the damaged one:");
  await stage.coffer(["add", "hf", "--name", "acme/tiny-hf"]);
  await stage.coffer(["fsck"], { says: ["all is well"] });
  const blob = await getBlob(stage, `${stage.url}/v1/blobs/sha256/${stage.shard}`);
  stage.check(blob.status === 200 && blob.sha256 === stage.shard, "the mended shard is not served");
  await stage.stopServer();
}

async function stockTools(stage) {
  stage.begin("All of it checked without coffer");
  await checkNames(stage, STORE);
  await checkSignatures(stage, STORE);
  await checkLog(stage, STORE);
}

/**
 * @param own - path of the user's own model file, or undefined
 * @throws Broken - a claim does not hold
 */
export async function runSteps(stage, own) {
  if (own !== undefined) stage.print(`With your model, ${basename(own)}, under the name acme/tiny.`);
  await makeKeys(stage);
  await makeStore(stage);
  await bringModels(stage, own);
  await addModels(stage);
  await oneApproval(stage);
  await secondApproval(stage);
  await reachRuntime(stage);
  await revoke(stage);
  await damage(stage);
  await mend(stage);
  await stockTools(stage);
}
