import { describe, expect, test } from "bun:test";
import lock from "../../../package-lock.json" with { type: "json" };

interface LockedPackage {
  readonly version?: string;
  readonly optional?: boolean;
  readonly engines?: { readonly node?: string };
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const packages: Readonly<Record<string, LockedPackage>> = lock.packages;

/** The Node.js of Debian 12. */
const nodeVersion = "18.20.4";

describe("package-lock.json", () => {
  // `npm ci` leaves out an optional package whose `engines` do not fit, without a word. Those of
  // oxlint ask for a newer Node.js, but Bun runs them; so the lock file must not repeat that.
  test("makes Debian's Node.js install every optional package", () => {
    const refused = Object.entries(packages).filter(
      ([, { optional, engines }]) =>
        optional === true &&
        engines?.node !== undefined &&
        !Bun.semver.satisfies(nodeVersion, engines.node),
    );
    expect(refused.map(([name]) => name)).toEqual([]);
  });

  // `npm ci` refuses a lock file that lacks one, even of another platform; `npm install` forgets
  // those that the registry it asks does not have.
  test("names every optional package", () => {
    const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) =>
      Object.entries(optionalDependencies),
    );
    const wrong = wanted.filter(
      ([name, version]) => packages[`node_modules/${name}`]?.version !== version,
    );
    expect(wrong).toEqual([]);
  });
});
