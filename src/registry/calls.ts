/**
 * What the calls of the client have in common: which servers, on whose behalf, with which rights.
 *
 * @module
 */
import type { Rights } from "./authorizer.ts";
import type { CallOptions, Reference } from "./contract.ts";
import { type Failover, hostsFor } from "./failover.ts";
import type { HostRequest, HostTransport } from "./host-transport.ts";
import type { Capability, RegistryHost } from "./hosts.ts";
import type { HostsFolder } from "./hosts-folder.ts";
import type { HttpAnswer } from "./http.ts";
import { toRegistryError, type Subject } from "./registry-error.ts";

/** One server, while it is asked. */
export interface Target {
  readonly host: RegistryHost;
  readonly subject: Subject;
  readonly send: (request: Omit<HostRequest, "rights" | "registry">) => Promise<HttpAnswer>;
}

export interface CallsDependencies {
  readonly hosts: HostsFolder;
  readonly failover: Failover;
  readonly transport: HostTransport;
}

export class Calls {
  readonly #dependencies: CallsDependencies;

  constructor(dependencies: CallsDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Asks the servers that may pull or resolve, one after the other.
   *
   * @param object a tag or a digest, for messages
   */
  async ask<T>(
    reference: Reference,
    object: string,
    capability: Exclude<Capability, "push">,
    attempt: (target: Target) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    const text = objectName(reference, object);
    const hosts = await this.#hosts(reference.host, capability, text);
    return this.#run(hosts, reference, text, { actions: "pull" }, attempt, options);
  }

  /** Asks the one server that is pushed to: what is pushed in parts must all go to the same. */
  async push<T>(
    reference: Reference,
    object: string,
    mountFrom: string | undefined,
    attempt: (target: Target) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    const text = objectName(reference, object);
    const [host] = await this.#hosts(reference.host, "push", text);
    const rights = {
      actions: "pull,push" as const,
      ...(mountFrom === undefined ? {} : { mountFrom }),
    };
    return this.#run(host === undefined ? [] : [host], reference, text, rights, attempt, options);
  }

  #run<T>(
    hosts: readonly RegistryHost[],
    { host: registry, repository }: Reference,
    text: string,
    rights: Omit<Rights, "repository">,
    attempt: (target: Target) => Promise<T>,
    { signal }: CallOptions,
  ): Promise<T> {
    const { failover, transport } = this.#dependencies;
    const common = { registry, rights: { ...rights, repository } };
    const ask = (host: RegistryHost, subject: Subject) =>
      attempt({
        host,
        subject,
        send: (request) => transport.send(host, { ...request, ...common }, subject, signal),
      });
    return failover.run(hosts, text, ask, signal);
  }

  noteFailure(host: RegistryHost): void {
    this.#dependencies.failover.noteFailure(host);
  }

  async #hosts(registry: string, capability: Capability, reference: string) {
    const subject = { host: registry, reference };
    try {
      return hostsFor(await this.#dependencies.hosts.hosts(registry), capability, subject);
    } catch (error) {
      throw toRegistryError(error, subject);
    }
  }
}

/** How messages name a blob or manifest. */
function objectName({ host, repository }: Reference, object: string): string {
  return `${host}/${repository}${object.includes(":") ? "@" : ":"}${object}`;
}
