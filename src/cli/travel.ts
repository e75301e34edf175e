// SPDX-License-Identifier: Apache-2.0
/** The part of the command tree that is about what travels between stores. Layer: cli. The rest: program.ts. */
import type { Command } from "commander";
import type { Context } from "./context.ts";

export type Action = (context: Context) => Promise<unknown>;
/** What commander runs, from what a command does. */
export type Act = (action: Action) => (command: Command) => Promise<void>;

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];
const RECIPIENT_TEXT = "encrypt to age1…, or to those in @FILE (may be repeated)";
const IDENTITY_TEXT = "opens what is encrypted, as age-keygen wrote it; else COFFER_IDENTITY (may be repeated)";
const MEND_TEXT = "hash the files that its names need and that are here, and replace those that are damaged";

export function addBundles(program: Command, act: Act): void {
  const bundle = program
    .command("bundle")
    .description("what travels between stores: volumes for sticks, disks and pipes");
  bundle
    .command("create")
    .description("write chosen names into volumes, with every revocation and refusal of the store")
    .argument("[names...]", "names, or patterns in quotes such as 'acme/*@*'")
    .requiredOption("--out <place>", "a folder; a file that ends in .tar (.tar.age); - for stdout")
    .option("--for <receipt>", "a receipt of the store that gets it: files that it has stay here")
    .option("--no-blobs", "documents and signatures only")
    .option("--candidates", "what is proposed under the names as well, for approval elsewhere; no blobs")
    .option("--revocations", "no names: the policy, every revocation and every refusal")
    .option("--volume-size <size>", "fat32, dvd, or bytes with K, M, G or T; 16M at least")
    .option("--only-volume <n>", "write that volume alone")
    .option("--again <place>", "a bundle of this store that was made before, by any of its volumes")
    .option("--encrypt-to <recipient>", RECIPIENT_TEXT, collect)
    .option("--identity <file>", "what opens the bundle of --again if it is encrypted (may be repeated)", collect)
    .action(async (names, options, command) =>
      act(async (context) => (await import("./commands/bundle.ts")).runBundleCreate(context, names, options))(command),
    );
  bundle
    .command("inspect")
    .description("what a bundle says that it brings; needs no store")
    .argument("<places...>", "volumes, folders with volumes or with what they held, or - for stdin")
    .option("--identity <file>", IDENTITY_TEXT, collect)
    .action(async (places, options, command) =>
      act(async (context) => (await import("./commands/bundle.ts")).runBundleInspect(context, places, options))(
        command,
      ),
    );
  bundle
    .command("verify")
    .description("check every hash and signature of a bundle; needs no store")
    .argument("<places...>", "volumes, folders with volumes or with what they held, or - for stdin")
    .option("--identity <file>", IDENTITY_TEXT, collect)
    .action(async (places, options, command) =>
      act(async (context) => (await import("./commands/bundle.ts")).runBundleVerify(context, places, options))(command),
    );
  bundle
    .command("import")
    .description("take over a bundle: revocations first, then what its signatures carry; the same again moves nothing")
    .argument("<places...>", "volumes, folders with volumes or with what they held, or - for stdin")
    .option("--identity <file>", IDENTITY_TEXT, collect)
    .option("--mend", MEND_TEXT)
    .action(async (places, options, command) =>
      act(async (context) => (await import("./commands/receive.ts")).runBundleImport(context, places, options))(
        command,
      ),
    );
}

export function addTransfer(program: Command, act: Act): void {
  program
    .command("pull")
    .description("take over what a remote has: another store, the bundles on a stick, a server, or a git host")
    .argument("<remote>", "its name, or its address: a folder, http(s)://…, or git+http(s)://…")
    .option("--cafile <file>", "of https: believe the certificate authorities in this file, and no others")
    .option("--identity <file>", `on a stick: ${IDENTITY_TEXT}`, collect)
    .option("--mend", MEND_TEXT)
    .action(async (remote, options, command) =>
      act(async (context) => (await import("./commands/receive.ts")).runPull(context, remote, options))(command),
    );
  program
    .command("push")
    .description("send what this store has to a remote; nothing is ever removed there")
    .argument("<remote>", "its name, or its address: a folder, or git+http(s)://…")
    .argument("[names...]", "names, or patterns in quotes; else every name")
    .option("--no-blobs", "to a stick: documents and signatures only")
    .option("--candidates", "to a stick: what is proposed under the names as well; no blobs")
    .option("--volume-size <size>", "to a stick: fat32, dvd, or bytes with K, M, G or T; 16M at least")
    .option("--encrypt-to <recipient>", `to a stick: ${RECIPIENT_TEXT}`, collect)
    .option(
      "--cafile <file>",
      "of a git host over https: believe the certificate authorities in this file, and no others",
    )
    .action(async (remote, names, options, command) =>
      act(async (context) => (await import("./commands/receive.ts")).runPush(context, remote, names, options))(command),
    );
  program
    .command("clone")
    .description("make a store with a policy root that you were given, filled from a bundle or another store")
    .argument(
      "<source>",
      "a bundle (a volume, a folder with all of them, - for stdin), another store's folder, http(s)://… or git+http(s)://…",
    )
    .argument("<folder>", "a new or an empty folder")
    .option("--identity <file>", IDENTITY_TEXT, collect)
    .option("--root <number:digest>", "the policy root, from somebody whom you know; without it nothing is made")
    .option("--cafile <file>", "of https: believe the certificate authorities in this file, and no others")
    .action(async (source, folder, options, command) =>
      act(async (context) => (await import("./commands/receive.ts")).runClone(context, source, folder, options))(
        command,
      ),
    );
}

export function addGit(program: Command, act: Act): void {
  program
    .command("git")
    .description("what stock git and git-lfs see of the store")
    .command("export")
    .description("make the repository git/ in the store say what the store says now")
    .action(async (_options, command) =>
      act(async (context) => (await import("./commands/git.ts")).runGitExport(context))(command),
    );
}

export function addReceipt(program: Command, act: Act): void {
  const receipt = program.command("receipt").description("what a store holds, signed, for whoever sends to it");
  receipt
    .command("create")
    .description("write what this store holds into a file, for the next bundle to leave that out")
    .argument("<place>", "a folder, as of a stick; or a file, new or an older receipt of this store")
    .action(async (file, _options, command) =>
      act(async (context) => (await import("./commands/receipt.ts")).runReceiptCreate(context, file))(command),
    );
  receipt
    .command("show")
    .description("print what a receipt says; needs no store")
    .argument("<file>", "a receipt")
    .action(async (file, _options, command) =>
      act(async (context) => (await import("./commands/receipt.ts")).runReceiptShow(context, file))(command),
    );
  receipt
    .command("verify")
    .description("say which revocations and refusals of this store have arrived there; 9 if not all have")
    .argument("<file>", "another store's receipt")
    .action(async (file, _options, command) =>
      act(async (context) => (await import("./commands/receipt.ts")).runReceiptVerify(context, file))(command),
    );
}

export function addRemotes(program: Command, act: Act): void {
  const remote = program.command("remote").description("the other stores that this one trades with");
  remote
    .command("add")
    .description("give a store, a stick, a server or a git host a name")
    .argument("<name>")
    .argument("<address>", "a folder, http(s)://…, or git+http(s)://… for a git host")
    .action(async (name, address, _options, command) =>
      act(async (context) => (await import("./commands/remote.ts")).runRemoteAdd(context, name, address))(command),
    );
  remote
    .command("list")
    .description("list them")
    .action(async (_options, command) =>
      act(async (context) => (await import("./commands/remote.ts")).runRemoteList(context))(command),
    );
  remote
    .command("remove")
    .description("forget one, with its receipt; nothing is removed there")
    .argument("<name>")
    .action(async (name, _options, command) =>
      act(async (context) => (await import("./commands/remote.ts")).runRemoteRemove(context, name))(command),
    );
  remote
    .command("forget")
    .description("forget by which key another store was known, where somebody else came first under its id")
    .argument("<store-id>", "all 64 characters of it; a store that has shown two histories is never forgotten")
    .action(async (id, _options, command) =>
      act(async (context) => (await import("./commands/remote.ts")).runRemoteForget(context, id))(command),
    );
  remote
    .command("status")
    .description("say which revocations and refusals are known to have arrived; 9 if not all have")
    .argument("[name]", "else all of them")
    .option("--receipt <file>", "take this receipt as the newest from there first")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/remote.ts")).runRemoteStatus(context, name, options))(command),
    );
}
