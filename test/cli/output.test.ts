// SPDX-License-Identifier: Apache-2.0
/** What a process prints (src/cli/output.ts): in order and whole, whatever takes it. */
import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { Output } from "../../src/cli/output.ts";

/** Something that takes `mostBytes` with each write, and what `refusal` says instead once it gives an error code. */
function sink(mostBytes: number, refusal: (writes: number) => string | undefined = () => undefined) {
  const seen = { text: "", writes: 0, opened: 0, errors: [] as unknown[] };
  const open = (): Writable => {
    seen.opened += 1;
    return new Writable({
      write(chunk, _encoding, done) {
        seen.text += String(chunk);
        done();
      },
    });
  };
  const write = (_fd: number, bytes: Uint8Array): number => {
    const code = refusal(seen.writes);
    seen.writes += 1;
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    const taken = bytes.subarray(0, mostBytes);
    seen.text += Buffer.from(taken).toString("latin1");
    return taken.length;
  };
  return { seen, output: new Output(1, open, (error) => seen.errors.push(error), write) };
}

test("what is taken in pieces comes whole, and no stream is made", () => {
  const { seen, output } = sink(3);
  output.print("one two three");
  output.print("");
  output.print("!\n");
  assert.deepEqual([seen.text, seen.opened, seen.errors], ["one two three!\n", 0, []]);
});

test("where there is no room at the moment the rest goes through the stream, and all that comes later", () => {
  const { seen, output } = sink(4, (writes) => (writes === 2 ? "EAGAIN" : undefined));
  output.print("one two three");
  output.print(" four");
  assert.deepEqual([seen.text, seen.opened, seen.writes, seen.errors], ["one two three four", 1, 3, []]);
});

test("who waits for bytes to be taken gets the one stream, and texts keep their place", () => {
  const { seen, output } = sink(100);
  output.print("a");
  output.stream().write("b");
  output.print("c");
  output.stream().write("d");
  assert.deepEqual([seen.text, seen.opened], ["abcd", 1]);
});

test("a write that fails, and a stream that does, are told and not thrown", () => {
  const { seen, output } = sink(100, () => "ENOSPC");
  output.print("lost");
  assert.deepEqual([seen.text, seen.errors.length], ["", 1]);
  output.stream().emit("error", new Error("later"));
  assert.equal(seen.errors.length, 2);
});
