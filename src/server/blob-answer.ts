// SPDX-License-Identifier: Apache-2.0
/**
 * A blob's bytes. Given out only while some name that is trusted now holds the blob, and only bytes that were hashed:
 * a damaged first chunk is an error answer, a damaged later one ends the connection before the announced length, and so
 * does a revocation. No client ever sees a complete download of bytes that it must not have.
 * Layer: server. Source: RFC 9110 sections 8.6, 13 and 14. Holds invariant 6.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Digest } from "../base/digest.ts";
import { LIMITS } from "../base/limits.ts";
import type { ManifestFile, Serving, SharedBlob } from "../repo/serving.ts";
import { COMMON_HEADERS, sendRefusal } from "./answer.ts";
import { type ByteSpan, chooseRange, entityTag, ifMatchHolds, ifNoneMatchHits, ifRangeHolds } from "./conditions.ts";
import type { Download, Downloads } from "./downloads.ts";
import { refuse, refuseBusy } from "./refusal.ts";
import { writeBytes } from "./write-bytes.ts";

/**
 * Answers and returns when the last byte was handed to the socket, or the client is gone.
 * @throws CofferError CORRUPT, IO_ERROR …; if headers were sent by then, the caller must end the connection
 */
export async function answerBlob(
  serving: Serving,
  downloads: Downloads,
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
  const download = downloads.begin(blob, response);
  if (download === undefined) return sendRefusal(response, refuseBusy());
  try {
    await sendFile(serving, downloads, request, download, file, range);
  } catch (error) {
    if (!download.cut) throw error;
  } finally {
    downloads.end(download);
  }
}

function text(field: string | string[] | undefined): string | undefined {
  return Array.isArray(field) ? field.join(", ") : field;
}

async function sendFile(
  serving: Serving,
  downloads: Downloads,
  request: IncomingMessage,
  download: Download,
  file: ManifestFile,
  range: ByteSpan | "whole",
): Promise<void> {
  const { response } = download;
  const span = range === "whole" ? { start: 0, end: file.size } : range;
  const blob = await serving.openFile(file);
  try {
    // The first chunk is verified before the status is chosen, for HEAD too: both say the same.
    const first = await blob.read(span.start, download.buffer);
    if (response.destroyed) return;
    response.writeHead(range === "whole" ? 200 : 206, spanHeaders(file, range, span));
    if (request.method === "GET" && !(await sendSpan(serving, downloads, download, blob, span, first))) {
      response.destroy();
      return;
    }
    response.end();
  } finally {
    await blob.close();
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

/**
 * @param first - bytes from the span's start that are in the download's buffer already
 * @returns false if the client is gone, or no trusted name holds the blob any more
 */
async function sendSpan(
  serving: Serving,
  downloads: Downloads,
  download: Download,
  blob: SharedBlob,
  { start, end }: ByteSpan,
  first: number,
): Promise<boolean> {
  const { buffer, response } = download;
  let ready = first;
  for (let position = start; position < end; ) {
    const length = Math.min(ready, end - position);
    if (!(await writeBytes(response, buffer.subarray(0, length)))) return false;
    position += length;
    if (position === end) break;
    if (position % LIMITS.chunkBytes === 0 && !(await stillTrusted(serving, download.blob))) return false;
    await downloads.turn();
    ready = await blob.read(position, buffer);
  }
  return true;
}

/** Asks at the newest head; where nothing changed, two caches answer. */
async function stillTrusted(serving: Serving, blob: Digest): Promise<boolean> {
  return (await serving.trustedFile(await serving.head(), blob)) !== undefined;
}
