// SPDX-License-Identifier: Apache-2.0
/**
 * The open connections: how many there may be, that requests of one are answered one after the other, that what cannot
 * be read is refused, and that closing lets running answers end first. Layer: server.
 *
 * Every client on a loopback has the same address, so no limit can tell clients apart: a connection is a client. One
 * that waits for its next request gives way to a new one when all places are taken; one that is being served never does.
 */
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { systemCode } from "../base/errors.ts";
import { rawRefusal } from "./answer.ts";
import { refuse, refuseBusy } from "./refusal.ts";

/** Requests that a client may send ahead on one connection. */
const PIPELINED = 16;
/** How long a client that sent nonsense may take to read why. */
const LINGER_MS = 1000;

/** What is known of one connection. */
interface Lane {
  /** Answers begun or waiting, each with what to call when it is done. */
  readonly open: Map<ServerResponse, () => void>;
  /** Settles when the answer before is done. */
  tail: Promise<void>;
  refused: boolean;
}

export class Connections {
  private readonly most: number;
  private readonly lanes = new Map<Duplex, Lane>();
  /** Connections between two requests, the longest idle first. */
  private readonly idle = new Set<Socket>();
  private closing = false;
  private cutCount = 0;

  /** @param most - connections at a time, however they are used */
  constructor(most: number) {
    this.most = most;
  }

  /** Connections with a running answer that closing had to cut. */
  get cut(): number {
    return this.cutCount;
  }

  track(socket: Socket): void {
    if (this.lanes.size >= this.most && !this.giveWay()) {
      turnAway(socket);
      return;
    }
    const lane: Lane = { open: new Map(), tail: Promise.resolve(), refused: false };
    this.lanes.set(socket, lane);
    // A reset of the connection ends in "close" as well, which is all that matters here.
    socket.on("error", () => socket.destroy());
    socket.once("close", () => {
      this.lanes.delete(socket);
      this.idle.delete(socket);
      for (const done of lane.open.values()) done();
    });
  }

  /** Ends the connection that has been idle for longest. @returns false if none is idle */
  private giveWay(): boolean {
    const [longest] = this.idle;
    if (longest === undefined) return false;
    this.lanes.delete(longest);
    this.idle.delete(longest);
    longest.destroy();
    return true;
  }

  /** Runs `answer` when those before it on the connection are done: one buffer per connection, however many are sent. */
  async run(socket: Socket, response: ServerResponse, answer: () => Promise<void>): Promise<void> {
    const lane = this.lanes.get(socket);
    if (lane === undefined && socket.writableEnded) return; // turned away: its answer is on its way
    if (lane === undefined || lane.open.size >= PIPELINED) {
      socket.destroy();
      return;
    }
    this.idle.delete(socket);
    const before = lane.open.size > 0 ? lane.tail : undefined;
    lane.tail = this.untilDone(socket, lane, response);
    // Not even a tick is waited if nothing is before: a refusal is out before what follows it can fail to parse.
    if (before !== undefined) await before;
    if (socket.destroyed) return;
    if (this.closing) response.shouldKeepAlive = false;
    await answer();
  }

  private untilDone(socket: Socket, lane: Lane, response: ServerResponse): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        lane.open.delete(response);
        if (lane.open.size === 0 && !socket.destroyed) this.idle.add(socket);
        if (this.closing && lane.open.size === 0) socket.destroySoon();
        resolve();
      };
      lane.open.set(response, done);
      response.once("close", done);
      // Writing to a client that is gone is an error event too; "close" has told already.
      response.on("error", done);
    });
  }

  /** Says why to a client whose bytes are no request; never into the middle of an answer. */
  refuseBroken(error: Error, socket: Duplex): void {
    const lane = this.lanes.get(socket);
    if (lane?.refused === true) return;
    const unfinished = [...(lane?.open.keys() ?? [])].some((response) => !response.writableEnded);
    if (lane === undefined || unfinished || !socket.writable || systemCode(error) === "ECONNRESET") {
      socket.destroy();
      return;
    }
    lane.refused = true;
    // Answers that are whole, but perhaps not yet sent, are all that the client gets then.
    socket.end(lane.open.size > 0 ? "" : brokenAnswer(systemCode(error)));
    // Closing at once, with bytes still coming in, would take the answer back.
    const linger = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(linger));
  }

  /** Ends idle connections now, busy ones after their answers, all after `graceMs`. */
  end(graceMs: number): NodeJS.Timeout {
    this.closing = true;
    for (const [socket, lane] of this.lanes) if (lane.open.size === 0) socket.destroy();
    return setTimeout(() => {
      for (const [socket, lane] of this.lanes) {
        if (lane.open.size > 0) this.cutCount += 1;
        socket.destroy();
      }
    }, graceMs);
  }
}

/** Says that all places are taken, to a client that may not have asked yet. */
function turnAway(socket: Socket): void {
  socket.on("error", () => socket.destroy());
  socket.end(rawRefusal(refuseBusy(), "Service Unavailable"));
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(linger));
}

function brokenAnswer(code: string | undefined): string {
  if (code === "HPE_HEADER_OVERFLOW") {
    return rawRefusal(refuse("HEADERS_TOO_LARGE"), "Request Header Fields Too Large");
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return rawRefusal(refuse("REQUEST_TIMEOUT"), "Request Timeout");
  return rawRefusal(refuse("BAD_REQUEST"), "Bad Request");
}
