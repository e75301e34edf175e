// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run bench -- <name…> [--quick]`: builds, then runs the benches of bench/ one after the other. What a bench is
 * stands in bench/support/harness.ts. Exits with 1 when a gate fails or a program to compare with is missing.
 */
import { ROOT, runNode } from "./lib.mjs";

const built = runNode(["scripts/build.mjs"], { cwd: ROOT });
process.exitCode = built === 0 ? runNode(["--import", "tsx", "bench/main.ts", ...process.argv.slice(2)]) : built;
