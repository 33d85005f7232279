/** How commands reach registries. */
import { AppError } from "../errors.ts";
import type { RegistryAccess } from "../oci/open-image.ts";

export function registryAccess(): RegistryAccess {
  const refuse = (): never => {
    throw new AppError("unimplemented", "Registries are not reached from here", {
      remedy: "name an OCI layout: oci:PATH[:TAG]",
    });
  };
  return { client: refuse, parse: refuse };
}
