"""Give up a leader of the database whose host is silent: NAME SCOPE LOOKS ETCD..., of this member of Patroni's.

Patroni waits until the leader's lease has run out, which it takes no less than 20 s for, as a leader that is only slow
must have ended by then. A whole host that is gone can be told from that: nothing answers at its address, not even its
kernel, which mostly accepts or refuses a connection however busy the host is. When that is so at LOOKS looks in a row,
a second or more apart, the other standbys hear nothing either, and the leader does not say in etcd that it is there,
then the synchronous standby takes the leader's lease away, and Patroni goes on as ever.

Every member that did not hear it wakes its own Patroni from then on, until somebody leads or for WAKES looks: one that
had its news from etcd on the lost host would not hear of this until it looks by itself.

Should the leader live all the same, cut off from etcd as well, it acknowledges nothing from then on: its writes wait
for the standby that was synchronous, which leads. It could only let that go by a change of etcd's list of synchronous
standbys, and any that it has begun is refused, as that is written anew in the same transaction.
"""

from __future__ import annotations

import base64
import errno
import http.client
import json
import socket
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LOOK = 1.0  # seconds from one look to the next at least, and for an answer
WAKE = 5.0  # seconds for Patroni's answer, which may ask etcd for it
WAKES = 15  # looks, after which a cluster that can have no leader is left to Patroni
REFRESH = 5.0  # seconds after which etcd is asked anew who leads
REMEMBERED = 4  # seconds for which others believe what a member tells
# What a network says of a host that is not there; of other faults this host has its own.
GONE = (errno.EHOSTUNREACH, errno.EHOSTDOWN)
FAULTS = (OSError, http.client.HTTPException, ValueError, KeyError)


@dataclass(frozen=True)
class Leader:
    """A leader, as etcd knows it."""

    name: str
    addresses: tuple[tuple[str, int], ...]  # Patroni's and PostgreSQL's
    revision: str  # of the key with its name


@dataclass(frozen=True)
class Cluster:
    """What etcd knows of a cluster."""

    leader: Leader | None
    synchronous: frozenset[str]
    list_of_them: tuple[str, str]  # the value of that key, and its revision
    members: dict[str, str]  # by name, the URL of its Patroni
    deaf: frozenset[str]  # members that don't hear the leader
    paused: bool  # Patroni decides nothing


class Etcd:
    """Keys of one cluster, from whichever member answers; all methods raise one of FAULTS when none does."""

    def __init__(self, members: list[str], scope: str) -> None:
        self._members = members
        self._patroni = f"/hugproof/{scope}/"
        self._deaf = f"/hugproof.deaf/{scope}/"
        self._here = f"/hugproof.here/{scope}/"

    def cluster(self) -> Cluster:
        """Who leads, and who else there is."""
        keys = self._below(self._patroni)
        name = keys["leader"]["value"] if "leader" in keys else ""
        members = {
            key.removeprefix("members/"): json.loads(entry["value"])
            for key, entry in keys.items()
            if key.startswith("members/")
        }
        leader = None
        if member := members.get(name):
            places = [urlsplit(member[part]) for part in ("api_url", "conn_url")]
            addresses = tuple((str(place.hostname), int(place.port or 0)) for place in places)
            leader = Leader(name, addresses, keys["leader"]["mod_revision"])
        sync, config = (json.loads(keys[key]["value"]) if key in keys else {} for key in ("sync", "config"))
        return Cluster(
            leader=leader,
            synchronous=frozenset((sync.get("sync_standby") or "").split(",")),
            list_of_them=(keys["sync"]["value"], keys["sync"]["mod_revision"]) if "sync" in keys else ("", "0"),
            members={one: str(member.get("api_url", "")).removesuffix("/patroni") for one, member in members.items()},
            deaf=self.deaf(name),
            paused=bool(config.get("pause")),
        )

    def deaf(self, leader: str) -> frozenset[str]:
        """Members that don't hear a leader."""
        return frozenset(self._below(f"{self._deaf}{leader}/"))

    def does_not_hear(self, leader: str, name: str) -> None:
        """A member does not hear a leader; forgotten soon."""
        self._tell(f"{self._deaf}{leader}/{name}")

    def is_here(self, leader: str) -> None:
        """A leader whom somebody does not hear is there; forgotten soon."""
        self._tell(self._here + leader)

    def give_up(self, cluster: Cluster, leader: Leader) -> bool:
        """Take the lease away, unless it is another's, another is synchronous, or the leader is there."""
        lease, standbys = f"{self._patroni}leader", f"{self._patroni}sync"
        value, revision = cluster.list_of_them
        unchanged = [
            {"key": _coded(key), "target": "MOD", "result": "EQUAL", "mod_revision": expected}
            for key, expected in ((lease, leader.revision), (standbys, revision), (self._here + leader.name, "0"))
        ]
        changes = [
            {"request_delete_range": {"key": _coded(lease)}},
            {"request_put": {"key": _coded(standbys), "value": _coded(value)}},
        ]
        return bool(self._ask("kv/txn", compare=unchanged, success=changes).get("succeeded"))

    def _tell(self, key: str) -> None:
        lease = self._ask("lease/grant", TTL=REMEMBERED)["ID"]
        self._ask("kv/put", key=_coded(key), value="", lease=lease)

    def _below(self, prefix: str) -> dict[str, dict[str, Any]]:
        found = self._ask("kv/range", key=_coded(prefix), range_end=_coded(prefix[:-1] + chr(ord(prefix[-1]) + 1)))
        return {
            _decoded(one["key"]).removeprefix(prefix): one | {"value": _decoded(one.get("value", ""))}
            for one in found.get("kvs", [])
        }

    def _ask(self, path: str, **body: object) -> dict[str, Any]:
        fault: Exception = OSError("no member is known")
        for _ in self._members:
            url = f"http://{self._members[0]}/v3/{path}"
            request = urllib.request.Request(url, json.dumps(body).encode())
            try:
                with urllib.request.urlopen(request, timeout=LOOK) as answer:  # noqa: S310 - the role's own URL
                    return dict(json.load(answer))
            except FAULTS as error:
                fault = error
                self._members = [*self._members[1:], self._members[0]]
        raise fault


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


def hears(address: tuple[str, int]) -> bool | None:
    """Whether a host is there: its kernel accepts a connection, or refuses it. None when this host can not tell."""
    try:
        socket.create_connection(address, timeout=LOOK).close()
    except (TimeoutError, ConnectionError) as error:
        return isinstance(error, ConnectionError)
    except OSError as error:
        return False if error.errno in GONE else None
    return True


def wake(patroni: str) -> None:
    """Patroni looks at everything after a change of the settings of all, even if it changes nothing; OSError."""
    request = urllib.request.Request(  # noqa: S310 - the role's own URL
        f"{patroni}/config", json.dumps({"hugproof": None}).encode(), method="PATCH"
    )
    with urllib.request.urlopen(request, timeout=WAKE):  # noqa: S310 - the role's own URL
        pass


class Watch:
    """One member's looks at the leader."""

    def __init__(self, name: str, looks: int, etcd: Etcd) -> None:
        self._name, self._looks, self._etcd = name, looks, etcd
        self._cluster: Cluster | None = None
        self._asked = 0.0
        # A leader that has never been heard may be kept from this host alone, by a firewall for one.
        self._heard = ""
        self._unheard = 0  # looks in a row
        self._wakes = 0  # left for Patroni, while nobody leads after a leader that was not heard

    def look(self) -> str:
        """Once; returns what there is to say. Raises one of FAULTS when etcd does not answer."""
        if self._cluster is None or self._unheard or time.monotonic() - self._asked > REFRESH:
            try:
                self._cluster, self._asked = self._etcd.cluster(), time.monotonic()
            except FAULTS:
                # Who does not reach etcd may be cut off himself.
                self._unheard = 0
                raise
        cluster, leader = self._cluster, self._cluster.leader
        if leader is None:
            return self._nobody_leads(cluster)
        if leader.name == self._name:
            return self._is_here()
        # One and the other, as Patroni accepts few at a time.
        heard = hears(leader.addresses[self._unheard % len(leader.addresses)])
        if heard:
            self._heard, self._wakes = leader.name, 0
        if heard is not False:
            self._unheard = 0
            return ""
        if leader.name != self._heard:
            return f"{leader.name} leads, and has not been heard yet"
        self._unheard += 1
        # In time for the others, and for the leader.
        if self._unheard >= self._looks - 2:
            self._wakes = WAKES
            self._etcd.does_not_hear(leader.name, self._name)
        return self._silent(cluster, leader) if self._unheard >= self._looks and not cluster.paused else ""

    def _nobody_leads(self, cluster: Cluster) -> str:
        self._unheard = 0
        if not self._wakes or cluster.paused or self._name not in cluster.members:
            return ""
        self._wakes -= 1
        self._cluster = None
        try:
            wake(cluster.members[self._name])
        except FAULTS as error:
            return f"nobody leads, and Patroni can not be told: {error!r}"
        return "nobody leads: Patroni is told"

    def _is_here(self) -> str:
        self._heard, self._unheard, self._wakes = "", 0, 0
        if not self._etcd.deaf(self._name):
            return ""
        self._etcd.is_here(self._name)
        return "somebody does not hear this host, which leads on"

    def _silent(self, cluster: Cluster, leader: Leader) -> str:
        """The leader is not heard here."""
        if hearing := cluster.members.keys() - cluster.deaf - {self._name, leader.name}:
            return f"{leader.name} is not heard here, and leads on: {', '.join(sorted(hearing))} may hear it"
        if self._name not in cluster.synchronous:
            return ""
        if not self._etcd.give_up(cluster, leader):
            return f"{leader.name} is heard by nobody, and leads on: it says that it is there, or something has changed"
        self._heard, self._unheard, self._cluster = "", 0, None
        return f"{leader.name} is heard by nobody, and leads no more"


def main(name: str, scope: str, looks: str, *etcd: str) -> None:
    """For ever."""
    watch = Watch(name, int(looks), Etcd(list(etcd), scope))
    said = ""
    while True:
        began = time.monotonic()
        try:
            says = watch.look()
        except FAULTS as error:
            says = f"etcd does not answer: {error!r}"
        if says and says != said:
            print(says, flush=True)
        said = says
        time.sleep(max(0.0, began + LOOK - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
