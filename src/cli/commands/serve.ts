// SPDX-License-Identifier: Apache-2.0
/** `serve`: the read-only HTTP server, until it is told to stop. Layer: cli. */
import { CofferError } from "../../base/errors.ts";
import { createServer } from "../../server/server.ts";
import { type Context, open } from "../context.ts";

const GRACE_MS = 10_000;

export async function runServe(context: Context, options: { readonly port: string }): Promise<void> {
  const { io, ui } = context;
  if (!/^[0-9]{1,5}$/.test(options.port) || Number(options.port) > 65_535) {
    throw new CofferError("USAGE", `--port: expected 0 to 65535, found ${options.port}`);
  }
  const store = await open(context);
  if (context.options.memory && !store.memoryFacts().known) {
    throw new CofferError(
      "NO_MEMORY",
      "this machine has no memory of the store, so an older copy would not be noticed",
    );
  }
  const server = createServer(store, { onFault: (error) => ui.warn(faultText(error)) });
  const { port } = await server.listen(Number(options.port));
  ui.data(`http://127.0.0.1:${port}`);
  ui.say(`serving what is trusted in the store, read-only; stop it with Ctrl-C`);
  const signal = await io.stopped();
  ui.say(`${signal}: finishing what runs`);
  await server.close(GRACE_MS);
}

/** Damage and bugs that a request ran into: the client got 503 or 500, the operator should know which. */
function faultText(error: unknown): string {
  if (error instanceof CofferError) return `${error.message} [${error.code}]`;
  return `${error instanceof Error ? error.message : String(error)} [INTERNAL]`;
}
