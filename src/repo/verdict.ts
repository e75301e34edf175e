// SPDX-License-Identifier: Apache-2.0
/** The verdict as the edges see it. Layer: repo. */
export type { Verdict } from "../trust/verdict.ts";
