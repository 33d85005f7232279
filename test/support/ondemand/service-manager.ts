/**
 * As much of systemd as a service with an fd store sees of it: notifications with descriptors, the
 * store (which takes in an open file once, whatever its name), barriers, and the descriptors and
 * their names at the next start.
 *
 * In Python, because Bun cannot receive descriptors.
 */
import { ensurePackages } from "../../../scripts/lib/apt.ts";
import { type Service, startService } from "../../../scripts/lib/process.ts";

const program = `
import array, ctypes, os, select, socket, sys
address, command = sys.argv[1], sys.argv[2:]
kcmp = {"x86_64": 312, "aarch64": 272}[os.uname().machine]
libc = ctypes.CDLL(None)
notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notifications.bind(("\\0" + address[1:]) if address[0] == "@" else address)
store = []

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

def is_same(left, right):
    return libc.syscall(kcmp, os.getpid(), os.getpid(), 0, left, right) == 0

def take_in(text, descriptors):
    says = dict(line.split("=", 1) for line in text.split("\\n"))
    name = says.get("FDNAME", "stored")
    if says.get("FDSTOREREMOVE") == "1":
        for item in [item for item in store if item[0] == name]:
            store.remove(item)
            os.close(item[1])
    elif says.get("FDSTORE") == "1":
        for descriptor in descriptors:
            if not any(is_same(descriptor, kept) for _, kept in store):
                store.append((name, os.dup(descriptor)))
    if says.get("READY") == "1":
        say("ready", *[name for name, _ in store])
    for descriptor in descriptors:
        os.close(descriptor)

def start():
    child = os.fork()
    if child != 0:
        return child
    notifications.close()
    high = [os.dup2(fd, 100 + at, inheritable=False) for at, (_, fd) in enumerate(store)]
    os.closerange(3, 100)
    for at, fd in enumerate(high):
        os.dup2(fd, 3 + at, inheritable=True)
    env = dict(os.environ, NOTIFY_SOCKET=address, FDSTORE="8")
    if store:
        env.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(store)))
        env.update(LISTEN_FDNAMES=":".join(name for name, _ in store))
    os.execvpe(command[0], command, env)

while True:
    child = start()
    say("started", str(child))
    process = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([notifications, process], [], [])
        if notifications in ready:
            data, control, _, _ = notifications.recvmsg(4096, socket.CMSG_SPACE(64))
            descriptors = array.array("i")
            for level, kind, content in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    descriptors.frombytes(content[: len(content) // 4 * 4])
            take_in(data.decode(), descriptors)
        elif process in ready:
            os.waitpid(child, 0)
            os.close(process)
            break
`;

/** Runs the service, again whenever it ends; writes `started PID` and `ready NAMES` to the log. */
export async function startServiceManager(
  address: string,
  command: readonly string[],
  logFile: string,
): Promise<Service> {
  await ensurePackages(["python3"]);
  return startService(["/usr/bin/python3", "-c", program, address, ...command], logFile);
}
