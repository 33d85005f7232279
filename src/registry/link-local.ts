/**
 * Addresses that no registry may send us to.
 *
 * Behind them lie the metadata services of clouds, which hand credentials to whoever asks from the
 * node. A registry, or who can answer in its place, chooses where its redirects, upload locations
 * and token realms lead; so these are looked up and pinned before a request goes there. What the
 * operator configured is not judged: node-local mirrors do listen on such addresses.
 *
 * @module
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { RegistryError, type Subject } from "./registry-error.ts";

const forbidden = new BlockList();
/** RFC 3927: AWS, Azure, GCP, OpenStack and others at 169.254.169.254. */
forbidden.addSubnet("169.254.0.0", 16, "ipv4");
/** RFC 4291, section 2.5.6. */
forbidden.addSubnet("fe80::", 10, "ipv6");
/** The metadata services that are not link-local: AWS over IPv6, Alibaba, Oracle, Azure. */
forbidden.addAddress("fd00:ec2::254", "ipv6");
forbidden.addAddress("100.100.100.200", "ipv4");
forbidden.addAddress("192.0.0.192", "ipv4");
forbidden.addAddress("168.63.129.16", "ipv4");

/** @param address an IP address without brackets */
export function isForbiddenAddress(address: string): boolean {
  const family = isIP(address) === 6 ? "ipv6" : "ipv4";
  if (forbidden.check(address, family)) return true;
  // ::ffff:a9fe:a9fe, as URLs write an IPv4 address in IPv6; and behind NAT64 (RFC 6052).
  const mapped = /^(?:::ffff|64:ff9b:):([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address);
  if (mapped === null) return false;
  const [high, low] = [mapped[1], mapped[2]].map((part) => Number.parseInt(part ?? "", 16));
  const octets = [high ?? 0, low ?? 0].flatMap((part) => [part >> 8, part & 0xff]);
  return forbidden.check(octets.join("."), "ipv4");
}

/** All addresses of a name. */
export type Lookup = (name: string) => Promise<readonly string[]>;

export async function systemLookup(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true });
  return found.map(({ address }) => address);
}

/**
 * The address to connect to, which is not asked for again: a name could change its address between
 * the check and the request. Rejects with `failed_precondition` if any address is forbidden.
 *
 * @param find undefined where a proxy looks names up; the result is undefined then
 */
export async function checkedAddress(
  url: URL,
  subject: Subject,
  find: Lookup | undefined,
): Promise<string | undefined> {
  const name = url.hostname.replace(/^\[|\]$/g, "");
  if (find === undefined && isIP(name) === 0) return undefined;
  const addresses = isIP(name) === 0 ? await addressesOf(name, subject, find) : [name];
  const bad = addresses.find(isForbiddenAddress);
  const [first] = addresses;
  if (bad === undefined && first !== undefined) return first;
  const problem = `leads to ${url.host}, which is the link-local or metadata address ${bad}`;
  throw new RegistryError("failed_precondition", subject, problem, {
    remedy: "do not use this registry: only an attack or a broken name server leads there",
  });
}

async function addressesOf(name: string, subject: Subject, find: Lookup = systemLookup) {
  try {
    const addresses = await find(name);
    if (addresses.length > 0) return addresses;
  } catch (cause) {
    throw new RegistryError("unavailable", subject, `cannot look up ${name}`, { cause });
  }
  throw new RegistryError("unavailable", subject, `${name} has no address`);
}
