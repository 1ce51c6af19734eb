"""The outer machine: what it must have for a lab, and what of its settings the hosts get."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab import apt, paths

# What the lab calls, by the Debian package that has it.
REQUIREMENTS = {
    "mmdebstrap": ("mmdebstrap",),
    "gpg": ("gpg",),
    "systemd-container": ("systemd-nspawn",),
    "nftables": ("nft",),
    "iproute2": ("ip", "ss"),
    "openssh-client": ("ssh-keygen", "ssh"),
    "util-linux": ("unshare",),
    "debian-archive-keyring": (apt.KEYRING,),
}
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_LOCAL_CAS = Path("/usr/local/share/ca-certificates")
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
_PIP = ("index_url", "extra_index_url", "trusted_host", "proxy")


def faults() -> list[str]:
    """All that keeps this machine from running a lab, in words; empty when nothing does."""
    if not sys.platform.startswith("linux"):
        return ["A lab needs Linux: its hosts are systemd-nspawn containers."]
    missing = [package for package, needs in REQUIREMENTS.items() if not all(_is_there(need) for need in needs)]
    found = [f"Debian packages are missing: apt-get install {' '.join(missing)}"] if missing else []
    machine_id = Path("/etc/machine-id")
    if not machine_id.exists() or len(machine_id.read_text().strip()) != 32:
        found.append("The machine has no /etc/machine-id, which systemd-nspawn needs: run systemd-machine-id-setup.")
    if "util-linux" not in missing and (fault := _namespace_fault()):
        found.append(fault)
    return found


def _is_there(need: str) -> bool:
    return Path(need).exists() if need.startswith("/") else shutil.which(need) is not None


def _namespace_fault() -> str | None:
    """Try what every host needs: namespaces, and an overlay on the file system of the disks."""
    trial = paths.DISKS / ".trial"
    shutil.rmtree(trial, ignore_errors=True)
    for name in ("lower", "upper", "work", "root"):
        (trial / name).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={trial}/lower,upperdir={trial}/upper,workdir={trial}/work"
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation", "private"]
    try:
        if error := _error_of([*unshare, "true"]):
            return f"This machine does not allow new namespaces: {error}"
        if error := _error_of([*unshare, "mount", "-t", "overlay", "lab-trial", "-o", options, f"{trial}/root"]):
            return f"The file system of {paths.DISKS} can not carry overlays, which the hosts' disks are: {error}"
        return None
    finally:
        shutil.rmtree(trial)


def _error_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr.strip() or f"exit status {done.returncode}" if done.returncode else ""


def user_settings() -> dict[str, str]:
    """What of the user's environment a host needs to reach the outside: proxies, pip's index, a CA bundle."""
    names = [*_PROXIES, *(name.upper() for name in _PROXIES), *(f"PIP_{name.upper()}" for name in _PIP)]
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        if (bundle := os.environ.get(name)) and Path(bundle).is_file():
            return found | {"PIP_CERT": str(Path(bundle).resolve())}
    return found


def resolv_conf() -> str | None:
    """The resolver configuration that works from a host too: one whose servers are not on loopback. None without."""
    for file in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if not file.exists():
            continue
        text = file.read_text()
        servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver") and " " in line]
        if servers and not any(server.startswith("127.") or server == "::1" for server in servers):
            return text
    return None


def host_files(release: str, settings: dict[str, str]) -> dict[str, str]:
    """The files, by path in the host, that let a host reach the archive, the index and the rest as we do."""
    files = {"etc/apt/apt.conf.d/80lab-outer": "\n".join(apt.settings()) + "\n"}
    if sources := apt.sources(release):
        files["etc/apt/sources.list"] = sources
    if resolver := resolv_conf():
        files["etc/resolv.conf"] = resolver
    if proxies := [f"{name}={value}\n" for name, value in settings.items() if name.lower() in _PROXIES]:
        files["etc/environment"] = "".join(proxies)
    pip = {
        name.replace("_", "-"): settings[f"PIP_{name.upper()}"] for name in _PIP if f"PIP_{name.upper()}" in settings
    }
    proxy = settings.get("https_proxy") or settings.get("HTTPS_PROXY")
    if proxy:
        pip.setdefault("proxy", proxy)
    if "PIP_CERT" in settings or any(_local_cas()):
        # The whole bundle, for now; the single certificates are there for the next update-ca-certificates.
        files[str(_BUNDLE)[1:]] = Path(settings.get("PIP_CERT", _BUNDLE)).read_text()
        files |= {str(certificate)[1:]: certificate.read_text() for certificate in _local_cas()}
        pip["cert"] = str(_BUNDLE)
    if pip:
        files["etc/pip.conf"] = "[global]\n" + "".join(f"{name} = {value}\n" for name, value in pip.items())
    return files


def host_links() -> dict[str, str]:
    """The links, by path in the host, under which OpenSSL finds the outer machine's own CAs."""
    return {
        str(link)[1:]: str(link.readlink())
        for link in _BUNDLE.parent.glob("*")
        if link.is_symlink() and link.resolve().is_relative_to(_LOCAL_CAS)
    }


def _local_cas() -> Iterator[Path]:
    return _LOCAL_CAS.rglob("*.crt")
