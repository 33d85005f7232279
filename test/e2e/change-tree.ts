/**
 * Changes that only a program with root's rights in a container can make: what a tar cannot bring.
 *
 * @module
 */
import { close, open } from "../../ffi/file.ts";
import { openFlag } from "../../ffi/constants.ts";
import { setXattr } from "../../ffi/xattr.ts";
import { runCommand } from "../../scripts/lib/process.ts";
import { byteStringOfText } from "../../src/util/byte-string.ts";

/** Times outside of what 32 bits hold, replaced types, renamed and removed files, copy-up. */
const script = `
cd "$1/hard"
mkdir written
touch -d '1901-12-13 20:45:51.999999999 UTC' written/before-32-bit
touch -d '1969-12-31 23:59:59.000000001 UTC' written/before-1970
touch -d '2038-01-19 03:14:08.5 UTC' written/after-2038
touch -d '2200-01-01 00:00:00 UTC' written/after-2106
mknod written/device c 511 70000
mkfifo -m 600 written/fifo
ln link-a written/linked-with-lower
ln -s "$(printf %4000s | tr ' ' x)" written/long
truncate -s 4097M written/larger-than-4-GiB
printf end >> written/larger-than-4-GiB
cp -a acl written/acl
chmod 4711 setgid
chown 70000:80000 text
rm -r names
mkdir names
echo one > names/again
rm islands
mkdir islands
mv lower/renamed lower/renamed-twice
mv lower/opq-deep lower/renamed-folder
rmdir sticky
echo file > sticky
`;

/** Changes a mounted root file system that holds the hard cases. */
export async function changeTree(root: string): Promise<void> {
  await runCommand(["sh", "-ec", script, "sh", root]);
  const folder = open(`${root}/hard/written`, openFlag.readOnly | openFlag.directory);
  const set = (name: string, xattr: string, value: string) =>
    setXattr(folder, byteStringOfText(name), xattr, Buffer.from(value));
  try {
    set("before-1970", "trusted.note", "root only");
    set("before-1970", "user.note", "everyone");
    set("long", "trusted.of-a-symlink", "1");
    set(".", "trusted.of-a-directory", "\0\xff");
    set("device", "trusted.of-a-device", "2".repeat(3000));
  } finally {
    close(folder);
  }
}
