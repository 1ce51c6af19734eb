"""Addresses of either family, as the roles write them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[1]
ADDRESSES = {"db": "2001:db8::11", "cache": "2001:db8::21", "web": "2001:db8::31", "edge": "192.0.2.41"}
ASKED = {
    "caches": "{{ _uwsgi_django_memcached_servers }}",
    "hosts": "{{ site_hosts }}",
    "pool": "{{ lookup('ansible.builtin.template', template_root ~ '/nginx_lb/templates/upstream.conf.j2') }}",
}


def test_an_ipv6_address_stands_in_brackets_where_a_port_follows(tmp_path: Path) -> None:
    groups = {group: {"hosts": {f"{group}1": {"ansible_host": address}}} for group, address in ADDRESSES.items()}
    choices = {"site_domain": "people.test", "site_aliases": ["2001:db8::41"]}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups, "vars": choices}}))
    files = [str(PROJECT / "roles" / file) for file in ("uwsgi_django/vars/main.yml", "nginx_lb/defaults/main.yml")]
    tasks = [{"ansible.builtin.copy": {"content": "{{ asked | to_json }}", "dest": str(tmp_path / "found.json")}}]
    values = {"asked": ASKED, "template_root": str(PROJECT / "roles"), "nginx_lb_drained": [], "nginx_lb_staying": []}
    play = {
        "hosts": "web1", "gather_facts": False, "connection": "local", "roles": ["site", "app"],
        "vars_files": files, "vars": values, "tasks": tasks,
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = ["ansible-playbook", "-i", str(tmp_path / "hosts.yml"), str(tmp_path / "play.yml")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["caches"] == ["[2001:db8::21]:11211"]
    assert found["hosts"] == ["people.test", "[2001:db8::41]"]
    assert "server [2001:db8::31]:3031 " in found["pool"]
