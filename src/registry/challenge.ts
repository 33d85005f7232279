/**
 * What a registry wants to be shown: the header `WWW-Authenticate` (RFC 9110, section 11.6.1).
 *
 * Several challenges may stand in one header, and several headers arrive as one, joined by commas;
 * so a name in front of a blank begins a challenge, a name in front of `=` is a parameter.
 *
 * @module
 */

export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case; quotes and escapes removed. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** The servers' headers are a few hundred bytes long. */
const headerLengthMax = 8192;

const separators = /[\s,]*/y;
const parameter = /([\w!#$%&'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)(?!"))/y;
const scheme = /([\w!#$%&'*+.^`|~-]+)(?=\s|,|$)/y;

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** The challenges of a header, up to the first thing that is none. */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, headerLengthMax);
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  for (;;) {
    at += matchAt(separators, text, at)?.[0].length ?? 0;
    const found = matchAt(parameter, text, at);
    if (found !== null) {
      const value = found[2]?.replaceAll(/\\(.)/gs, "$1") ?? found[3] ?? "";
      challenges.at(-1)?.parameters.set((found[1] ?? "").toLowerCase(), value);
      at += found[0].length;
      continue;
    }
    const name = matchAt(scheme, text, at);
    if (name === null) return challenges;
    challenges.push({ scheme: (name[1] ?? "").toLowerCase(), parameters: new Map() });
    at += name[0].length;
  }
}
