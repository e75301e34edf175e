// SPDX-License-Identifier: Apache-2.0
/** The version of this program, as evidence and `--version` name it; a test compares it with package.json. Layer: repo. */
export const TOOL_VERSION = "0.1.0";
