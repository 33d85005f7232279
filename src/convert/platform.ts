/** Which images of an index are for a platform. */
import { AppError } from "../errors.ts";
import type { OciDescriptor, Platform } from "../oci/schema.ts";

/** `os/architecture[/variant]`. */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, more] = text.split("/");
  if (!os || !architecture || variant === "" || more !== undefined) {
    throw new AppError("invalid_argument", `"${text}" is no platform`, {
      remedy: 'write it as "linux/arm64" or "linux/arm/v7"',
    });
  }
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join("/");
}

/** Whether an image is for the platform; without a variant, any will do. */
export function isFor(wanted: Platform, image: Platform | null | undefined): boolean {
  if (image?.os !== wanted.os || image.architecture !== wanted.architecture) return false;
  if (wanted.variant === undefined) return true;
  return variantOf(wanted) === variantOf(image);
}

/** arm64 has one variant, which few write down. */
function variantOf({ variant, architecture }: Platform): string {
  return variant ?? (architecture === "arm64" ? "v8" : "");
}

/** The one image for the platform; throws `not_found` for none, and for several. */
export function chooseImage(images: readonly OciDescriptor[], wanted: Platform): OciDescriptor {
  const fitting = images.filter(({ platform }) => isFor(wanted, platform));
  const [image] = fitting;
  if (image !== undefined && fitting.length === 1) return image;
  const known = images.flatMap(({ platform }) => (platform ? [formatPlatform(platform)] : []));
  const problem = fitting.length === 0 ? "no image" : "several images";
  throw new AppError("not_found", `There is ${problem} for ${formatPlatform(wanted)}`, {
    remedy: `name one of: ${known.join(", ")}`,
  });
}
