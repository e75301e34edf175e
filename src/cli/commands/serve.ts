// SPDX-License-Identifier: Apache-2.0
/** `serve`: the read-only HTTP server, until it is told to stop. Layer: cli. */
import { CofferError, EXIT } from "../../base/errors.ts";
import { createServer } from "../../server/server.ts";
import { type Context, open } from "../context.ts";

const LONGEST_GRACE_S = 86_400;

interface ServeOptions {
  readonly port: string;
  readonly grace: string;
  readonly receipts?: boolean;
}

/** @returns the exit status: 9 if running answers had to be cut */
export async function runServe(context: Context, options: ServeOptions): Promise<number> {
  const { io, ui } = context;
  const graceS = parseGrace(options.grace);
  if (!/^[0-9]{1,5}$/.test(options.port) || Number(options.port) > 65_535) {
    throw new CofferError("USAGE", `--port: expected 0 to 65535, found ${options.port}`);
  }
  // Whoever reads what is printed may stop reading; requests and the watch over downloads must not stop with it.
  await io.neverWait();
  const store = await open(context);
  if (context.options.memory && !store.memoryFacts().known) {
    throw new CofferError(
      "NO_MEMORY",
      "this machine has no memory of the store, so an older copy would not be noticed",
    );
  }
  const receipts = options.receipts === true;
  if (receipts && store.receipts === undefined) {
    ui.warn("this account does not hold the store key, so it has no receipts: all bytes are hashed");
  }
  const server = createServer(store, { receipts, onFault: (error) => ui.warn(faultText(error)) });
  const { port } = await server.listen(Number(options.port));
  const url = `http://127.0.0.1:${port}`;
  ui.jsonLine({ url, port });
  ui.data(url);
  ui.say(`serving what is trusted in the store, read-only; stop it with Ctrl-C`);
  const signal = await io.stopped();
  ui.say(`${signal}: finishing what runs, for ${graceS} s at most`);
  const cut = await server.close(graceS * 1000);
  if (cut === 0) return EXIT.ok;
  ui.warn(`${cut} running ${cut === 1 ? "answer was" : "answers were"} cut`);
  return EXIT.incomplete;
}

function parseGrace(text: string): number {
  if (/^[0-9]{1,5}$/.test(text) && Number(text) <= LONGEST_GRACE_S) return Number(text);
  throw new CofferError("USAGE", `--grace: expected 0 to ${LONGEST_GRACE_S} seconds, found ${text}`);
}

/** Damage and bugs that a request ran into: the client got 503 or 500, the operator should know which. */
function faultText(error: unknown): string {
  if (error instanceof CofferError) return `${error.message} [${error.code}]`;
  return `${error instanceof Error ? error.message : String(error)} [INTERNAL]`;
}
