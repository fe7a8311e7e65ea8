"""Ceph's RADOS Gateway as an S3 server for tests, over an object store in memory.

    python -m tests.support.rgw install     the Debian or Ubuntu packages (as root, or through sudo)
    python -m tests.support.rgw start       start a server that outlives the command; prints its URL
    python -m tests.support.rgw stop        end it and remove its directory
    python -m tests.support.rgw status      what runs, and where

`pytest --s3=rgw` starts one of its own, which ends with the session.
"""

from __future__ import annotations

import argparse
import getpass
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers import LOOPBACK, Endpoint

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw")
PROGRAMS = (
    "ceph",
    "ceph-authtool",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
)
DAEMONS = ("radosgw", "ceph-osd", "ceph-mon")
"""In the order in which they end."""
KEY = "avroglob"
SECRET = "avroglob-secret"
GUEST, GUEST_SECRET = "guest", "guest-secret"
"""A second user, without buckets: what it may do, bucket policies say."""

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.1
_START_ATTEMPTS = 3
_POLICY = Path("/usr/sbin/policy-rc.d")

# No authentication inside the cluster, one copy of everything, maps that settle without delay.
# The daemons' inner ports are tried one by one in the bind range, which lies below the ports that
# the kernel hands out, so that they meet none found by binding port 0.
_CONFIG = """\
[global]
fsid = {fsid}
mon host = [v2:{host}:{mon_port}/0,v1:{host}:{mon_port_v1}/0]
public addr = {host}
cluster addr = {host}
public network = {host}/8
ms bind ipv4 = true
ms bind ipv6 = false
ms bind port min = 20000
ms bind port max = 32000
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms client mode = crc
ms cluster mode = crc
ms service mode = crc
keyring = {directory}/keyring
run dir = {directory}
admin socket = {directory}/$name.asok
log file = {directory}/$name.log
crash dir = {directory}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000

[mon]
mon data = {directory}/mon
mon cluster log file = {directory}/cluster.log
mon data avail warn = 1
mon data avail crit = 1
paxos propose interval = 0.05
paxos min wait = 0.02
auth allow insecure global id reclaim = true

[osd]
osd data = {directory}/osd
osd objectstore = memstore
osd class dir = {class_directory}
osd crush initial weight = 1
osd memory target = 939524096
memstore device bytes = 8589934592
memstore page size = 4096

[client]
rgw data = {directory}/rgw
rgw frontends = beast endpoint={host}:{port} tcp_nodelay=1
rgw thread pool size = 64
rgw enable usage log = false
rgw enable ops log = false
"""


_GATEWAY = ("radosgw", "--name", "client.rgw")


class RgwError(RuntimeError):
    """The gateway could not be installed or started."""


class RgwServer:
    """A gateway whose cluster lives in one directory.

    Parameters
    ----------
    directory : Path, optional
        Where everything lies; without it a new temporary directory, and the daemons end with
        this process even when it is killed.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._given_directory = directory
        self._directory = directory
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self) -> Endpoint:
        """Start an empty cluster and return once the gateway answers a LIST.

        Raises RgwError, with the end of the log, when it does not come up.
        """
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        if missing:
            raise RgwError(
                f"not installed: {', '.join(missing)}; run: python -m tests.support.rgw install"
            )
        for attempt in range(1, _START_ATTEMPTS + 1):
            try:
                return self._start_once()
            except RgwError:
                self.stop()
                # A port found free may have been taken before the daemon bound it.
                if attempt == _START_ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End the daemons that `start` began, in this process or another, and remove their data."""
        if self._directory is None or not self._directory.exists():
            return
        for name in DAEMONS:
            self._end(name)
        for child in self._children:
            child.wait()
        self._children.clear()
        shutil.rmtree(self._directory)
        self._directory = self._given_directory

    def kill_gateway(self) -> None:
        """Kill the gateway as a crash would; what is stored stays."""
        pid = self.running()["radosgw"]
        gateway = next(child for child in self._children if child.pid == pid)
        gateway.kill()
        gateway.wait()
        self._children.remove(gateway)

    def restart_gateway(self) -> None:
        """Start a gateway that was killed; return once it answers.

        It ends with the thread that calls this, unless the server was given a directory.
        """
        endpoint = self.endpoint()
        assert endpoint is not None
        self._spawn(*_GATEWAY)
        self._wait_until_answering(endpoint)

    def running(self) -> dict[str, int]:
        """Process ids by daemon, of those that run."""
        found = {name: self._pid(name) for name in DAEMONS}
        return {name: pid for name, pid in found.items() if pid is not None}

    def endpoint(self) -> Endpoint | None:
        """Where the gateway answers, if one was started in the directory."""
        if self._directory is None or not (self._directory / "url").exists():
            return None
        return Endpoint((self._directory / "url").read_text(), KEY, SECRET)

    @property
    def _path(self) -> Path:
        assert self._directory is not None
        return self._directory

    def _start_once(self) -> Endpoint:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="fsspec-avroglob-rgw-"))
        for name in ("mon", "osd", "rgw"):
            (self._path / name).mkdir(parents=True)
        mon_port, mon_port_v1, port = _free_ports(3)
        fsid, osd_id = str(uuid.uuid4()), str(uuid.uuid4())
        config = _CONFIG.format(
            fsid=fsid,
            host=LOOPBACK,
            mon_port=mon_port,
            mon_port_v1=mon_port_v1,
            port=port,
            directory=self._path,
            class_directory=_class_directory(),
        )
        (self._path / "ceph.conf").write_text(config)
        self._start_monitor(fsid, f"[v2:{LOOPBACK}:{mon_port},v1:{LOOPBACK}:{mon_port_v1}]")
        self._run("ceph", "--connect-timeout", "20", "osd", "new", osd_id)
        self._run("ceph-osd", "--id", "0", "--mkfs", "--osd-uuid", osd_id)
        self._spawn("ceph-osd", "--id", "0")
        for user, secret, most_buckets in ((KEY, SECRET, "0"), (GUEST, GUEST_SECRET, "-1")):
            self._run(
                *("radosgw-admin", "user", "create", "--uid", user, "--display-name", user),
                *("--access-key", user, "--secret-key", secret, "--max-buckets", most_buckets),
            )
        self._spawn(*_GATEWAY)
        endpoint = Endpoint(f"http://{LOOPBACK}:{port}", KEY, SECRET)
        self._wait_until_answering(endpoint)
        (self._path / "url").write_text(endpoint.url)
        return endpoint

    def _start_monitor(self, fsid: str, addresses: str) -> None:
        keyring, monmap = str(self._path / "keyring"), str(self._path / "monmap")
        everything = ["--cap", "mon", "allow *"]
        self._run("ceph-authtool", "-C", keyring, "-g", "-n", "mon.", *everything)
        osd = ["--cap", "osd", "allow *"]
        self._run("ceph-authtool", keyring, "-g", "-n", "client.admin", *everything, *osd)
        release = ["--set-min-mon-release", _release()]
        self._run(
            "monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, *release, monmap
        )
        mkfs = ["--mkfs", "--monmap", monmap, "--keyring", keyring]
        self._run("ceph-mon", "--id", "a", *mkfs)
        self._spawn("ceph-mon", "--id", "a")

    def _run(self, program: str, *arguments: str) -> None:
        command = [program, "--conf", str(self._path / "ceph.conf"), *arguments]
        if program in ("ceph-authtool", "monmaptool"):
            command = [program, *arguments]
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=True,
                timeout=_START_TIMEOUT_S,
                env=_environment(),
            )
        except subprocess.SubprocessError as error:
            output = (getattr(error, "output", None) or b"").decode(errors="replace")
            raise RgwError(f"{error}\n{output[-2000:]}") from error

    def _spawn(self, program: str, *arguments: str) -> None:
        tied = ["setpriv", "--pdeathsig", "KILL", "--"] if self._given_directory is None else []
        command = [*tied, program, "--foreground", "--conf", str(self._path / "ceph.conf")]
        with (self._path / f"{program}.out").open("wb") as output:
            child = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
            )
        self._children.append(child)
        (self._path / f"{program}.pid").write_text(str(child.pid))

    def _wait_until_answering(self, endpoint: Endpoint) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            ended = [child.args for child in self._children if child.poll() is not None]
            if ended:
                raise RgwError(f"ended at the start: {ended}\n{self._log_ends()}")
            if _answers(endpoint):
                return
            time.sleep(_POLL_S)
        raise RgwError(f"no LIST answered within {_START_TIMEOUT_S:.0f} s\n{self._log_ends()}")

    def _log_ends(self) -> str:
        outputs = [self._path / f"{name}.out" for name in DAEMONS]
        logs = [path for path in (*outputs, *self._path.glob("*.log")) if path.exists()]
        return "\n".join(f"{path.name}: {path.read_text()[-1000:]}" for path in logs)

    def _pid(self, name: str) -> int | None:
        """The daemon's process id, when that process is still the one that was started here."""
        try:
            pid = int((self._path / f"{name}.pid").read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if os.fsencode(self._path / "ceph.conf") in arguments else None

    def _end(self, name: str) -> None:
        pid = self._pid(name)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self._pid(name) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(_POLL_S)


def _answers(endpoint: Endpoint) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        endpoint.client().list_buckets()
    except (BotoCoreError, ClientError):
        return False
    return True


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _class_directory() -> str:
    found = glob.glob("/usr/lib/*/rados-classes/libcls_rgw.so*")
    if not found:
        raise RgwError("the object store's class libcls_rgw is not installed")
    return os.path.dirname(found[0])


def _release() -> str:
    """Ceph's major version, as the monitor map wants it ("16")."""
    shown = subprocess.run(["ceph-mon", "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.split()[2].partition(".")[0]


def install() -> None:
    """Install the packages with apt-get; none of their services is started."""
    absent = [package for package in PACKAGES if not _is_installed(package)]
    if not absent:
        print("already installed:", *PACKAGES)
        return
    as_root: list[str] = [] if os.geteuid() == 0 else ["sudo"]
    # Debian asks this file whether a package may start its services; 101 is "no".
    makes_policy = not _POLICY.exists()
    if makes_policy:
        script = f"printf '#!/bin/sh\\nexit 101\\n' >{_POLICY} && chmod 755 {_POLICY}"
        subprocess.run([*as_root, "sh", "-c", script], check=True)
    try:
        apt_get = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        subprocess.run([*apt_get, "update"], check=True, stdin=subprocess.DEVNULL)
        command = [*apt_get, "install", "--yes", "--no-install-recommends", *absent]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    finally:
        if makes_policy:
            subprocess.run([*as_root, "rm", "-f", str(_POLICY)], check=True)


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat", "${Status}", package]
    shown = subprocess.run(query, capture_output=True, text=True, check=False)
    return shown.stdout == "install ok installed"


def _default_directory() -> Path:
    return Path(tempfile.gettempdir()) / f"fsspec-avroglob-rgw-{getpass.getuser()}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line described in the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.rgw")
    parser.add_argument("command", choices=["install", "start", "stop", "status"])
    parser.add_argument("--directory", type=Path, default=_default_directory())
    chosen = parser.parse_args(arguments)
    server = RgwServer(chosen.directory)
    try:
        match chosen.command:
            case "install":
                install()
            case "start":
                _start(server)
            case "stop":
                server.stop()
            case "status":
                _print_status(server)
    except (RgwError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _start(server: RgwServer) -> None:
    endpoint = server.endpoint()
    if endpoint is None or not _answers(endpoint):
        server.stop()
        endpoint = server.start()
    _print_endpoint(endpoint)


def _print_status(server: RgwServer) -> None:
    running = server.running()
    for name in reversed(DAEMONS):
        print(f"{name}: {running.get(name, '-')}")
    endpoint = server.endpoint()
    if endpoint is not None:
        _print_endpoint(endpoint)


def _print_endpoint(endpoint: Endpoint) -> None:
    scheme, _, rest = endpoint.url.partition("://")
    print(f"{scheme}://{endpoint.key}:{endpoint.secret}@{rest}")


if __name__ == "__main__":
    sys.exit(main())
