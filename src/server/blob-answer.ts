// SPDX-License-Identifier: Apache-2.0
/**
 * A blob's bytes. Given out only while some name that is trusted now holds the blob, and only bytes that were hashed:
 * a damaged first chunk is an error answer, a damaged later one ends the connection before the announced length, and so
 * does a revocation. No client ever sees a complete download of bytes that it must not have.
 * Layer: server. Source: RFC 9110 sections 8.6, 13 and 14. Holds invariant 6.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Digest } from "../base/digest.ts";
import type { BlobReader, ManifestFile, Serving } from "../repo/serving.ts";
import { COMMON_HEADERS, sendRefusal } from "./answer.ts";
import { type ByteSpan, chooseRange, entityTag, ifMatchHolds, ifNoneMatchHits, ifRangeHolds } from "./conditions.ts";
import { refuse } from "./refusal.ts";

/** Handed to the socket at once: what may still go out between a revocation and the cut, beside kernel buffers. */
const WRITE_BYTES = 1024 * 1024;
/** A slow client's download asks again whether it may go on after this long, within a chunk too. */
const ASK_AGAIN_MS = 250;

/**
 * Answers and returns when the last byte was handed to the socket, or the client is gone.
 * @throws CofferError CORRUPT, IO_ERROR …; if headers were sent by then, the caller must end the connection
 */
export async function answerBlob(
  serving: Serving,
  request: IncomingMessage,
  response: ServerResponse,
  blob: Digest,
): Promise<void> {
  const file = await serving.trustedFile(await serving.head(), blob);
  if (file === undefined) return sendRefusal(response, refuse("NOT_FOUND"));
  const { headers, method } = request;
  if (!ifMatchHolds(headers["if-match"], blob)) return sendRefusal(response, refuse("PRECONDITION_FAILED"));
  if (ifNoneMatchHits(headers["if-none-match"], blob)) {
    response.writeHead(304, { ...COMMON_HEADERS, ETag: entityTag(blob) });
    response.end();
    return;
  }
  // Range is defined for GET alone, and heeded only if the client's part is of these bytes.
  const heeded = method === "GET" && ifRangeHolds(text(headers["if-range"]), blob);
  const range = heeded ? chooseRange(headers.range, file.size) : "whole";
  if (range === "unsatisfiable") {
    const size = { "Content-Range": `bytes */${file.size}` };
    return sendRefusal(response, refuse("RANGE_UNSATISFIABLE", undefined, size));
  }
  const reader = await serving.openFile(file);
  try {
    await sendSpan(serving, request, response, file, reader, range);
  } finally {
    await reader.close();
  }
}

function text(field: string | string[] | undefined): string | undefined {
  return Array.isArray(field) ? field.join(", ") : field;
}

async function sendSpan(
  serving: Serving,
  request: IncomingMessage,
  response: ServerResponse,
  file: ManifestFile,
  reader: BlobReader,
  range: ByteSpan | "whole",
): Promise<void> {
  const span = range === "whole" ? { start: 0, end: file.size } : range;
  const chunks = reader.stream(span.start, span.end);
  try {
    // The first chunk is hashed before the status is chosen, for HEAD too: both say the same.
    const first = await chunks.next();
    response.writeHead(range === "whole" ? 200 : 206, spanHeaders(file, range, span));
    if (request.method === "GET" && !(await sendChunks(serving, response, file.sha256, first, chunks))) {
      response.destroy();
      return;
    }
    response.end();
  } finally {
    await chunks.return(undefined);
  }
}

function spanHeaders(file: ManifestFile, range: ByteSpan | "whole", { start, end }: ByteSpan) {
  return {
    ...COMMON_HEADERS,
    "Accept-Ranges": "bytes",
    "Content-Type": "application/octet-stream",
    "Content-Length": end - start,
    ETag: entityTag(file.sha256),
    ...(range === "whole" ? {} : { "Content-Range": `bytes ${start}-${end - 1}/${file.size}` }),
  };
}

/** @returns false if the client is gone, or no trusted name holds the blob any more */
async function sendChunks(
  serving: Serving,
  response: ServerResponse,
  blob: Digest,
  first: IteratorResult<Uint8Array>,
  chunks: AsyncGenerator<Uint8Array>,
): Promise<boolean> {
  for (let step = first; step.done !== true; step = await chunks.next()) {
    let askedMs = Number.NEGATIVE_INFINITY;
    for (let at = 0; at < step.value.length; at += WRITE_BYTES) {
      if (performance.now() - askedMs >= ASK_AGAIN_MS) {
        if (!(await stillTrusted(serving, blob))) return false;
        askedMs = performance.now();
      }
      if (!(await write(response, step.value.subarray(at, at + WRITE_BYTES)))) return false;
    }
  }
  return true;
}

/** Asks at the newest head; where nothing changed, two caches answer. */
async function stillTrusted(serving: Serving, blob: Digest): Promise<boolean> {
  return (await serving.trustedFile(await serving.head(), blob)) !== undefined;
}

/** Resolves when the bytes may be overwritten: true, or false once the client is gone. */
function write(response: ServerResponse, bytes: Uint8Array): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const gone = (): void => resolve(false);
    response.once("close", gone);
    response.write(bytes, (error) => {
      response.off("close", gone);
      resolve(error === undefined || error === null);
    });
  });
}
