// SPDX-License-Identifier: Apache-2.0
/** The Files port on real folders, for edges to hand in. Layer: repo. */
export { openRealFiles } from "../objects/real-files.ts";
