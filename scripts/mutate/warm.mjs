// SPDX-License-Identifier: Apache-2.0
/**
 * One process for all mutants: runs the cases of evaluate.json under each number of argv and prints the numbers that
 * they catch. `node warm.mjs OUT NUMBER…`, with OUT the compiled, instrumented tree. A mutant in code that runs when a
 * module is loaded is asleep here; what this does not catch gets processes of its own.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [out, ...numbers] = process.argv.slice(2);
const module = pathToFileURL(join(out, "test", "support", "evaluate-cases.js")).href;
const { checkCase, evaluateCases } = await import(module);

function catches(number) {
  globalThis.cofferMutant = number;
  try {
    for (const one of evaluateCases) checkCase(one);
    return false;
  } catch {
    // Whatever it is, an assertion or a TypeError of the mutant: the case does not pass.
    return true;
  } finally {
    globalThis.cofferMutant = 0;
  }
}

if (catches(0)) throw new Error("the cases do not pass without a mutant");
process.stdout.write(JSON.stringify(numbers.map(Number).filter(catches)));
