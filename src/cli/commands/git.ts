// SPDX-License-Identifier: Apache-2.0
/** `git export`: what stock git and git-lfs see of a store. Layer: cli. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { EXIT } from "../../base/errors.ts";
import { exportGit } from "../../repo/git-export.ts";
import { GIT_FOLDER } from "../../repo/git-files.ts";
import { type Context, open } from "../context.ts";
import { counted } from "../format.ts";

export async function runGitExport(context: Context): Promise<number> {
  const { ui } = context;
  const store = await open(context);
  const done = await exportGit(store);
  const { entry, trusted, revoked, objects, copied, removed, damaged } = done;
  for (const { name, error } of damaged) ui.warn(`${name} has no branch: ${error.message} [${error.code}]`);
  ui.json({
    ...{ entry, trusted, revoked, objects, copied, removed },
    damaged: damaged.map(({ name, error }) => ({ name, code: error.code, message: error.message })),
  });
  ui.data(`branches: ${trusted} trusted, ${revoked} revoked, as of log entry ${entry}`);
  ui.data(`new: ${counted(objects, "object")}, ${counted(copied, "file")} for git-lfs; removed: ${removed}`);
  // HEAD of the projection names no branch, so that a clone has to. Without any there is nothing to clone.
  const url = pathToFileURL(join(store.root, GIT_FOLDER)).href;
  if (done.branch !== undefined) ui.next(`git clone --branch ${done.branch} ${url}`);
  return damaged.length > 0 ? EXIT.corrupt : EXIT.ok;
}
