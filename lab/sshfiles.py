"""The user's files for logging into a lab's hosts, in the clone's `.lab`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.inventory import LOGIN_USER
from lab.locks import hold


@dataclass(frozen=True)
class SshFiles:
    """One key pair a clone; known_hosts and ssh_config a lab; `.lab/ssh_config`, which includes them all."""

    repository: Path
    subnet: str

    @property
    def _top(self) -> Path:
        return self.repository / ".lab"

    @property
    def _directory(self) -> Path:
        return self._top / self.subnet.rpartition(".")[0]

    @property
    def config(self) -> Path:
        """The lab's own ssh_config; in the clone's, a host name that several labs have is the first one's."""
        return self._directory / "ssh_config"

    @property
    def _key(self) -> Path:
        return self._top / "id_ed25519"

    def public_key(self) -> str:
        """Return the clone's public key; the pair is made on first use.

        Raises LabError when ssh-keygen is missing.
        """
        self._top.mkdir(exist_ok=True)
        config, every = self._top / "ssh_config", f'Include "{self._top}/*/ssh_config"\n'
        public = self._key.with_suffix(".pub")
        with hold(self._top / "key.lock", "the key pair"):
            if not config.exists() or config.read_text() != every:  # other labs' commands may read it just now
                config.write_text(every)
            if not public.exists() or not self._key.exists():
                if not shutil.which("ssh-keygen"):
                    raise LabError("ssh-keygen is missing: apt-get install openssh-client")
                self._key.unlink(missing_ok=True)
                command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(self._key)]
                subprocess.run(command, check=True)
            return public.read_text().strip()

    def write(self, hosts: list[dict[str, str]]) -> None:
        """Write how to reach the hosts, given as `name`, `address` and `host_key`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        known_hosts = self._directory / "known_hosts"
        known_hosts.write_text("".join(f"{h['name']},{h['address']} {h['host_key']}\n" for h in hosts))
        names = " ".join(f"{host['name']} {host['address']}" for host in hosts)
        lines = [f"Host {host['name']}\n  HostName {host['address']}\n" for host in hosts]
        lines.append(
            f"Host {names}\n"
            f"  User {LOGIN_USER}\n"
            f'  IdentityFile "{self._key}"\n'
            "  IdentitiesOnly yes\n"
            f'  UserKnownHostsFile "{known_hosts}"\n'
            "  StrictHostKeyChecking yes\n"
            "  # The post-quantum exchange doubles the CPU time of a handshake; in a lab it protects nothing.\n"
            "  KexAlgorithms curve25519-sha256\n"
            "  # A host whose plug was pulled is found out soon.\n"
            "  ServerAliveInterval 5\n"
        )
        self.config.write_text("".join(lines))

    def remove(self) -> None:
        """Remove a lab's files; the key pair stays for the clone's other labs."""
        shutil.rmtree(self._directory, ignore_errors=True)
