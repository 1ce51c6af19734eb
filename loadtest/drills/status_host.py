"""What a host says of its part in the cluster, as JSON; arguments: the units that it has to run, and its address."""

import json
import subprocess
import sys
import urllib.request
from typing import Any

*UNITS, ADDRESS = sys.argv[1:]
PATRONI, ETCD = f"http://{ADDRESS}:8008", f"http://{ADDRESS}:2379/health"


def said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True).stdout


def asked(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310
            return json.load(answer)
    except (OSError, ValueError):
        return None


found: dict[str, Any] = {"units": {unit: said("systemctl", "is-active", unit).split() or ["missing"] for unit in UNITS}}
if "patroni@*" in UNITS:
    found["members"] = (asked(f"{PATRONI}/cluster") or {}).get("members", [])
    # Nobody but the leader answers to this.
    if leading := asked(f"{PATRONI}/leader"):
        copying = [one["application_name"] for one in leading.get("replication", []) if one["state"] == "streaming"]
        found["copying"] = copying
if "etcd" in UNITS:
    found["etcd"] = str((asked(ETCD) or {}).get("health")).lower() == "true"
found["addresses"] = said("ip", "-brief", "address", "show", "scope", "global")
print(json.dumps(found))
