// SPDX-License-Identifier: Apache-2.0
/** The part of the command tree that is about what travels between stores. Layer: cli. The rest: program.ts. */
import type { Command } from "commander";
import type { Context } from "./context.ts";

export type Action = (context: Context) => Promise<unknown>;
/** What commander runs, from what a command does. */
export type Act = (action: Action) => (command: Command) => Promise<void>;

export function addBundles(program: Command, act: Act): void {
  const bundle = program
    .command("bundle")
    .description("what travels between stores: volumes for sticks, disks and pipes");
  bundle
    .command("create")
    .description("write chosen names into volumes, with every revocation and refusal of the store")
    .argument("[names...]", "names, or patterns in quotes such as 'acme/*@*'")
    .requiredOption("--out <place>", "a folder; a file that ends in .tar; - for stdout")
    .option("--no-blobs", "documents and signatures only")
    .option("--candidates", "what is proposed under the names as well, for approval elsewhere; no blobs")
    .option("--revocations", "no names: the policy, every revocation and every refusal")
    .option("--volume-size <size>", "fat32, dvd, or bytes with K, M, G or T; 16M at least")
    .option("--only-volume <n>", "write that volume alone")
    .option("--again <place>", "a bundle of this store that was made before, by any of its volumes")
    .action(async (names, options, command) =>
      act(async (context) => (await import("./commands/bundle.ts")).runBundleCreate(context, names, options))(command),
    );
  bundle
    .command("inspect")
    .description("what a bundle says that it brings; needs no store")
    .argument("<places...>", "volumes, folders with volumes or with what they held, or - for stdin")
    .action(async (places, _options, command) =>
      act(async (context) => (await import("./commands/bundle.ts")).runBundleInspect(context, places))(command),
    );
  bundle
    .command("verify")
    .description("check every hash and signature of a bundle; needs no store")
    .argument("<places...>", "volumes, folders with volumes or with what they held, or - for stdin")
    .action(async (places, _options, command) =>
      act(async (context) => (await import("./commands/bundle.ts")).runBundleVerify(context, places))(command),
    );
}
