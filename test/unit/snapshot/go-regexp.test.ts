import { describe, expect, test } from "bun:test";
import { compileGoRegexp } from "../../../src/snapshot/go-regexp.ts";

describe("compileGoRegexp()", () => {
  test.each([
    ["abc", "xabcx", true],
    ["^a.c$", "a\nc", false],
    ["(?s)^a.c$", "a\nc", true],
    ["(?s:a.)c", "a\nc", true],
    ["a.c", "a\rc", true],
    ["(?i)ABC", "abc", true],
    ["(?i:A)b", "ab", true],
    ["(?m)^b$", "a\nb", true],
    ["(?m)^b$", "a\rb", false],
    ["^a(?i)b|C$", "c", true],
    ["^a(?i)b", "AB", false],
    ["^(?:(?i)a)b$", "AB", false],
    ["(?i)^(?-i:a)[b]$", "aB", true],
    ["$*^+\\b?x", "x", true],
    ["^\\101\\0?$", "A", true],
    ["\\Ab", "a\nb", false],
    ["(?m)\\Ab", "a\nb", false],
    ["a\\z", "a\n", false],
    ["\\Qa.b\\E+", "a.bb", true],
    ["\\Qa.b", "axb", false],
    ["[[:alpha:]]+[^[:digit:]]", "ab", true],
    ["^[]a]+$", "a]", true],
    ["^[[]$", "[", true],
    ["a{,2}", "a{,2}", true],
    ["^a{1,2}$", "aa", true],
    ["x}", "x}", true],
    ["^\\s$", "\u00A0", false],
    ["^[\\s]$", "\t", true],
    ["^\\S$", "\u00A0", true],
    ["(?P<year>\\d{4})", "in 2024", true],
    ["^\\pL\\p{Greek}\\P{Lu}$", "aλb", true],
    ["^\\x{1F600}$", "😀", true],
    ["^.$", "😀", true],
    ["a\\-b\\_c\\/", "a-b_c/", true],
    ["sha256:[0-9a-f-]+", "sha256:0f", true],
    ["\\x41\\a?", "A", true],
  ])("%j on %j: %p", (pattern, text, expected) => {
    expect(compileGoRegexp(pattern)?.test(text)).toBe(expected);
  });

  test.each(["(", "a**", "(?=a)", "(?<!a)b", "(a)\\1", "[a", "[[:none:]]", "\\y", "\\x{}"])(
    "refuses %j",
    (pattern) => {
      expect(compileGoRegexp(pattern)).toBeUndefined();
    },
  );
});
