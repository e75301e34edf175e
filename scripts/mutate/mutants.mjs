// SPDX-License-Identifier: Apache-2.0
/**
 * Small wrong versions of a TypeScript source: each condition turned, bound moved, literal flipped, filter opened or
 * closed, statement or spread left out. All of them stand in one instrumented text, where a number chooses one.
 * Reads the tree through the API of the pinned TypeScript 7, which is marked unstable: only kinds, positions and a few
 * children are used.
 */
import { SyntaxKind } from "typescript/unstable/ast";
import { API } from "typescript/unstable/sync";

/** The variable that chooses: 0 or undefined is the code as it stands. */
export const SWITCH = "globalThis.cofferMutant";

const TURNED = new Map([
  [SyntaxKind.EqualsEqualsEqualsToken, ["!=="]],
  [SyntaxKind.ExclamationEqualsEqualsToken, ["==="]],
  [SyntaxKind.LessThanToken, ["<=", ">="]],
  [SyntaxKind.LessThanEqualsToken, ["<", ">"]],
  [SyntaxKind.GreaterThanToken, [">=", "<="]],
  [SyntaxKind.GreaterThanEqualsToken, [">", "<"]],
  [SyntaxKind.AmpersandAmpersandToken, ["||"]],
  [SyntaxKind.BarBarToken, ["&&"]],
  [SyntaxKind.PlusToken, ["-"]],
  [SyntaxKind.MinusToken, ["+"]],
  [SyntaxKind.AsteriskToken, ["/"]],
]);
const SWAPPED = new Map([
  ["some", "every"],
  ["every", "some"],
  ["min", "max"],
  ["max", "min"],
]);
const YES_OR_NO = new Set(["some", "every", "has", "includes", "matches", "isFinite", "meets", "reaches"]);
const PICKING = new Set(["filter", "find", "findIndex"]);
const COMPARISONS = new Set([...TURNED.keys()].slice(0, 6));

/** @typedef {{file: string, inside: string, from: string, to: string, nth: number, line: number}} Mutant */

/**
 * @param {string} root - the project, with a tsconfig.json that covers `files`
 * @param {string[]} files - absolute paths
 * @returns {{mutants: Mutant[], texts: Map<string, string>}} mutant `i` is chosen by the number `i + 1`
 */
export function instrument(root, files) {
  const api = new API({ cwd: root });
  try {
    const [project] = api.updateSnapshot({ openProjects: [`${root}/tsconfig.json`] }).getProjects();
    const mutants = [];
    const texts = new Map();
    for (const file of files) {
      const source = project.program.getSourceFile(file);
      if (source === undefined) throw new Error(`${file}: not in the project`);
      texts.set(file, new Instrumenter(source, file.slice(root.length + 1), mutants).text());
    }
    return { mutants: numberEqualOnes(mutants), texts };
  } finally {
    api.close();
  }
}

/** Equal changes within one function are told apart by their order. */
function numberEqualOnes(mutants) {
  const seen = new Map();
  return mutants.map((mutant) => {
    const key = JSON.stringify([mutant.file, mutant.inside, mutant.from, mutant.to]);
    const nth = (seen.get(key) ?? 0) + 1;
    seen.set(key, nth);
    return { ...mutant, nth };
  });
}

class Instrumenter {
  #source;
  #file;
  #mutants;

  constructor(source, file, mutants) {
    this.#source = source;
    this.#file = file;
    this.#mutants = mutants;
  }

  text() {
    return this.#walk(this.#source, "");
  }

  #raw(node) {
    return this.#source.text.slice(node.getStart(this.#source), node.end);
  }

  /** The text of `node` with its leading blanks, each part in it that has mutants replaced by a choice. */
  #walk(node, inside) {
    const within = nameOf(node) ?? inside;
    const start = node.kind === SyntaxKind.SourceFile ? 0 : node.getStart(this.#source);
    let text = "";
    let at = start;
    node.forEachChild((child) => {
      // Decorations of an identifier node and the like may lie before it; children come in the order of the text.
      const from = child.getStart(this.#source);
      text += this.#source.text.slice(at, from) + this.#walk(child, within);
      at = child.end;
    });
    text += this.#source.text.slice(at, node.end);
    return this.#choose(node, within, text);
  }

  #choose(node, inside, text) {
    if (isType(node)) return text;
    const changes = changesOf(node, (part) => this.#raw(part));
    if (changes.length === 0) return text;
    const from = this.#raw(node);
    const line = this.#source.text.slice(0, node.getStart(this.#source)).split("\n").length;
    const arms = changes.map(({ to, code = to }) => {
      this.#mutants.push({ file: this.#file, inside, from: oneLine(from), to: oneLine(to), line });
      return { number: this.#mutants.length, code };
    });
    if (isStatement(node)) {
      const [{ number }] = arms;
      return `if (${SWITCH} !== ${number}) { ${text} }`;
    }
    if (node.kind === SyntaxKind.SpreadElement || node.kind === SyntaxKind.SpreadAssignment) {
      const [{ number, code }] = arms;
      return `...(${SWITCH} === ${number} ? ${code} : (${text.slice(3)}))`;
    }
    const choice = arms.map(({ number, code }) => `${SWITCH} === ${number} ? (${code}) : `).join("");
    return `(${choice}(${text}))`;
  }
}

const oneLine = (text) => text.replace(/\s+/gu, " ");

function nameOf(node) {
  if (node.kind === SyntaxKind.FunctionDeclaration || node.kind === SyntaxKind.MethodDeclaration) return node.name.text;
  return undefined;
}

function isStatement(node) {
  return node.kind === SyntaxKind.ExpressionStatement || node.kind === SyntaxKind.ContinueStatement;
}

/** `true` in a type, and whatever else is erased. */
function isType(node) {
  for (let at = node; at !== undefined; at = at.parent) {
    if (at.kind === SyntaxKind.LiteralType || at.kind === SyntaxKind.TypeReference) return true;
    if (at.kind === SyntaxKind.InterfaceDeclaration || at.kind === SyntaxKind.ImportDeclaration) return true;
  }
  return false;
}

/** What `node` might wrongly be. `raw` gives the text of a part. */
function changesOf(node, raw) {
  switch (node.kind) {
    case SyntaxKind.BinaryExpression:
      return [...binary(node, raw), ...(asksAndIsNot(node) ? [{ to: `!(${raw(node)})` }] : [])];
    case SyntaxKind.PrefixUnaryExpression:
      return node.operator === SyntaxKind.ExclamationToken ? [{ to: raw(node.operand) }] : [];
    case SyntaxKind.CallExpression:
      return call(node, raw);
    case SyntaxKind.TrueKeyword:
      return [{ to: "false" }];
    case SyntaxKind.FalseKeyword:
      return [{ to: "true" }];
    case SyntaxKind.NumericLiteral:
      // Only the sign of what a comparator gives counts.
      if (isInComparator(node)) return [];
      return [{ to: `${raw(node)} + 1` }];
    case SyntaxKind.SpreadElement:
      return node.parent.kind === SyntaxKind.ArrayLiteralExpression ? [{ to: "no spread", code: "[]" }] : [];
    case SyntaxKind.SpreadAssignment:
      return [{ to: "no spread", code: "{}" }];
    case SyntaxKind.ContinueStatement:
    case SyntaxKind.ExpressionStatement:
      return [{ to: "nothing" }];
    default:
      return isCondition(node) ? [{ to: `!(${raw(node)})` }] : [];
  }
}

function isInComparator(node) {
  for (let at = node; at.parent !== undefined; at = at.parent) {
    const { parent } = at;
    if (parent.kind === SyntaxKind.CallExpression && parent.expression.name?.text === "sort") return true;
  }
  return false;
}

function binary(node, raw) {
  const operator = node.operatorToken.kind;
  if (operator === SyntaxKind.QuestionQuestionToken) return [{ to: raw(node.left) }];
  const [left, right] = [raw(node.left), raw(node.right)];
  return (TURNED.get(operator) ?? []).map((other) => ({ to: `${left} ${other} ${right}` }));
}

/** A condition whose opposite no turned operator gives: `a && b`, but not `a === b`. */
function asksAndIsNot(node) {
  return isCondition(node) && !COMPARISONS.has(node.operatorToken.kind);
}

function isCondition(node) {
  const { parent } = node;
  if (parent === undefined) return false;
  if (parent.kind === SyntaxKind.ConditionalExpression) return parent.condition === node;
  return parent.kind === SyntaxKind.IfStatement && parent.expression === node;
}

function call(node, raw) {
  const { expression: callee } = node;
  const isMember = callee.kind === SyntaxKind.PropertyAccessExpression;
  const name = (isMember ? callee.name : callee).text;
  const changes = [];
  const [argument] = node.arguments;
  const swapped = isMember ? SWAPPED.get(name) : undefined;
  const before = isMember ? raw(node).slice(0, raw(callee).length - name.length) : "";
  const after = raw(node).slice(raw(callee).length);
  if (swapped !== undefined) changes.push({ to: `${before}${swapped}${after}` });
  if (YES_OR_NO.has(name) || isCondition(node)) changes.push({ to: `!${raw(node)}` });
  if (isMember && PICKING.has(name) && argument !== undefined) {
    for (const answer of ["true", "false"]) changes.push({ to: `${before}${name}(() => ${answer})` });
  }
  return changes;
}
