"""Have another member lead etcd, where this host's database leads: DATABASE ETCD, the URLs of Patroni and etcd here.

A new leader of etcd gives every lease its whole time again. Were both leaders lost with one host, the database would be
without one for longer by as much.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

LIMIT = 3  # seconds


def _leads(patroni: str) -> bool:
    """Whether this host's database leads and has a synchronous standby.

    A leader that is new asks etcd for much, and what etcd answers with an error while its own leadership moves would be
    asked again at Patroni's next look only: the promotion itself.
    """
    with urllib.request.urlopen(f"{patroni}/patroni", timeout=LIMIT) as answer:  # noqa: S310 - the role's own URL
        own = json.load(answer)
    standbys = own.get("replication", [])
    return own.get("role") in ("primary", "master") and any(standby["sync_state"] == "sync" for standby in standbys)


def _ask(etcd: str, path: str, **body: object) -> dict[str, Any]:
    request = urllib.request.Request(f"{etcd}/v3/{path}", json.dumps(body).encode())  # noqa: S310 - the role's own URL
    with urllib.request.urlopen(request, timeout=LIMIT) as answer:  # noqa: S310 - the role's own URL
        return dict(json.load(answer))


def main(patroni: str, etcd: str) -> None:
    """Ask both, and move leadership of etcd where it is here too; URLError when one of them does not answer."""
    if not _leads(patroni):
        return
    status = _ask(etcd, "maintenance/status")
    own = status["header"]["member_id"]
    if status["leader"] != own:
        return
    others = [member["ID"] for member in _ask(etcd, "cluster/member/list")["members"] if member["ID"] != own]
    # One that is away is refused, and the next one asked.
    for other in others:
        try:
            _ask(etcd, "maintenance/transfer-leadership", targetID=other)
        except urllib.error.URLError as error:
            print(f"{other} does not take over leadership of etcd: {error}")
        else:
            print(f"{other} leads etcd now")
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
