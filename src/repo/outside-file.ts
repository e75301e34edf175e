// SPDX-License-Identifier: Apache-2.0
/**
 * A small file outside the store, as on a stick: whole and durable, or not there. Layer: repo. The folder need not know links.
 */
import { basename, dirname } from "node:path";
import { CofferError } from "../base/errors.ts";
import { tempName } from "../objects/layout.ts";
import { discard, writeTemp } from "../refs/temp-file.ts";
import type { Ports } from "./ports.ts";

/**
 * @param path - absolute
 * @param replace - takes the place of what is there
 * @throws CofferError EXISTS, NO_SPACE, READ_ONLY, IO_ERROR
 */
export async function writeOutside(
  { openFolder, random }: Pick<Ports, "openFolder" | "random">,
  path: string,
  bytes: Uint8Array,
  replace: boolean,
): Promise<void> {
  const [files, name] = [openFolder(dirname(path)), basename(path)];
  if (!replace && (await files.stat(name)) !== undefined) {
    throw new CofferError("EXISTS", `${name}: expected a file that is not there yet`);
  }
  const temp = `.${name}.${tempName(files.writer, random)}`;
  await writeTemp(files, temp, bytes, 0o644);
  try {
    await files.rename(temp, name);
  } catch (error) {
    await discard(files, temp);
    throw error;
  }
  await files.fsyncFolder(".");
}
