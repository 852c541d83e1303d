"""Hosts on one machine: namespaces with a network, processes, mounts and a name of their own, on one switch.

A host's cable can be pulled, and its power cut. What hosts share is the file system, as over NFS.
"""

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

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


def refused() -> str | None:
    """Why no hosts can be made here; None where they can."""
    if missing := [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]:
        return f"needs {', '.join(missing)} (apt-get install iproute2 util-linux)"
    name = f"try-{secrets.token_hex(3)}"
    tried = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True, text=True)
    if tried.returncode:
        return f"network namespaces are not allowed: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return None


@dataclass(frozen=True)
class Host:
    """One that runs."""

    name: str
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


@dataclass
class Hosts:
    """A switch, and the hosts on it; a context manager.

    Args:
        names: of those that may be started, in the order of their addresses.
        folder: for files of the hosts.
    """

    names: Sequence[str]
    folder: Path
    _running: ExitStack = field(default_factory=ExitStack)
    _id: str = field(default_factory=lambda: secrets.token_hex(3))

    def __enter__(self) -> Self:
        self.folder.mkdir()
        RAYS.mkdir(exist_ok=True)  # what each host has a folder of its own for
        self._namespace("switch")
        _ip("-n", f"{self._id}-switch", "link", "add", "name", "switch", "type", "bridge")
        _ip("-n", f"{self._id}-switch", "link", "set", "switch", "up")
        lines = [f"{self.address(name)} {name}\n" for name in self.names]
        self._hosts_file.write_text("".join(["127.0.0.1 localhost\n", *lines]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.close()

    @property
    def _hosts_file(self) -> Path:
        return self.folder / "hosts"

    def address(self, name: str) -> str:
        return f"{NETWORK}.{1 + self.names.index(name)}"

    def start(self, name: str) -> Host:
        """Boots a host."""
        namespace = self._namespace(name)
        switch = f"{self._id}-switch"
        _ip("-n", namespace, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", switch)
        _ip("-n", switch, "link", "set", name, "master", "switch", "up")
        _ip("-n", namespace, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        own = self.folder / name
        own.mkdir()
        command = ["ip", "netns", "exec", namespace, "unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        command += ["--mount-proc", "sh", "-c", _INIT, "sh", name, str(own), str(self._hosts_file), str(RAYS)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        host = Host(name, self.address(name), namespace, process)
        self._running.callback(host.power_off)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n", f"the host {name} did not start"
        return host

    def _namespace(self, name: str) -> str:
        namespace = f"{self._id}-{name}"
        _ip("netns", "add", namespace)
        self._running.callback(_ip, "netns", "delete", namespace)
        return namespace


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
