// SPDX-License-Identifier: Apache-2.0
/** Questions on the terminal. Layer: cli. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

/** @param secret - show nothing of what is typed */
export function ask(question: string, secret: boolean): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({
    input: process.stdin,
    output: secret ? silent : process.stderr,
    terminal: true,
  });
  return new Promise((resolve) => {
    let answer = "";
    lines.once("line", (line) => {
      answer = line;
      lines.close();
    });
    lines.once("SIGINT", () => {
      lines.close();
      process.stderr.write("\n");
      process.exit(130);
    });
    lines.once("close", () => {
      if (secret) process.stderr.write("\n");
      resolve(answer);
    });
  });
}
