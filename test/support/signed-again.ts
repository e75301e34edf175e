// SPDX-License-Identifier: Apache-2.0
/**
 * A denial that does not reach a name until a second person has signed the very same document elsewhere: no ref moves then
 * but that of who has signed. Layer: test support.
 */
import { parseName } from "../../src/base/names.ts";
import { pull } from "../../src/repo/pull.ts";
import { revoke } from "../../src/repo/revoke.ts";
import { ruleFor } from "./store-fixture.ts";
import { type Member, makeTeam, model, type Team } from "./team-stores.ts";

export const DENIALS = ["refusal", "revocation"] as const;

/** Trusted at `a` until `second`. */
export const REACHED = "other/tiny@v1";

const RULES = [
  ruleFor("acme/*@*", { revokers: { principals: ["alice", "carol"], threshold: 1 } }),
  ruleFor("other/*@*", {
    approvers: { principals: ["alice", "bob"], threshold: 1 },
    revokers: { principals: ["alice", "carol"], threshold: 2 },
  }),
];

export interface SignedAgain {
  readonly team: Team;
  readonly a: Member;
  /** Brings the second signature to `a`. */
  second(): Promise<void>;
}

export async function signedAgain(
  ending: Parameters<typeof makeTeam>[0],
  denial: (typeof DENIALS)[number],
): Promise<SignedAgain> {
  const team = makeTeam(ending, RULES);
  const [a, b] = [await team.store("a"), await team.store("b")];
  const twin = "acme/tiny@v1";
  for (const name of [twin, REACHED]) await a.trust(name, model(1));
  await pull(b.store, a.location.root);
  const deny = async (at: Member, by: "alice" | "bob" | "carol"): Promise<void> => {
    if (denial === "refusal") await at.reject(REACHED, by);
    else await revoke(at.store, { name: parseName(twin), also: [], reason: "leaks" }, team.people[by]);
  };
  await deny(a, denial === "refusal" ? "bob" : "carol");
  await deny(b, "alice");
  const second = async (): Promise<void> => void (await pull(a.store, b.location.root));
  return { team, a, second };
}
