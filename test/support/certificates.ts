/**
 * An authority of its own, and certificates that it signed.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../scripts/lib/process.ts";

export interface Certificate {
  /** Files of PEM. */
  readonly certificate: string;
  readonly key: string;
}

const keyOptions = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"] as const;

/** Makes `<name>.pem` and `<name>.key`, signed by itself. */
export async function makeAuthority(folder: string, name: string): Promise<Certificate> {
  const made = filesOf(folder, name);
  const subject = ["-subj", `/CN=${name}`, "-addext", "basicConstraints=critical,CA:TRUE"];
  const files = ["-keyout", made.key, "-out", made.certificate, "-days", "2"];
  await runCommand(["openssl", "req", "-x509", ...keyOptions, ...files, ...subject]);
  return made;
}

/** @param names as in subjectAltName: `IP:127.0.0.1,DNS:registry.test` */
export async function makeCertificate(
  folder: string,
  name: string,
  names: string,
  authority: Certificate,
): Promise<Certificate> {
  const made = filesOf(folder, name);
  const [request, extensions] = [join(folder, `${name}.csr`), join(folder, `${name}.ext`)];
  writeFileSync(extensions, `subjectAltName=${names}\n`);
  const files = ["-keyout", made.key, "-out", request, "-subj", `/CN=${name}`];
  await runCommand(["openssl", "req", "-new", ...keyOptions, ...files]);
  const signing = ["-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial"];
  const result = ["-out", made.certificate, "-days", "2", "-extfile", extensions];
  await runCommand(["openssl", "x509", "-req", "-in", request, ...signing, ...result]);
  return made;
}

function filesOf(folder: string, name: string): Certificate {
  return { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
}
