import { describe, expect, test } from "bun:test";
import type { SnapshotInfo } from "../../../src/snapshot/contract.ts";
import { parseFilters } from "../../../src/snapshot/filter.ts";

function info(name: string, fields: Partial<SnapshotInfo> = {}): SnapshotInfo {
  const times = { createdNs: 0n, updatedNs: 0n };
  return { id: 1, name, parent: "", kind: "committed", labels: new Map(), ...times, ...fields };
}

const labelled = (name: string, ...labels: [string, string][]) =>
  info(name, { labels: new Map(labels) });

const corpus = [
  labelled("apple", ["ripe", "true"]),
  info("pear", { parent: "too complex, yo" }),
  labelled("apple 2", ["ripe", "present"], ["a longer label", "present"]),
  labelled("plum", ["tree", "true"]),
  labelled("quote", ['with \\ and "', "present"]),
  labelled("quote.post", ['with \\ and ".post', "present"]),
  labelled("dots", ["ripe", "omg_asdf.asdf-qwer"]),
  info("active", { kind: "active", parent: "abc" }),
  labelled("牛", ["containerd.io/snapshot.ref", "sha256:1"], ["__proto__", "own"]),
];

function names(...filters: string[]): string[] {
  const filter = parseFilters(filters);
  return corpus.filter((one) => filter.matches(one)).map((one) => one.name);
}

const all = corpus.map((one) => one.name);

describe("parseFilters()", () => {
  test("matches everything without a filter and with an empty one", () => {
    expect(names()).toEqual(all);
    expect(names("")).toEqual(all);
  });

  test.each([
    ["a field alone asks for its presence", "labels.ripe", ["apple", "apple 2", "dots"]],
    ["name, parent and kind are always present", "name,parent,kind", all],
    ["an unknown field never is", "size", []],
    ["selectors must all match", "labels.ripe==true,name==apple", ["apple"]],
    ["a value may hold punctuation", "labels.ripe==omg_asdf.asdf-qwer", ["dots"]],
    ["a value may be quoted", 'parent=="too complex, yo"', ["pear"]],
    ["equality needs the field", 'labels.none==""', []],
    ["a key may be quoted", 'labels."a longer label"', ["apple 2"]],
    ["quotes and backslashes are escaped", 'labels."with \\\\ and \\""==present', ["quote"]],
    ["parts of a key join by dots", 'labels."with \\\\ and \\"".post==present', ["quote.post"]],
    ["keys with dots and slashes", 'labels."containerd.io/snapshot.ref"==sha256:1', ["牛"]],
    ["a key of an object's prototype", "labels.__proto__==own", ["牛"]],
    ["the kind has a name", "kind==active", ["active"]],
    ["any letter in a value", "name==牛", ["牛"]],
    ["a pattern, unquoted", "parent~=[abc]+$", ["active"]],
    ["a pattern between slashes", "name~=/^p[el].*/,name!=pear", ["plum"]],
    ["a pattern with a comma needs quotes", "name~=/^p{1,2}/", ["pear", "plum"]],
    ["a pattern between bars holds slashes", "labels.x~=|a/b|", []],
    ["a slash in slashes is escaped", 'name~=/[abc]{0,1}"\\//', []],
    ["an escape for a character", 'name=="\\u725b"', ["牛"]],
    ["spaces before an operator and a value", "name == plum", ["plum"]],
  ])("%s", (_story, filter, expected) => {
    expect(names(filter)).toEqual(expected);
  });

  test("takes a missing field for an empty one in != and ~=", () => {
    expect(names("labels.ripe!=true")).toEqual(all.filter((name) => name !== "apple"));
    expect(names("labels.none~=^$")).toEqual(all);
  });

  test("matches nothing with a pattern that does not compile", () => {
    expect(names("name~=/(/")).toEqual([]);
  });

  test("needs one of several filters only", () => {
    expect(names("name==plum", "kind==active,parent==abc")).toEqual(["plum", "active"]);
  });

  test.each([
    ["labels.|ripe|==x", "[labels. >|||< ripe|==x]: invalid quote encountered"],
    ["labels.?ripe", "[labels. >|?|< ripe]: expected field or quoted"],
    ["name==foo,", "[name==foo,]: expected field or quoted"],
    ["labels.", "[labels.]: expected field or quoted"],
    ["name~=,id?=?fbaq", "[name~= >|,|< id?=?fbaq]: expected value or quoted"],
    ["labels.ns/key==value", "[labels.ns >|/|< key==value]: quoted literal not terminated"],
    ["labels.key==/value", "[labels.key== >|/|< value]: quoted literal not terminated"],
    ['labels."a\nb"', "quoted literal not terminated"],
    ['labels."\\g"', "illegal escape sequence"],
    ['labels."\\xaz"', "illegal numeric escape sequence"],
    ['labels."\\777"', "unquoting failed: quote syntax error"],
    ["name===foo", 'unsupported operator "==="'],
    ["name==", "[name==]: expected value or quoted"],
    ["name=foo", 'unsupported operator "="'],
    ["name==a b", "unexpected input:  "],
    ["na\0me", "unexpected null"],
    ["name==\uFFFD", "rune error"],
    ["name foo", 'expected an operator ("=="|"!="|"~=")'],
  ])("rejects %j and says where", (filter, problem) => {
    expect(() => parseFilters([filter])).toThrow(
      expect.objectContaining({
        code: "invalid_argument",
        message: expect.stringContaining(problem),
      }),
    );
  });

  test("limits number and length", () => {
    expect(() => parseFilters(Array.from({ length: 1025 }, () => "name"))).toThrow("1024");
    expect(() => parseFilters([`name==${"x".repeat(70_000)}`])).toThrow("longer");
  });

  test("offers a name or parent that an index can find, if there is one filter", () => {
    expect(parseFilters(['labels.x==1,parent=="p"']).narrow).toEqual({
      field: "parent",
      value: "p",
    });
    expect(parseFilters(["name!=a"]).narrow).toBeUndefined();
    expect(parseFilters(["name==a", "name==b"]).narrow).toBeUndefined();
  });
});
