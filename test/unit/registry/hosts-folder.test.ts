import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder } from "../../../scripts/lib/temp.ts";
import { HostsFolder } from "../../../src/registry/hosts-folder.ts";
import { FakeClock } from "../../support/fake-clock.ts";
import { rejection } from "../../support/rejection.ts";

class Fixture implements Disposable {
  readonly #scratch = scratchFolder("registry");
  readonly clock = new FakeClock();
  readonly folder = new HostsFolder(this.#scratch.path, this.clock);

  write(name: string, content: string): void {
    const path = join(this.#scratch.path, name);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, content);
  }

  async authorities(registry: string): Promise<string[]> {
    return (await this.folder.hosts(registry)).map(({ authority }) => authority);
  }

  [Symbol.dispose](): void {
    this.#scratch[Symbol.dispose]();
  }
}

describe("HostsFolder", () => {
  test("takes the folder of the host, or the one for all others", async () => {
    using fixture = new Fixture();
    fixture.write("_default/hosts.toml", '[host."https://default.test"]');
    fixture.write("a.test_5000_/hosts.toml", '[host."https://one.test"]');
    fixture.write("b.test:5000/hosts.toml", '[host."https://two.test"]');
    expect(await fixture.authorities("a.test:5000")).toEqual(["one.test", "a.test:5000"]);
    expect(await fixture.authorities("b.test:5000")).toEqual(["two.test", "b.test:5000"]);
    expect(await fixture.authorities("c.test")).toEqual(["default.test", "c.test"]);
    expect(await fixture.authorities("docker.io")).toEqual([
      "default.test",
      "registry-1.docker.io",
    ]);
  });

  test("knows the registry itself where there is no folder", async () => {
    using fixture = new Fixture();
    expect(await fixture.authorities("a.test")).toEqual(["a.test"]);
  });

  test("reads docker's certificates where there is no hosts.toml", async () => {
    using fixture = new Fixture();
    fixture.write("a.test/ca.crt", "AUTHORITY");
    fixture.write("a.test/client.cert", "CERTIFICATE");
    fixture.write("a.test/client.key", "KEY");
    const [host] = await fixture.folder.hosts("a.test");
    expect(host?.tls).toMatchObject({ certificates: ["CERTIFICATE"], keys: ["KEY"] });
    expect(host?.tls.ca).toEndWith("AUTHORITY");
    expect(host?.tls.ca).toContain("BEGIN CERTIFICATE");
  });

  test("sees a change after a while", async () => {
    using fixture = new Fixture();
    await fixture.authorities("a.test");
    fixture.write("a.test/hosts.toml", 'server = "https://b.test"');
    expect(await fixture.authorities("a.test")).toEqual(["a.test"]);
    fixture.clock.advance(10_000);
    expect(await fixture.authorities("a.test")).toEqual(["b.test"]);
  });

  test("refuses a file that names what is not there", async () => {
    using fixture = new Fixture();
    fixture.write("a.test/hosts.toml", 'ca = "absent.pem"');
    expect(await rejection(fixture.folder.hosts("a.test"))).toMatchObject({
      code: "invalid_argument",
      message: expect.stringContaining("absent.pem") as string,
    });
  });
});
