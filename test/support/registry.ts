/**
 * A real registry (Debian's docker-registry) on a free port of the loopback interface.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Service, startService, waitUntil } from "../../scripts/lib/process.ts";
import { type Digest, type Image, manifestType, sha256 } from "./image/oci.ts";

export interface RegistryOptions {
  /** The section `auth` of the registry's configuration. */
  readonly auth?: object;
  /** Files of PEM. */
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** A request that the registry has answered. */
export interface RegistryRequest {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Of the body of the answer. */
  readonly sentBytes: number;
}

const accessLine = /"([A-Z]+) (\S+) HTTP\/[0-9.]+" ([0-9]{3}) ([0-9]+)/;

export class Registry implements AsyncDisposable {
  /** `host:port`, the first part of an image reference. */
  readonly address: string;
  readonly #service: Service;
  readonly #log: string;

  private constructor(address: string, service: Service, log: string) {
    this.address = address;
    this.#service = service;
    this.#log = log;
  }

  static async start(folder: string, { auth, tls }: RegistryOptions = {}): Promise<Registry> {
    mkdirSync(folder, { recursive: true });
    const config = join(folder, "registry.json");
    const log = join(folder, "registry.log");
    // JSON is YAML. Port 0 lets the kernel choose; the log tells what it chose.
    const storage = { filesystem: { rootdirectory: join(folder, "blobs") } };
    writeFileSync(
      config,
      JSON.stringify({ version: "0.1", storage, auth, http: { addr: "127.0.0.1:0", tls } }),
    );
    const service = startService(["docker-registry", "serve", config], log);
    let address: string | undefined;
    const isListening = () => {
      address = /listening on (127\.0\.0\.1:\d+)/.exec(readFileSync(log, "utf8"))?.[1];
      return address !== undefined;
    };
    await waitUntil(isListening, "the registry does not listen");
    return new Registry(address ?? "", service, log);
  }

  /** All requests so far, from the registry's access log. */
  requests(): RegistryRequest[] {
    const lines = readFileSync(this.#log, "utf8").split("\n");
    return lines.flatMap((line) => {
      const [, method, path, status, sentBytes] = accessLine.exec(line) ?? [];
      if (method === undefined || path === undefined) return [];
      return [{ method, path, status: Number(status), sentBytes: Number(sentBytes) }];
    });
  }

  /** The reference by which containerd pulls an image. */
  reference(image: Image): string {
    return `${this.address}/${image.name}`;
  }

  signal(signal: NodeJS.Signals): void {
    this.#service.signal(signal);
  }

  async push(image: Image): Promise<void> {
    const [repository = "", tag = "latest"] = image.name.split(":");
    for (const layer of image.layers) {
      await this.#pushBlob(repository, layer.digest, () => layer.read());
    }
    await this.#pushBlob(repository, sha256(image.config), () => image.config);
    await this.#request("PUT", `/v2/${repository}/manifests/${tag}`, image.manifest, manifestType);
  }

  async #pushBlob(
    repository: string,
    digest: Digest,
    read: () => Promise<Uint8Array> | Uint8Array,
  ): Promise<void> {
    const url = `http://${this.address}/v2/${repository}/blobs/${digest}`;
    if ((await fetch(url, { method: "HEAD" })).ok) return;
    const upload = await this.#request("POST", `/v2/${repository}/blobs/uploads/`);
    const location = new URL(upload.headers.get("location") ?? "", `http://${this.address}`);
    location.searchParams.set("digest", digest);
    const type = "application/octet-stream";
    await this.#request("PUT", location.pathname + location.search, await read(), type);
  }

  async #request(method: string, path: string, body?: Uint8Array, type = ""): Promise<Response> {
    const response = await fetch(`http://${this.address}${path}`, {
      method,
      ...(body === undefined ? {} : { body: Buffer.from(body), headers: { "content-type": type } }),
    });
    if (response.ok) return response;
    const text = await response.text();
    throw new Error(`the registry answered ${method} ${path} with ${response.status}: ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service.kill();
  }
}
