// SPDX-License-Identifier: Apache-2.0
/** Requests of the demo: made by Node's fetch, shown as the curl command that does the same. */
import { createHash } from "node:crypto";

/**
 * Downloads as a client would, hashing as the bytes come; nothing is kept.
 *
 * @returns status, size in bytes, SHA-256 in hex, whether the body came whole, and its text if it is small
 */
async function download(url) {
  const hash = createHash("sha256");
  const start = [];
  let size = 0;
  let whole = true;
  const response = await fetch(url, { redirect: "error" });
  try {
    for await (const chunk of response.body ?? []) {
      hash.update(chunk);
      size += chunk.length;
      if (size < 65_536) start.push(chunk);
    }
  } catch (error) {
    // A server that notices damage on the way cuts the connection: the status line has long been sent by then.
    if (!(error instanceof TypeError)) throw error;
    whole = false;
  }
  return { status: response.status, size, sha256: hash.digest("hex"), whole, text: Buffer.concat(start).toString() };
}

/** Characters of an answer that are shown. */
const SHOWN = 240;

/** A JSON answer, of which the beginning is shown. */
export async function getJson(stage, url) {
  stage.print(`$ curl -s -w '%{http_code}\\n' ${url}`);
  const answer = await download(url);
  const text = answer.text.trimEnd();
  const more = text.length > SHOWN ? `… (${text.length - SHOWN} more characters)` : "";
  stage.print(`${text.slice(0, SHOWN)}${more}\n${answer.status}`);
  return answer;
}

/** A blob, of which only the SHA-256 is shown. */
export async function getBlob(stage, url) {
  stage.print(`$ curl -s ${url} | sha256sum`);
  const answer = await download(url);
  stage.print(`${answer.sha256}  -`);
  return answer;
}
