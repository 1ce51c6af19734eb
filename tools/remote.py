"""Logs of all hosts in one terminal, and a shell of the application, over the ssh that Ansible would use."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

BIN = Path(sys.executable).parent
# Rendered by Ansible itself, for which its own settings, vaults and Jinja are no secret.
LOGIN = {
    "host": "ansible_host | default(inventory_hostname)",
    "port": "ansible_port | default('')",
    "user": "ansible_user | default('')",
    "key": "ansible_ssh_private_key_file | default('')",
    "options": (
        "[ansible_ssh_args | default(lookup('ansible.builtin.config', 'ssh_args', plugin_type='connection',"
        " plugin_name='ssh')), ansible_ssh_common_args | default(''),"
        " ansible_ssh_extra_args | default('')] | join(' ')"
    ),
}
# Follows the journal of the site's units, and the files that nginx and PostgreSQL log to. Its input ends with the
# connection, however that ends, and then it does.
FOLLOW = r"""
for releases in /srv/*/releases; do
    [ -d "$releases" ] || continue
    name=$(basename "${releases%/releases}")
    set -- "--unit=$name" "--unit=$name-*" "$@"
done
journalctl --follow --no-hostname --lines=10 --unit=nginx --unit='varnish*' --unit=memcached --unit='postgresql@*' \
    "$@" &
children=$!
for log in /var/log/nginx/access.log /var/log/nginx/error.log /var/log/postgresql/*.log; do
    [ -e "$log" ] || continue
    tail --lines=10 --follow=name --retry "$log" 2>/dev/null &
    children="$children $!"
done
cat >/dev/null
kill $children
"""


def logins(inventory: str, pattern: str) -> dict[str, list[str]]:
    """How ssh reaches each host that Ansible's pattern means. Raises SystemExit with Ansible's words when it can't."""
    message = "msg={{ {" + ", ".join(f"'{name}': {value} | string" for name, value in LOGIN.items()) + "} }}"
    command = [BIN / "ansible", "-i", inventory, pattern, "-o", "-m", "ansible.builtin.debug", "-a", message]
    plain = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=plain, check=False)
    found = dict(re.findall(r"^(\S+) \| SUCCESS => (\{.*\})$", done.stdout, re.MULTILINE))
    if done.returncode:
        sys.exit(f"Ansible does not know how to reach '{pattern}' of {inventory}:\n{done.stdout}{done.stderr}")
    if not found:
        sys.exit(f"No host of {inventory} is '{pattern}'.")
    return {name: ssh(json.loads(found[name])["msg"]) for name in sorted(found)}


def ssh(login: dict[str, str]) -> list[str]:
    """The command, but for what is to be run there: over a connection of its own, which ends with it."""
    command = ["ssh", "-o", "ControlPath=none", "-o", "ControlMaster=no", *shlex.split(login["options"])]
    for flag, value in (("-p", login["port"]), ("-l", login["user"]), ("-i", login["key"])):
        command += [flag, value] if value else []
    return [*command, login["host"]]


def as_root(*command: str) -> str:
    """The words for a remote shell to run a command as root, where need be with a sudo that asks nothing."""
    return f"$([ $(id -u) = 0 ] || echo sudo -n) {shlex.join(command)}"


def follow(hosts: dict[str, list[str]], arguments: list[str]) -> None:
    """Print the hosts' logs, each line after the name of its host, until all have ended or Ctrl-C is pressed."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the first may have been ignored by who started this
        signal.signal(number, signal.default_int_handler)
    width = max(map(len, hosts))
    remote = as_root("sh", "-c", FOLLOW, "sh", *arguments)
    streams = {
        name: subprocess.Popen(
            [*command, remote], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", start_new_session=True,  # Ctrl-C is for this program alone
        )
        for name, command in hosts.items()
    }  # fmt: skip

    def print_lines(name: str, stream: subprocess.Popen[str]) -> None:
        for line in stream.stdout or ():
            print(f"{name:{width}} | {line}", end="", flush=True)

    readers = [Thread(target=print_lines, args=stream, daemon=True) for stream in streams.items()]
    for reader in readers:
        reader.start()
    try:
        for reader in readers:
            reader.join()
        sys.exit("All connections have ended.")
    except KeyboardInterrupt:
        pass
    finally:
        for stream in streams.values():
            if stream.stdin:
                stream.stdin.close()
            stream.terminate()  # where the host does not answer any more
        for stream in streams.values():
            stream.wait()


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="remote", description=__doc__)
    parser.add_argument("-i", dest="inventory", required=True)
    parser.add_argument("command", choices=["logs", "shell"])
    parser.add_argument("hosts", help="a host, a group or a pattern of Ansible's")
    parser.add_argument("arguments", nargs="*", help="after --: for journalctl, or for manage.py")
    given = parser.parse_args()
    found = logins(given.inventory, given.hosts)
    if given.command == "logs":
        follow(found, given.arguments)
    else:
        command = next(iter(found.values()))
        asked = as_root("hugproof-manage", *given.arguments)
        sys.exit(subprocess.run([command[0], "-t", *command[1:], asked], check=False).returncode)


if __name__ == "__main__":
    main()
