// SPDX-License-Identifier: Apache-2.0
/**
 * The command tree, with commander. Each action loads what it needs when it runs, so that `resolve` starts quickly.
 * Layer: cli.
 */
import { Command, CommanderError, Option } from "commander";
import { CofferError, EXIT } from "../base/errors.ts";
import { TOOL_VERSION } from "../repo/version.ts";
import type { GlobalOptions } from "./context.ts";
import { GLOBAL_OPTIONS } from "./global-options.ts";
import type { Io } from "./io.ts";
import { type Act, type Action, addBundles, addGit, addReceipt, addRemotes, addTransfer } from "./travel.ts";
import { Ui } from "./ui.ts";

/** What an action sets: the exit status of a run that did not throw. */
interface Run {
  exit: number;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/**
 * Runs one command line.
 * @param argv - the arguments after `coffer`
 * @returns the exit status; never throws
 */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const ui = new Ui(io);
  const run: Run = { exit: EXIT.ok };
  try {
    await buildProgram(io, ui, run).parseAsync([...argv], { from: "user" });
    ui.end();
    return run.exit;
  } catch (error) {
    if (error instanceof CommanderError) return commanderExit(ui, error, asksForJson(argv));
    return ui.fail(error);
  }
}

/** commander has printed its own text by then; help and version are no errors. */
function commanderExit(ui: Ui, error: CommanderError, json: boolean): number {
  if (error.exitCode === 0) return EXIT.ok;
  if (json) ui.speakJson();
  if (error.code === "commander.help")
    return json ? ui.fail(new CofferError("USAGE", "expected a command")) : EXIT.usage;
  const text = error.message.replace(/^error: /, "").replaceAll("\n", " ");
  return ui.fail(new CofferError("USAGE", text));
}

/** A command line that commander could not read has no options yet. */
function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? undefined : end).includes("--json");
}

export function buildProgram(io: Io, ui: Ui, run: Run): Command {
  const program = new Command("coffer");
  program
    .description("A signed, content-addressed store for AI model artifacts")
    .version(TOOL_VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .configureOutput({ writeOut: io.out, writeErr: io.err, outputError: () => undefined })
    .exitOverride()
    .showHelpAfterError(false);
  for (const { flags, text } of GLOBAL_OPTIONS) program.addOption(new Option(flags, text));
  const act = (action: Action) => async (command: Command) => {
    const options = command.optsWithGlobals<GlobalOptions>();
    if (options.json === true) ui.speakJson();
    const exit = await action({ io, ui, options });
    if (typeof exit === "number") run.exit = exit;
  };
  addSetup(program, act);
  addPromotion(program, act);
  addDenial(program, act);
  addReading(program, act);
  addTransfer(program, act);
  addUpkeep(program, act);
  addReceipt(program, act);
  addRemotes(program, act);
  addGit(program, act);
  addServing(program, act);
  addBundles(program, act);
  addCompletion(program, act);
  for (const command of everyCommand(program)) {
    // Global options may stand after the command too, as people type them.
    if (command !== program)
      for (const option of program.options) if (option.long !== "--version") command.addOption(option);
    command.exitOverride().configureOutput({ writeOut: io.out, writeErr: io.err, outputError: () => undefined });
  }
  return program;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

function addSetup(program: Command, act: Act): void {
  program
    .command("init")
    .description("make a store with its first policy")
    .argument("<folder>", "a new or an empty folder")
    .option("--me <name>", "you are everything: publisher, approver, revoker")
    .option("--key <file>", "your key; else the key of that name, else ~/.ssh/id_ed25519")
    .option("--team <list>", "alice=alice.pub,bob=bob.pub: all publish, approve and revoke")
    .option("--threshold <n>", "approvals needed; 2, or 1 for one person")
    .option("--separate", "who publishes does not count as approver")
    .option("--policy <file>", "a policy of your own as JSON (docs/format.md)")
    .option("--shared", "the group of the new folder writes it together: give --secrets that it can read")
    .action(async (folder, options, command) =>
      act(async (context) => (await import("./commands/setup.ts")).runInit(context, folder, options))(command),
    );
  const key = program.command("key").description("people's keys on this machine");
  key
    .command("new")
    .description("make an Ed25519 key in OpenSSH format")
    .argument("<name>", "whose it is")
    .option("--out <file>", "where to put it; else the keys folder")
    .option("--no-passphrase", "leave the private key open")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/setup.ts")).runKeyNew(context, name, options))(command),
    );
  key
    .command("list")
    .description("list the keys folder")
    .action(async (_options, command) =>
      act(async (context) => (await import("./commands/setup.ts")).runKeyList(context))(command),
    );
  key
    .command("show")
    .description("print a public key, its fingerprint and its key id")
    .argument("<name>", "a name in the keys folder, or a file")
    .action(async (name, _options, command) =>
      act(async (context) => (await import("./commands/setup.ts")).runKeyShow(context, name))(command),
    );
  program
    .command("policy")
    .description("who may do what")
    .command("show")
    .description("print the policy")
    .action(async (_options, command) =>
      act(async (context) => (await import("./commands/setup.ts")).runPolicyShow(context))(command),
    );
}

function addPerson(command: Command): Command {
  return command
    .option("--as <name>", "who acts; needed where several keys here are in the policy")
    .option("--key <file>", "the private key to sign with");
}

function addPromotion(program: Command, act: Act): void {
  program
    .command("add")
    .description("take files in: inspect them and put them in quarantine")
    .argument("<paths...>", "files, folders (which keep their tree), or globs in quotes")
    .requiredOption("--name <name>", "namespace/model@version")
    .option("--keep", "keep what fails inspection apart, where nothing can promote it")
    .option("--move", "take the files themselves, without a copy: they are gone from where they were")
    .option("--license <text>", "recorded in the manifest")
    .option("--source <url>", "where it came from: a claim, recorded in the manifest")
    .option("--revision <id>", "which revision of the source")
    .action(async (paths, options, command) =>
      act(async (context) => (await import("./commands/promotion.ts")).runAdd(context, paths, options))(command),
    );
  addPerson(program.command("propose"))
    .description("as a publisher: sign the manifest and propose it for promotion")
    .argument("<name>", "the quarantined name")
    .option("--to <name>", "propose under another name or version, such as @prod")
    .option("--replace", "replace an open candidate; its approvals are lost")
    .option("--expires <time>", "when the promotion ends: 2027-01-31T00:00:00Z, or 90d")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/promotion.ts")).runPropose(context, name, options))(command),
    );
  addPerson(program.command("approve"))
    .description("as an approver: read what is proposed and sign it")
    .argument("<name>", "the proposed name")
    .option("--out <folder>", "write the bytes to sign and a summary, for somebody elsewhere")
    .option("--in <file>", "add a signature made elsewhere (may be repeated)", collect)
    .option("--yes", "sign without asking")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/promotion.ts")).runApprove(context, name, options))(command),
    );
  addPerson(program.command("promote"))
    .description("make proposed names trusted, all of them or none")
    .argument("[names...]", "else every candidate that is ready")
    .option("--to <name>", "the target, such as @prod: same manifest, the target's rule")
    .option("--expires <time>", "where one person suffices: when the promotion ends")
    .action(async (names, options, command) =>
      act(async (context) => (await import("./commands/promotion.ts")).runPromote(context, names, options))(command),
    );
}

function addDenial(program: Command, act: Act): void {
  addPerson(program.command("revoke"))
    .description("as a revoker: take a name and its bytes out of use, for ever")
    .argument("<name>", "what to revoke")
    .option("--reason <text>", "why; everybody who asks is told")
    .option(
      "--also <digest>",
      "a further blob to revoke, by 12 or more characters of its digest (may be repeated)",
      collect,
    )
    .option("--replace", "make a new revocation although one waits for further revokers")
    .option("--dry-run", "only list what would fall")
    .option("--yes", "revoke without asking")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/denial.ts")).runRevoke(context, name, options))(command),
    );
  addPerson(program.command("delete"))
    .description("as a revoker: have the bytes of a revoked name removed; the record stays")
    .argument("<name>", "a revoked name")
    .option("--reason <text>", "why; everybody who asks is told")
    .option("--revoke", "revoke it first, where it is not")
    .option("--replace", "make a new deletion although one waits for further revokers")
    .option("--dry-run", "only tell what it is about")
    .option("--yes", "delete without asking")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/denial.ts")).runDelete(context, name, options))(command),
    );
  addPerson(program.command("reject"))
    .description("as an approver: refuse, for ever, what is proposed or stands")
    .argument("<name>", "the proposed name; without a candidate, what stands under it")
    .option("--reason <text>", "why; everybody who asks is told")
    .option("--statement <digest>", "another statement than the open candidate, by 12 or more characters of its id")
    .option("--out <folder>", "write the refusal to sign and a summary, for somebody elsewhere")
    .option("--in <file>", "add a refusal signed elsewhere: its .sig, beside the refusal (may be repeated)", collect)
    .option("--yes", "sign without asking")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/denial.ts")).runReject(context, name, options))(command),
    );
}

function addReading(program: Command, act: Act): void {
  const log = program
    .command("log")
    .description("what was done, newest first: what moved, who signed for it")
    .argument("[name]", "only what moved this name")
    .option("--limit <n>", "show so many entries; else 20")
    .option("--at <entry>", "start at that entry")
    .option("--entry <n>", "show one entry with every ref that it moved")
    .option("--verify", "check every entry: its signature, its number and that it follows the one before")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/log.ts")).runLog(context, name, options))(command),
    );
  program
    .command("list")
    .description("list names with their states, in pages")
    .argument("[pattern]", "only names that match, such as 'acme/*@*'")
    .option("--limit <n>", "names on a page, 1 to 100000; 100 when left out")
    .option("--after <name>", "go on after this name")
    .option("--at <entry>", "as it was after that entry of the log: an answer about the past, never for use")
    .action(async (pattern, options, command) =>
      act(async (context) => (await import("./commands/reading.ts")).runList(context, pattern, options))(command),
    );
  program
    .command("show")
    .description("everything known of a name, or one object by its digest")
    .argument("<what>", "a name, or 12 or more characters of a digest")
    .option("--at <entry>", "as it was after that entry of the log: an answer about the past, never for use")
    .action(async (what, options, command) =>
      act(async (context) => (await import("./commands/reading.ts")).runShow(context, what, options))(command),
    );
  program
    .command("resolve")
    .description("the verdict on a name and, if it is trusted now, its files with their SHA-256")
    .argument("<name>", "namespace/model@version")
    .option("--at <entry>", "as it was after that entry of the log: an answer about the past, never for use")
    .action(async (name, options, command) =>
      act(async (context) => (await import("./commands/resolve.ts")).runResolve(context, name, options))(command),
    );
  program
    .command("path")
    .description("print the path of one verified file of a trusted name, or fail")
    .argument("<name>", "namespace/model@version")
    .argument("[file]", "its path in the manifest; not needed where there is only one")
    .option("--to <folder>", "lay the files there; else in the store")
    .action(async (name, file, options, command) =>
      act(async (context) => (await import("./commands/path.ts")).runPath(context, name, file, options))(command),
    );
  program
    .command("checkout")
    .description("write the files of a trusted name into a new folder")
    .argument("<name>", "namespace/model@version")
    .argument("<folder>", "a new or an empty folder")
    .action(async (name, folder, _options, command) =>
      act(async (context) => (await import("./commands/path.ts")).runCheckout(context, name, folder))(command),
    );
  log
    .command("adopt-restore")
    .description("go on from an older backup, in a new log; first tells which revocations may be lost")
    .option("--head <digest>", "the restored head, by 12 or more characters, as it was told")
    .option("--accept-lost-revocations", "what was revoked in the lost entries is known, and dealt with")
    .action(async (options, command) =>
      act(async (context) => (await import("./commands/restore.ts")).runAdoptRestore(context, options))(command),
    );
  log
    .command("fork")
    .description("other stores that have shown two histories")
    .command("show")
    .description("what is kept as evidence: both indexes, where they differ, which was adopted; 7 if there is any")
    .argument("[store]", "a store id, or 12 or more characters of it; else all of them")
    .action(async (store, _options, command) =>
      act(async (context) => (await import("./commands/forks.ts")).runForkShow(context, store))(command),
    );
  program
    .command("fsck")
    .description("check every byte, ref and signature, offline")
    .action(async (_options, command) =>
      act(async (context) => (await import("./commands/reading.ts")).runFsck(context))(command),
    );
}

function addUpkeep(program: Command, act: Act): void {
  program
    .command("gc")
    .description("move what nothing reaches to the trash, and remove what has been there for a day")
    .option("--dry-run", "only say what would be done")
    .option("--older-than <age>", "move only what was not written or used again for so long: 15m, 24h, 7d, 0", "24h")
    .action(async (options, command) =>
      act(async (context) => (await import("./commands/upkeep.ts")).runGc(context, options))(command),
    );
  program
    .command("du")
    .description("what each name takes, alone and with others, what the store takes, and what gc could free")
    .argument("[names...]", "else every name")
    .action(async (names, _options, command) =>
      act(async (context) => (await import("./commands/upkeep.ts")).runDu(context, names))(command),
    );
  program
    .command("doctor")
    .description("check this machine, and the store if there is one, and say what mends what is wrong; writes nothing")
    .action(async (_options, command) =>
      act(async (context) => (await import("./commands/upkeep.ts")).runDoctor(context))(command),
    );
}

function addServing(program: Command, act: Act): void {
  program
    .command("serve")
    .description("serve what is trusted, read-only, on 127.0.0.1")
    .option("--port <port>", "the port; 0 takes a free one", "8470")
    .option("--grace <seconds>", "when told to stop, let running downloads go on for this long", "10")
    .option("--receipts", "do not hash big files again that were hashed in this boot and not written since")
    .action(async (options, command) =>
      act(async (context) => (await import("./commands/serve.ts")).runServe(context, options))(command),
    );
}

function addCompletion(program: Command, act: Act): void {
  program
    .command("completion")
    .description("print a script that completes commands, options and names")
    .argument("<shell>", "bash, zsh or fish")
    .action(async (shell, _options, command) =>
      act(async (context) => (await import("./commands/completion.ts")).runCompletion(context, shell))(command),
    );
  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .action(async (words, _options, command) =>
      act(async (context) => (await import("./commands/completion.ts")).runComplete(context, program, words))(command),
    );
}
