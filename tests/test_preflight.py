"""Bad input is told in the user's terms, with what to do about it, before a host is asked anything.

The hosts of these inventories do not exist (RFC 5737): a run that tried one would say UNREACHABLE.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from loading import load

PROJECT = Path(__file__).resolve().parents[1]
GOOD_HOSTS: dict[str, dict[str, dict[str, str]]] = {
    "db": {"db1": {"ansible_host": "192.0.2.11"}},
    "cache": {"cache1": {"ansible_host": "192.0.2.21"}},
    "web": {"web1": {"ansible_host": "192.0.2.31"}, "web2": {"ansible_host": "192.0.2.32"}},
    "edge": {"edge1": {"ansible_host": "192.0.2.41"}},
}
GOOD_CHOICES: dict[str, Any] = {
    "site_domain": "people.example.org",
    "app_secret_key": "k" * 50,
    "app_database_password": "p" * 32,
}
CLEAR = {"command": "clearsessions", "on_calendar": "daily"}

Refusal = Callable[..., str]

preflight = load("preflight/filter_plugins/preflight.py")


@pytest.fixture
def refused(tmp_path: Path) -> Refusal:
    """Converge a good inventory with something changed; return what is said, with its lines joined."""

    def converge(rung: str = "cached", groups: dict[str, Any] | None = None, **choices: object) -> str:
        hosts = {group: {"hosts": members} for group, members in (GOOD_HOSTS | (groups or {})).items()}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        (tmp_path / "group_vars").mkdir()
        chosen = {name: value for name, value in (GOOD_CHOICES | choices).items() if value is not None}
        (tmp_path / "group_vars" / "all.yml").write_text(yaml.safe_dump(chosen))
        done = playbook(tmp_path, rung)
        assert done.returncode != 0, done.stdout
        assert "UNREACHABLE" not in done.stdout, done.stdout
        return " ".join(done.stdout.split())

    return converge


def playbook(inventory: Path, rung: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["ansible-playbook", "-i", str(inventory), *arguments, f"playbooks/{rung}.yml"]
    return subprocess.run(
        command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_good_input_goes_on_to_the_hosts(tmp_path: Path) -> None:
    """The control of all tests below: nothing but the missing hosts keeps this run from converging."""
    hosts = {group: {"hosts": members} for group, members in GOOD_HOSTS.items()}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts, "vars": GOOD_CHOICES}}))
    done = playbook(tmp_path, "cached", "-e", json.dumps({"ansible_ssh_extra_args": "-o ConnectTimeout=1"}))
    assert "UNREACHABLE" in done.stdout
    assert "failed=0" in done.stdout


@pytest.mark.parametrize("group", ["db", "cache", "web", "edge"])
def test_an_empty_group(refused: Refusal, group: str, tmp_path: Path) -> None:
    said = refused(groups={group: {}})
    assert f"Group '{group}' is empty: the cached rung needs at least one host in it" in said
    assert str(tmp_path) in said


def members(group: str, count: int) -> dict[str, dict[str, str]]:
    return {f"{group}{number}": {"ansible_host": f"192.0.2.{number}"} for number in range(1, count + 1)}


@pytest.mark.parametrize(
    ("databases", "deciding", "told"),
    [
        (3, 0, "Group 'dcs' has 0 hosts, and db has 3: which of them leads is decided by a majority of 3 or 5 hosts"),
        (2, 1, "fewer survive no loss, and more only cost time. They may be hosts of other groups"),
        (3, 2, "an even number survives no more losses than one host less."),
        (3, 4, "an even number survives no more losses than one host less."),
        (3, 7, "fewer survive no loss, and more only cost time."),
        (1, 3, "Group 'dcs' has 3 hosts, and db has one: there is nothing to decide."),
    ],
)
def test_a_number_of_deciding_hosts_that_can_not_be_meant(
    refused: Refusal, databases: int, deciding: int, told: str
) -> None:
    assert told in refused(groups={"db": members("a", databases), "dcs": members("a", deciding)})


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({}, "patroni_password is not set, or shorter than 8 characters"),
        (
            {"patroni_ttl": 15},
            "patroni_ttl is 15, patroni_loop_wait 8, patroni_retry_timeout 6: write a patroni_ttl of",
        ),
        ({"patroni_loop_wait": 9}, "and of at least loop_wait + 2 * retry_timeout."),
        ({"patroni_silent_seconds": 2}, "patroni_silent_seconds is 2: write 3 or more"),
    ],
    ids=["no password", "too short", "does not fit", "hasty"],
)
def test_a_choice_for_a_database_cluster_that_can_not_be_meant(
    refused: Refusal, choices: dict[str, object], told: str
) -> None:
    password = {"patroni_password": "p" * 32} if choices else {}
    assert told in refused(groups={"db": members("a", 3), "dcs": members("a", 3)}, **password, **choices)


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"site_queue": 5000}, "site_queue is 5000: write 2048 or less"),
        ({"uwsgi_django_watchdog": 5}, "uwsgi_django_watchdog is 5: write 30 or more"),
        ({"app_never_cached": ["admin"]}, "app_never_cached has 'admin': write a path, which begins with /."),
        (
            {"app_hooks": {"before_lunch": "README.md"}},
            "app_hooks has 'before_lunch: README.md': write one of before_build,",
        ),
        ({"app_hooks": {"before_build": "no/such.yml"}}, "and the path of a file of Ansible tasks."),
        ({"app_hooks": {"before_build": "inventories/lab/hosts.yml"}}, "Ansible tasks. It is no list of tasks."),
        ({"app_deploy_key": "~/.ssh/deploy"}, "app_deploy_key is no private key: write the key itself"),
        ({"app_wsgi_module": "config.wsgi:application"}, "Leave out what stands for the callable at its end."),
        (
            {"site_domain": "people..example.org"},
            "'people..example.org' (site_domain, site_aliases) is not a host name",
        ),
        ({"site_domain": "*.example.org"}, "letters, digits, hyphens and dots alone"),
        (
            {"site_pgbouncer": True, "pgbouncer_pool_size": 190},
            "pgbouncer_pool_size is 190, of 200 connections that PostgreSQL has (postgres_max_connections): leave 20",
        ),
        (
            {"site_pgbouncer": True, "postgres_max_connections": 30},
            "postgres_max_connections is 30: with site_pgbouncer",
        ),
        (
            {"site_pgbouncer": True, "app_environment": {"PGOPTIONS": "-c statement_timeout=5s"}},
            "app_environment has PGOPTIONS, which PgBouncer (site_pgbouncer) takes from nobody",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_choice_that_can_not_be_meant(refused: Refusal, choices: dict[str, object], told: str) -> None:
    assert told in refused(**choices)


def test_a_pool_for_some_hosts_alone(refused: Refusal) -> None:
    """The database hosts would take away what the web hosts go on using."""
    pooled = {name: {**values, "site_pgbouncer": True} for name, values in GOOD_HOSTS["web"].items()}
    assert "site_pgbouncer is not the same on all hosts: write it once, in" in refused(groups={"web": pooled})


BACKUP = {"backup1": {"ansible_host": "192.0.2.51"}}
DATABASES = {f"db{number}": {"ansible_host": f"192.0.2.{number}"} for number in (1, 2, 3)}
PASSPHRASE = {"pgbackrest_passphrase": "s" * 16}
S3 = {"site_backup_repository": "s3"}
BUCKET = {f"pgbackrest_s3_{name}": "x" for name in ("bucket", "endpoint", "region", "key", "key_secret")}


@pytest.mark.parametrize(
    ("groups", "choices", "told"),
    [
        ({"backup": BACKUP | {"backup2": {"ansible_host": "192.0.2.52"}}}, PASSPHRASE, "Group 'backup' has 2 hosts:"),
        ({"backup": GOOD_HOSTS["db"]}, PASSPHRASE, "db1 is in db and in backup: the backups would be lost with"),
        ({"backup": BACKUP}, {}, "pgbackrest_passphrase is not set, or shorter than 16 characters"),
        ({"backup": BACKUP}, {"pgbackrest_passphrase": "s" * 15}, "pgbackrest_passphrase is not set, or shorter"),
        ({"backup": BACKUP}, {"pgbackrest_passphrase": "sixteen and more"}, "pgbackrest_passphrase has spaces"),
        ({}, S3, "pgbackrest_passphrase is not set"),
        ({}, S3 | PASSPHRASE | {"pgbackrest_s3_bucket": "x"}, "is 's3', and pgbackrest_s3_endpoint, pgbackrest_s3"),
        (
            {"db": DATABASES, "dcs": DATABASES},
            S3 | PASSPHRASE | BUCKET,
            "db has 3 hosts: which of them leads may change, so a host of group backup has to ask",
        ),
        ({"backup": BACKUP}, PASSPHRASE | {"pgbackrest_retention_full": 0}, "pgbackrest_retention_full is '0': write"),
        ({"backup": BACKUP}, PASSPHRASE | {"site_backup_repository": "disk"}, "write one of host, s3."),
    ],
)
def test_backups_that_can_not_be_meant(
    refused: Refusal, groups: dict[str, Any], choices: dict[str, Any], told: str
) -> None:
    assert told in refused(groups=groups, **choices)


def test_variables_that_can_not_be_meant_are_told_all_at_once(refused: Refusal) -> None:
    said = refused(
        app_never_cache=["/x/"], uwsgi_django_processes=0, postgres_max_connections="many", site_memory_mb=-512,
        app_smoke_paths="/", app_hooks="hooks/", app_packages=5, app_celery_stop_timeout=0,
        app_periodic=["clearsessions"], app_purge_after_release="perhaps", site_certificate="letsencrypt",
        base_administrators=[{"name": "anna", "key": "no"}, {"name": "otto"}, {"name": "Anna B", "key": "x"}],
    )  # fmt: skip
    for told in (
        "There is no variable app_never_cache: write app_never_cached",
        "uwsgi_django_processes is '0': write a whole number, 1 or more.",
        "postgres_max_connections is 'many': write a whole number",
        "site_memory_mb is '-512': write a whole number, 1 or more.",
        "app_smoke_paths is '/': write a list.",
        "app_packages is '5': write a list.",
        "app_hooks is 'hooks/': write a dictionary, NAME: VALUE",
        "app_periodic is '['clearsessions']': write a dictionary",
        "app_celery_stop_timeout is '0': write a whole number, 1 or more.",
        "app_purge_after_release is 'perhaps': write a value of the kind bool.",
        "site_certificate is 'letsencrypt': write one of lab, files.",
        "the key of 'anna' is no public ssh key",
        "the key of 'otto' is no public ssh key",
        "base_administrators has the name 'Anna B'",
    ):
        assert told in said


def test_a_variable_without_a_value(tmp_path: Path) -> None:
    choices = {"site_domain": "people.example.org", "app_source": None, "app_secret_key": None, "app_hooks": None}
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"vars": choices, "children": {"web": {"hosts": GOOD_HOSTS["web"]}}}})
    )
    said = " ".join(playbook(tmp_path, "deploy").stdout.split())
    assert "app_secret_key is of another kind: write something, or leave the line out." in said
    assert "app_source is '': write something, or leave the line out." in said
    assert "app_hooks" not in said


def test_commands_that_can_not_be_meant(refused: Refusal) -> None:
    said = refused(
        app_release_commands=["check", {"check": "--deploy"}, ""],
        app_celery_beat=True,
        app_celery_arguments=["-c", "2\n"],
        app_periodic={
            "Clear it": CLEAR,
            "timeless": {"command": "clearsessions"},
            "short": "daily",
            "mixed": CLEAR | {"command": ["one", 2]},
            "four": CLEAR | {"on_calendar": 4},
        },
    )
    for told in (
        "app_release_commands has {'check': '--deploy'}: write a text, or a list of texts.",
        "app_release_commands has '': write",
        "app_celery_beat is true, and app_celery_app is not set",
        "app_celery_arguments: write a list of texts of one line",
        "app_periodic has the name 'Clear it': write 40 lower-case letters",
        "app_periodic: 'timeless' has command: write {command: COMMAND, on_calendar: TIME}, and nothing else.",
        "app_periodic: 'short' has 'daily': write {command: COMMAND, on_calendar",
        "app_periodic: the command of 'mixed' is ['one', 2]: write a text, or a list of texts.",
        "app_periodic: on_calendar of 'four' is 4: write a",
    ):
        assert told in said


def test_a_celery_application_that_is_none(refused: Refusal) -> None:
    assert "app_celery_app is 'my-site': write what `celery --app` takes, such as mysite" in refused(
        app_celery_app="my-site"
    )


def test_a_users_own_variable_may_look_like_ours(tmp_path: Path) -> None:
    """Only what is nearly one of ours is taken for a typing error."""
    hosts = {group: {"hosts": members} for group, members in GOOD_HOSTS.items()}
    zeros = {"uwsgi_django_releases_kept": 0, "uwsgi_django_watchdog": 0}
    choices = GOOD_CHOICES | {"app_team": "people", "site_owner": "us", **zeros}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts, "vars": choices}}))
    done = playbook(tmp_path, "cached", "-e", json.dumps({"ansible_ssh_extra_args": "-o ConnectTimeout=1"}))
    assert "UNREACHABLE" in done.stdout


@pytest.mark.parametrize(
    ("playbook", "host"),
    [("drain", None), ("drain", "web1,webb2"), ("undrain", "web9"), ("undrain", "web"), ("retire", "db1")],
)
def test_a_web_host_that_there_is_not(refused: Refusal, playbook: str, host: str | None) -> None:
    found = f"'{host}'" if host else "not set"
    assert (
        f"host is {found}: write the name of a web host, or several with commas between, such as -e host=web2 (the "
        "web hosts are web1, web2)."
    ) in refused(playbook, host=host)


def test_a_web_host_without_an_edge_to_drain_it_from(refused: Refusal) -> None:
    assert "There is no pool to drain a web host from" in refused("drain", groups={"edge": {}}, host="web2")


def test_a_reboot_that_can_not_be_meant(refused: Refusal) -> None:
    assert "base_reboot is 'sometimes': write needed, always or never." in refused(
        "upgrade_os", base_reboot="sometimes"
    )


@pytest.mark.parametrize(
    "choices",
    [{}, {"paths": ["/"], "everything": True}, {"everything": "all"}, {"paths": ["profile/7/"]}, {"hard": True}],
    ids=json.dumps,
)
def test_a_purge_that_can_not_be_meant(refused: Refusal, choices: dict[str, object]) -> None:
    assert """'{"paths": ["/", "/profile/7/"]}', or else -e everything=true""" in refused("purge", **choices)


def test_a_maintenance_that_can_not_be_meant(refused: Refusal) -> None:
    assert "state is 'of': write -e state=on or -e state=off." in refused("maintenance", state="of")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "{page} has 0 bytes: write some HTML, of at most 1048576 bytes."),
        (b"x" * 1048577, "{page} has 1048577 bytes:"),
        (b"{% load static %}<p>Closed", "{page} is a template, with {{% load static %}} in it,"),
        (b"Geschlo\xdfen", "{page} is no text in UTF-8."),
    ],
    ids=["empty", "too large", "a template", "another encoding"],
)
def test_an_error_page_that_can_not_be_served(tmp_path: Path, content: bytes, told: str) -> None:
    page = tmp_path / "closed.html"
    page.write_bytes(content)
    assert preflight.preflight_page(str(page)).startswith(told.format(page=page))


def test_an_error_page_that_is_not_there(refused: Refusal, tmp_path: Path) -> None:
    page = tmp_path / "closed.html"
    assert f"app_error_page is '{page}': there is no file {page}." in refused(app_error_page=str(page))


@pytest.mark.parametrize(("rung", "group"), [("runserver", "web"), ("uwsgi", "db"), ("balanced", "edge")])
def test_a_rung_that_lacks_a_group(refused: Refusal, rung: str, group: str) -> None:
    said = refused(rung, groups={group: {}})
    assert f"Group '{group}' is empty: the {rung} rung needs at least one host in it" in said


def test_a_misspelt_group(refused: Refusal) -> None:
    said = refused(groups={"webs": {"web3": {"ansible_host": "192.0.2.33"}}})
    assert "web3: in none of the groups db, cache, web, edge, dcs, backup. Is a group's name misspelt?" in said
    assert "The inventory's groups are cache, db, edge, web, webs" in said


def test_no_inventory_at_all(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all:\n")
    done = playbook(tmp_path, "cached")
    assert done.returncode != 0
    assert "The inventory has no host" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("name", "group"),
    [
        *((name, "web") for name in ("deploy", "rollback", "restart", "manage", "drain", "undrain", "upgrade_os")),
        ("purge", "edge"),
        ("maintenance", "edge"),
    ],
)
def test_a_playbook_for_a_group_without_hosts(refused: Refusal, name: str, group: str, tmp_path: Path) -> None:
    """Ansible itself would skip every play and succeed."""
    assert f"The group {group} has no host ({tmp_path})" in refused(name, groups={group: {}})


def test_two_hosts_with_one_address(refused: Refusal) -> None:
    said = refused(groups={"cache": {"cache1": {"ansible_host": "192.0.2.11"}}})
    assert "has the address '192.0.2.11': the firewall and the roles need an IP address that no other host has" in said


def test_a_queue_of_its_own_on_the_first_host(refused: Refusal) -> None:
    said = refused(groups={"db": {"db1": {"ansible_host": "192.0.2.11", "site_queue": 600}}})
    assert "write 2048 or less, once for all hosts" in said


def test_an_alias_that_is_empty(refused: Refusal) -> None:
    assert "'' (site_domain, site_aliases) is not a host name" in refused(site_aliases=[""])


def test_a_host_with_a_name_but_no_address(refused: Refusal) -> None:
    said = refused(groups={"edge": {"edge.example.org": {}}})
    assert "Host edge.example.org has the address 'edge.example.org'" in said
    assert "Set ansible_host, or `address` where its peers reach it by another one" in said


@pytest.mark.parametrize("value", [None, "", "short"], ids=["missing", "empty", "short"])
@pytest.mark.parametrize("name", ["app_secret_key", "app_database_password"])
def test_a_secret_that_is_not_set_or_too_short(refused: Refusal, tmp_path: Path, name: str, value: str | None) -> None:
    said = refused(**{name: value})
    assert f"{name} is not set, or shorter than" in said
    assert f"{tmp_path}/group_vars/all/vault.yml" in said


def test_a_domain_that_is_not_set(refused: Refusal) -> None:
    said = refused(site_domain=None)
    assert "site_domain is not set" in said
    assert "write the name visitors type in" in said


@pytest.mark.parametrize("name", ["My-App", "1people", "people.site", "postgres", "p" * 32])
def test_a_name_that_no_user_or_database_can_have(refused: Refusal, name: str) -> None:
    said = refused(app_name=name)
    assert f"app_name is '{name}': use at most 31 lower-case letters, digits and underscores" in said


def test_an_application_that_is_not_there(refused: Refusal, tmp_path: Path) -> None:
    source = tmp_path / "nowhere"
    assert f"app_source is '{source}': there is no directory {source}." in refused(app_source=str(source))


PROJECT_FILES = {
    "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')",
    "mysite/settings.py": "WSGI_APPLICATION = 'mysite.wsgi.application'",
    "mysite/wsgi.py": "",
    "requirements.txt": "Django~=5.2",
}


def write_project(directory: Path, **changed: str) -> str:
    """Write a small project, with other contents than PROJECT_FILES' for some paths."""
    for name, text in (PROJECT_FILES | changed).items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return str(directory)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("manage.py", "There is no manage.py in {source} (app_source), nor only one below it"),
        ("requirements.txt", "There are no requirements in {source}: write app_requirements, the path of a file there"),
        ("mysite/wsgi.py", "app_wsgi_module is 'mysite.wsgi': there is no such module in {source}."),
        ("mysite/settings.py", "app_settings_module is 'mysite.settings': there is no such module in {source}."),
    ],
)
def test_an_application_that_lacks_a_part(refused: Refusal, tmp_path: Path, missing: str, message: str) -> None:
    source = write_project(tmp_path / "source")
    (Path(source) / missing).unlink()
    assert message.format(source=source) in refused(app_source=source)


def test_settings_that_name_no_wsgi_application(refused: Refusal, tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", **{"mysite/settings.py": "DEBUG = True"})
    (Path(source) / "mysite/wsgi.py").unlink()
    assert f"The settings in {source} have no WSGI_APPLICATION: write app_wsgi_module." in refused(app_source=source)


def test_a_manage_py_that_names_no_settings(refused: Refusal, tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", **{"manage.py": "import sys"})
    (Path(source) / "mysite/settings.py").unlink()
    assert f"manage.py in {source} names no settings: write app_settings_module." in refused(app_source=source)


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        ("Pipfile.lock", "app_requirements is 'Pipfile.lock': write a file of requirements (.txt or .in)"),
        ("requirements/live.txt", "There is no requirements/live.txt in {source} (app_requirements, app_source)."),
    ],
)
def test_requirements_that_are_not_there(refused: Refusal, tmp_path: Path, requirements: str, message: str) -> None:
    source = write_project(tmp_path / "source")
    assert message.format(source=source) in refused(app_source=source, app_requirements=requirements)


def test_a_repository_that_git_can_not_get(refused: Refusal, tmp_path: Path) -> None:
    said = refused(app_source=f"file://{tmp_path}/nowhere.git")
    assert f"app_source is 'file://{tmp_path}/nowhere.git', app_version 'HEAD': git on the machine that runs" in said
    assert "A private repository wants app_deploy_key" in said
    assert "UNREACHABLE" not in said


def test_a_version_that_the_repository_has_not(refused: Refusal, tmp_path: Path) -> None:
    source = write_project(tmp_path / "source")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=First"]):
        subprocess.run(["git", "-C", source, "-c", "user.name=Ida", "-c", "user.email=ida@example.org", *command],
                       check=True)  # fmt: skip
    said = refused(app_source=f"file://{source}/.git", app_version="v9")
    assert "app_version 'v9'" in said
    assert "app_version has to be a branch, a tag or a whole commit of it." in said
    assert "app_deploy_key" not in said


def test_a_token_in_the_repositorys_address_is_not_told(refused: Refusal) -> None:
    said = refused(app_source="https://ida:s3cr3ttoken@127.0.0.1:1/mysite.git")
    assert "app_source is 'https://***@127.0.0.1:1/mysite.git'" in said
    assert "s3cr3ttoken" not in said


@pytest.mark.parametrize("requirements", [[None], [{"Django": "5.2"}], {"Django": "5.2"}, 5.2])
def test_requirements_that_are_no_texts(refused: Refusal, tmp_path: Path, requirements: object) -> None:
    said = refused(app_source=write_project(tmp_path / "source"), app_requirements=requirements)
    assert f"app_requirements is {json.dumps(requirements)}: write a path, or a list of texts" in said


def test_uploads_that_other_web_hosts_would_not_find(refused: Refusal) -> None:
    said = refused(app_media_url="/media/")
    assert "app_media_url is '/media/', with 2 web hosts: a file would be on the one that it was uploaded to." in said


def test_a_secret_that_no_environment_can_hold_is_not_told(refused: Refusal) -> None:
    said = refused(app_secret_environment={"API_KEY": "one\ntwo"})
    assert "app_secret_environment: 'API_KEY' must be a name of letters" in said
    assert "one" not in said.partition("app_secret_environment: ")[2].partition("must be a name")[0]


def test_a_variable_of_the_environment_that_is_no_name(refused: Refusal) -> None:
    said = refused(app_environment={"NOT A NAME": "1"})
    assert "app_environment: 'NOT A NAME' must be a name of letters, digits and underscores" in said


def test_a_variable_of_the_environment_with_two_lines(refused: Refusal) -> None:
    said = refused(app_environment={"MOTTO": "one\ntwo"})
    assert "app_environment: 'MOTTO' must be" in said
    assert "with a value of one line" in said


def test_a_certificate_that_is_not_there(refused: Refusal, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    said = refused(site_certificate="files", site_certificate_file=str(chain))
    assert f"site_certificate is 'files', and site_certificate_file is '{chain}'" in said
    assert "there is no such file on the control machine" in said


def test_a_certificate_without_its_key(refused: Refusal, tmp_path: Path) -> None:
    (tmp_path / "chain.pem").touch()
    said = refused(site_certificate="files", site_certificate_file=str(tmp_path / "chain.pem"))
    assert "site_certificate is 'files', and site_certificate_key_file is ''" in said


def test_a_certificate_made_for_another_key(refused: Refusal, tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=people.test", "-days", "2",
             "-keyout", tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
    said = refused(
        site_certificate="files",
        site_certificate_file=str(tmp_path / "ours.crt"),
        site_certificate_key_file=str(tmp_path / "theirs.key"),
    )
    assert f"is NOT made for the key {tmp_path / 'theirs.key'}" in said


@pytest.mark.parametrize(
    ("choice", "value"), [("app_static_url", "static/"), ("app_static_url", "/"), ("app_health_path", "ready")]
)
def test_a_path_that_is_none(refused: Refusal, choice: str, value: str) -> None:
    assert f"{choice} is '{value}': write a path that begins with /." in refused(**{choice: value})


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"keepalived_addresses": ["192.0.2.0/24"]}, "keepalived_addresses has '192.0.2.0/24': write an IP address"),
        ({"keepalived_addresses": ["192.0.2.11"]}, "has 192.0.2.11, which is db1's own: write one that no host has."),
        ({"keepalived_addresses": ["2001:db8::1"]}, "2001:db8::1, and the edge hosts' own are 192.0.2.41, 192.0.2.42:"),
        (
            {"keepalived_addresses": ["192.0.2.99"], "keepalived_router_id": 256},
            "keepalived_router_id is 256: write a whole number, 255 at most.",
        ),
    ],
    ids=["no address", "a host's own", "another family", "router id"],
)
def test_addresses_that_edge_hosts_can_not_share(refused: Refusal, choices: dict[str, object], told: str) -> None:
    edge = GOOD_HOSTS["edge"] | {"edge2": {"ansible_host": "192.0.2.42"}}
    assert told in refused(groups={"edge": edge}, **choices)


def test_a_shared_address_that_nobody_could_take_over(refused: Refusal) -> None:
    said = refused(keepalived_addresses=["192.0.2.99"])
    assert "keepalived_addresses is set, and the group edge has 1 host: nobody could take over." in said


def test_a_shared_address_of_one_host_alone(refused: Refusal) -> None:
    edge = {"edge1": {"ansible_host": "192.0.2.41", "keepalived_addresses": ["192.0.2.99"]}}
    assert "keepalived_addresses differs between hosts: write it once for all" in refused(groups={"edge": edge})


def test_a_domain_that_is_an_address_of_a_page(refused: Refusal) -> None:
    assert "'https://people.test' (site_domain, site_aliases) is not a host name" in refused(
        site_domain="https://people.test"
    )


def test_a_variable_of_the_environment_without_a_value(refused: Refusal) -> None:
    assert "app_environment: 'EMPTY' must be" in refused(app_environment={"EMPTY": None})


def test_a_certificate_from_nowhere(refused: Refusal) -> None:
    said = refused(site_certificate="letsencrypt")
    assert "site_certificate" in said
    assert "lab, files" in said


@pytest.mark.parametrize("rung", ["runserver", "uwsgi", "balanced", "cached"])
def test_a_run_for_one_host_alone_is_checked_as_well(tmp_path: Path, rung: str) -> None:
    hosts = {group: {"hosts": members} for group, members in GOOD_HOSTS.items()}
    choices = GOOD_CHOICES | {"app_secret_key": ""}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts, "vars": choices}}))
    done = playbook(tmp_path, rung, "--limit", "web2")
    assert done.returncode != 0
    assert "app_secret_key is not set" in " ".join(done.stdout.split())
    assert "UNREACHABLE" not in done.stdout


def test_the_lab_refuses_a_release_it_does_not_know(tmp_path: Path) -> None:
    import sys

    host = {"ansible_host": "10.44.9.11", "lab_release": "sid"}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"web1": host}}}))
    command = [sys.executable, "-m", "lab", "-i", str(tmp_path), "up"]
    done = subprocess.run(command, cwd=PROJECT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode != 0
    assert "lab_release 'sid' is not known: write trixie or bookworm" in done.stderr
