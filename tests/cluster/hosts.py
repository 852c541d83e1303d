"""Hosts on one machine: namespaces with a network, processes, mounts and a name of their own, on one switch.

A host's cable can be pulled, and its power cut. What hosts share is the file system, as over NFS.
"""

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_INIT = """
hostname "$1" && mount -t tmpfs tmpfs /dev/shm && mount --bind "$2" "$4" && mount --bind "$3" /etc/hosts || exit 1
ip link set lo up || exit 1
echo up
while :; do sleep 1; done
"""
"""The first process of a host: it lives as long as the host, and buries what is orphaned."""
RAYS = Path("/tmp/ray")
NETWORK = "10.111.7"
"""Of the namespaces only: no one else sees it."""


@dataclass(frozen=True)
class Host:
    """One that runs."""

    address: str
    namespace: str
    unshare: "subprocess.Popen[str]"

    @property
    def shell(self) -> list[str]:
        """What a command begins with that runs there."""
        (init,) = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()
        return ["nsenter", f"--target={init}", "--mount", "--uts", "--net", "--pid", f"--wd={Path.cwd()}"]

    def unplug(self) -> None:
        """Pulls the cable: nothing that runs there ends."""
        _ip("-n", self.namespace, "link", "set", "eth0", "down")

    def power_off(self) -> None:
        """Everything that runs there is gone at once."""
        self.unshare.kill()
        self.unshare.wait()


class Hosts:
    """A switch, and the hosts on it.

    Args:
        names: of those that may be started, in the order of their addresses.
        folder: for files of the hosts.
        running: holds all that has to end.
    """

    def __init__(self, names: Sequence[str], folder: Path, running: ExitStack) -> None:
        self.folder = folder
        self._names = names
        self._running = running
        self._id = secrets.token_hex(3)
        self._switch = self._namespace("switch")
        _ip("-n", self._switch, "link", "add", "name", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")
        lines = [f"{self.address(name)} {name}\n" for name in names]
        (folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *lines]))
        RAYS.mkdir(exist_ok=True)  # what each host has a folder of its own for

    def address(self, name: str) -> str:
        """Of a host, whether it runs or not."""
        return f"{NETWORK}.{1 + self._names.index(name)}"

    def start(self, name: str) -> Host:
        """Boots a host."""
        namespace, address = self._namespace(name), self.address(name)
        _ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", self._switch)
        _ip("-n", self._switch, "link", "set", name, "master", "switch", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        own = self.folder / name
        own.mkdir()
        command = ["ip", "netns", "exec", namespace, "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        command += ["--mount-proc", "sh", "-c", _INIT, "sh", name, str(own), str(self.folder / "hosts"), str(RAYS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        host = Host(address, namespace, process)
        self._running.callback(host.power_off)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n", f"the host {name} did not start"
        return host

    def _namespace(self, name: str) -> str:
        namespace = f"{self._id}-{name}"
        _ip("netns", "add", namespace)
        self._running.callback(_ip, "netns", "delete", namespace)
        return namespace


@contextmanager
def switched(names: Sequence[str], folder: Path) -> Iterator[Hosts]:
    """A network for hosts; with it, all of them end."""
    with ExitStack() as running:
        yield Hosts(names, folder, running)


def refused() -> str | None:
    """Why no hosts can be made here; None where they can."""
    with TemporaryDirectory() as folder:
        try:
            with switched(["try"], Path(folder)) as hosts:
                hosts.start("try")
        except (AssertionError, OSError) as error:
            return f"needs network namespaces (root, and apt-get install iproute2): {error}"
    return None


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
