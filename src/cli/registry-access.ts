/** How commands reach registries: as containerd and Docker are configured to. */
import type { RegistryAccess } from "../oci/open-image.ts";
import { createRegistryClient } from "../registry/client.ts";
import type { RegistryClient } from "../registry/contract.ts";
import { parseReference } from "../registry/reference.ts";

/** One client for all, made when the first registry is named. */
export function registryAccess(): RegistryAccess {
  let client: RegistryClient | undefined;
  return { client: () => (client ??= createRegistryClient()), parse: parseReference };
}
