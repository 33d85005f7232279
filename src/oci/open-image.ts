/**
 * Opens what an endpoint stands for.
 *
 * @module
 */
import { existsSync, statSync } from "node:fs";
import type { Reference, RegistryClient } from "../registry/contract.ts";
import { ArchiveTarget } from "./archive-target.ts";
import type { ImageSource, ImageTarget } from "./contract.ts";
import { isArchiveName, parseEndpoint } from "./endpoint.ts";
import { LayoutSource } from "./layout-source.ts";
import { LayoutTarget } from "./layout-target.ts";
import { RegistrySource, RegistryTarget } from "./registry-image.ts";

/** How registries are reached; asked for only where one is named. */
export interface RegistryAccess {
  client(): RegistryClient;
  /** Throws `invalid_argument` for what is no reference. */
  parse(text: string): Reference;
}

export async function openSource(text: string, registries: RegistryAccess): Promise<ImageSource> {
  const endpoint = parseEndpoint(text);
  if (endpoint.kind === "layout") return LayoutSource.open(endpoint.path, endpoint.tag);
  const { reference } = endpoint;
  return new RegistrySource(registries.client(), registries.parse(reference), reference);
}

/**
 * A path that ends with `.tar`, or is a file, becomes a tar of a layout.
 *
 * @param sourceText what the image comes from
 */
export async function openTarget(
  text: string,
  registries: RegistryAccess,
  sourceText: string,
): Promise<ImageTarget> {
  const endpoint = parseEndpoint(text);
  if (endpoint.kind === "registry") {
    const source = parseEndpoint(sourceText);
    const from = source.kind === "registry" ? registries.parse(source.reference) : undefined;
    const reference = registries.parse(endpoint.reference);
    return new RegistryTarget(registries.client(), reference, endpoint.reference, from);
  }
  const { path, tag } = endpoint;
  const isArchive = existsSync(path) ? statSync(path).isFile() : isArchiveName(path);
  return isArchive ? ArchiveTarget.open(path, tag) : LayoutTarget.open(path, tag);
}
