/** The registry client against Debian's docker-registry, with each way of logging in. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scratchFolder, type ScratchFolder } from "../../scripts/lib/temp.ts";
import { createRegistryClient } from "../../src/registry/client.ts";
import type { Reference, RegistryClient } from "../../src/registry/contract.ts";
import { parseReference } from "../../src/registry/reference.ts";
import { verifyBlob } from "../../src/registry/verify.ts";
import { makeAuthority, makeCertificate, type Certificate } from "../support/certificates.ts";
import { manifestType, sha256 } from "../support/image/oci.ts";
import { randomBytes } from "../support/random.ts";
import { Registry } from "../support/registry.ts";
import { rejection } from "../support/rejection.ts";
import { TokenServer } from "../support/token-server.ts";

const content = randomBytes("registry blob", 3_000_000);
const blob = { digest: sha256(content), sizeBytes: content.length };
const password = "secret";

let folder: ScratchFolder;

beforeAll(() => {
  folder = scratchFolder("registry");
});

afterAll(() => folder[Symbol.dispose]());

async function* pieces(): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
}

interface ClientFiles {
  /** A password for `user`; anonymous without. */
  readonly login?: string;
  readonly hosts?: string;
  /** The address of every name that a server sends us to. */
  readonly address?: string;
}

let clients = 0;

function clientFor(
  address: string,
  { login, hosts, address: target }: ClientFiles = {},
): RegistryClient {
  const base = join(folder.path, `client-${clients++}`);
  const hostsFolder = join(base, "certs.d");
  mkdirSync(join(hostsFolder, address), { recursive: true });
  if (hosts !== undefined) writeFileSync(join(hostsFolder, address, "hosts.toml"), hosts);
  const auth = Buffer.from(`user:${login}`).toString("base64");
  const auths = login === undefined ? {} : { [address]: { auth } };
  const dockerConfigFile = join(base, "config.json");
  writeFileSync(dockerConfigFile, JSON.stringify({ auths }));
  return createRegistryClient({
    hostsFolder,
    dockerConfigFile,
    limits: { roundsMax: 1 },
    ...(target === undefined ? {} : { lookup: async () => [target] }),
  });
}

function manifestOf(): Uint8Array {
  const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: blob.digest };
  const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: blob.digest };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      config: { ...config, size: blob.sizeBytes },
      layers: [{ ...layer, size: blob.sizeBytes }],
    }),
  );
}

/** Pushes an image by each operation there is, and reads it back by each. */
async function pushAndPull(client: RegistryClient, reference: Reference): Promise<void> {
  expect(await client.hasBlob(reference, blob.digest)).toBe(false);
  expect(await client.uploadBlob(reference, blob, pieces)).toBe("uploaded");
  expect(await client.uploadBlob(reference, blob, pieces)).toBe("existed");
  expect(await client.hasBlob(reference, blob.digest)).toBe(true);
  const manifest = manifestOf();
  const described = await client.putManifest(reference, manifest, manifestType);
  expect(described).toEqual({
    mediaType: manifestType,
    digest: sha256(manifest),
    sizeBytes: manifest.length,
  });
  expect(await client.resolve(reference)).toEqual(described);
  expect(await client.resolve({ ...reference, digest: described.digest })).toEqual(described);
  for (const target of [reference.tag ?? "", described.digest]) {
    expect(Buffer.from(await client.manifest(reference, target))).toEqual(Buffer.from(manifest));
  }
  await pull(client, reference);
}

async function pull(client: RegistryClient, reference: Reference): Promise<void> {
  const read = await Array.fromAsync(verifyBlob(blob, client.blob(reference, blob)));
  expect(Buffer.compare(Buffer.concat(read), content)).toBe(0);
  const range = await client.blobRange(reference, blob.digest, 1_234_567, 100_000);
  expect(Buffer.compare(range, content.subarray(1_234_567, 1_334_567))).toBe(0);
}

describe("an open registry", () => {
  test("takes images and gives them back", async () => {
    await using registry = await Registry.start(join(folder.path, "open"));
    const client = clientFor(registry.address);
    const reference = parseReference(`${registry.address}/a/app:1`);
    await pushAndPull(client, reference);
    const other = parseReference(`${registry.address}/other:1`);
    expect(await client.uploadBlob(other, blob, pieces, { mountFrom: "a/app" })).toBe("mounted");
    const absent = parseReference(`${registry.address}/a/app:2`);
    expect(await rejection(client.resolve(absent))).toMatchObject({ code: "not_found" });
    const past = client.blobRange(reference, blob.digest, content.length, 1);
    expect(await rejection(past)).toMatchObject({ code: "data_loss", status: 416 });
    const wrong = { digest: sha256(Buffer.from("other")), sizeBytes: content.length };
    expect(await rejection(client.uploadBlob(reference, wrong, pieces))).toMatchObject({
      code: "failed_precondition",
      status: 400,
    });
  });

  test("is reached through hosts.toml, past a mirror that is away", async () => {
    await using registry = await Registry.start(join(folder.path, "mirror"));
    const direct = parseReference(`${registry.address}/app:1`);
    await pushAndPull(clientFor(registry.address), direct);
    const hosts = [
      'server = "http://127.0.0.1:1"',
      'capabilities = ["push"]',
      '[host."http://127.0.0.1:1"]',
      `[host."http://${registry.address}"]`,
      'capabilities = ["pull", "resolve"]',
    ];
    const client = clientFor("registry.test", { hosts: hosts.join("\n") });
    const reference = parseReference("registry.test/app:1");
    await pull(client, reference);
    expect(await client.resolve(reference)).toMatchObject({ digest: sha256(manifestOf()) });
    const upload = client.uploadBlob(reference, blob, pieces);
    expect(await rejection(upload)).toMatchObject({ code: "unavailable", host: "127.0.0.1:1" });
  });
});

describe("a registry with passwords", () => {
  test("is shown the right one", async () => {
    const path = join(folder.path, "users");
    const hash = await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });
    writeFileSync(path, `user:${hash.replace("$2b$", "$2y$")}\n`);
    const auth = { htpasswd: { realm: "test", path } };
    await using registry = await Registry.start(join(folder.path, "basic"), { auth });
    const reference = parseReference(`${registry.address}/app:1`);
    await pushAndPull(clientFor(registry.address, { login: password }), reference);
    for (const files of [{}, { login: "wrong" }]) {
      const read = clientFor(registry.address, files).resolve(reference);
      expect(await rejection(read)).toMatchObject({ code: "permission_denied", status: 401 });
    }
  });
});

describe("a registry with a token service", () => {
  test("is shown a token for what is asked of it", async () => {
    await using tokens = await TokenServer.start(folder.path, password);
    const auth = tokens.registryAuth;
    await using registry = await Registry.start(join(folder.path, "token"), { auth });
    const client = clientFor(registry.address, { login: password });
    const reference = parseReference(`${registry.address}/app:1`);
    await pushAndPull(client, reference);
    expect(tokens.asked).toEqual([["repository:app:pull"], ["repository:app:pull,push"]]);
    const other = parseReference(`${registry.address}/other:1`);
    expect(await client.uploadBlob(other, blob, pieces, { mountFrom: "app" })).toBe("mounted");
    expect(tokens.asked[2]).toContain("repository:app:pull");
    const anonymous = clientFor(registry.address);
    await pull(anonymous, reference);
    expect(
      await rejection(anonymous.putManifest(reference, manifestOf(), manifestType)),
    ).toMatchObject({ code: "permission_denied" });
    const stranger = clientFor(registry.address, { login: "wrong" });
    expect(await rejection(stranger.resolve(reference))).toMatchObject({
      code: "permission_denied",
    });
  });
});

describe("a registry with TLS", () => {
  let authority: Certificate;

  beforeAll(async () => {
    authority = await makeAuthority(folder.path, "authority");
  });

  test("is trusted where hosts.toml names its authority", async () => {
    const tls = await makeCertificate(folder.path, "server", "IP:127.0.0.1", authority);
    await using registry = await Registry.start(join(folder.path, "tls"), { tls });
    const reference = parseReference("registry.test/app:1");
    const server = `server = "https://${registry.address}"`;
    const trusting = `${server}\nca = "${authority.certificate}"`;
    await pushAndPull(clientFor("registry.test", { hosts: trusting }), reference);
    await pull(clientFor("registry.test", { hosts: `${server}\nskip_verify = true` }), reference);
    const wary = clientFor("registry.test", { hosts: server });
    expect(await rejection(wary.resolve(reference))).toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining("its certificate is refused") as string,
    });
    // containerd reaches a registry on the loopback interface whatever its certificate is.
    await pull(clientFor(registry.address), parseReference(`${registry.address}/app:1`));
  });

  test("is not trusted under another name", async () => {
    const tls = await makeCertificate(folder.path, "named", "DNS:other.test", authority);
    await using registry = await Registry.start(join(folder.path, "named-tls"), { tls });
    const hosts = `server = "https://${registry.address}"\nca = "${authority.certificate}"`;
    const client = clientFor("registry.test", { hosts });
    expect(await rejection(client.resolve(parseReference("registry.test/app:1")))).toMatchObject({
      code: "failed_precondition",
    });
  });

  test("may send us on to a name that has a certificate, and not out of TLS", async () => {
    const tls = await makeCertificate(folder.path, "front", "IP:127.0.0.1", authority);
    const storageTls = await makeCertificate(folder.path, "storage", "DNS:a.test", authority);
    await using storage = secureServer(storageTls, () => {
      const headers = { "content-range": "bytes 0-3/9" };
      return new Response("data", { status: 206, headers });
    });
    let location = `https://a.test:${storage.port}/`;
    await using front = secureServer(tls, () => Response.redirect(location, 307));
    const hosts = `server = "https://127.0.0.1:${front.port}"\nca = "${authority.certificate}"`;
    const client = clientFor("registry.test", { hosts, address: "127.0.0.1" });
    const reference = parseReference("registry.test/app:1");
    const read = () => client.blobRange(reference, blob.digest, 0, 4);
    expect(Buffer.from(await read()).toString()).toBe("data");
    location = `https://b.test:${storage.port}/`;
    expect(await rejection(read())).toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining("its certificate is refused") as string,
    });
    location = `http://a.test:${storage.port}/`;
    expect(await rejection(read())).toMatchObject({
      code: "failed_precondition",
      message: expect.stringContaining("leads out of TLS") as string,
    });
  });

  test("is shown our certificate", async () => {
    const tls = await makeCertificate(folder.path, "mutual", "IP:127.0.0.1", authority);
    const own = await makeCertificate(folder.path, "client", "DNS:client", authority);
    await using server = secureServer(tls, () => new Response(null), authority);
    const ca = `server = "https://127.0.0.1:${server.port}"\nca = "${authority.certificate}"\n`;
    const reference = parseReference("registry.test/app:1");
    const pair = `client = [["${own.certificate}", "${own.key}"]]`;
    const known = clientFor("registry.test", { hosts: ca + pair });
    expect(await known.hasBlob(reference, blob.digest)).toBe(true);
    const unknown = clientFor("registry.test", { hosts: ca });
    expect(await rejection(unknown.hasBlob(reference, blob.digest))).toMatchObject({
      code: "unavailable",
    });
  });
});

/** @param asked the authority of the certificates that it asks for, if it does */
function secureServer(tls: Certificate, answer: () => Response, asked?: Certificate) {
  const mutual = { requestCert: true, rejectUnauthorized: true };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: {
      cert: Bun.file(tls.certificate),
      key: Bun.file(tls.key),
      ...(asked === undefined ? {} : { ca: Bun.file(asked.certificate), ...mutual }),
    },
    fetch: answer,
  });
  return { port: server.port, [Symbol.asyncDispose]: () => server.stop(true) };
}
