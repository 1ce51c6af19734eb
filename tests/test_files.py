"""What is kept of uploaded files and inventories, and how it comes back."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from loading import ROLES, load

restic = load("restic/filter_plugins/restic.py")
BACK = ROLES / "restic/files/hugproof_files_back.py"
WAIT = ROLES / "restic/files/hugproof_files_wait.py"
AGE = ROLES / "restic/files/hugproof_backup_age.py"


def test_an_inventory_is_kept_with_its_variables_and_nothing_besides(tmp_path: Path) -> None:
    wanted = ("hosts.yml", "group_vars/all/vault.yml", "host_vars/db1.yml")
    for name in (*wanted, ".git/config", "group_vars/.hidden", "hosts.yml~", "elsewhere/notes", "../other"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(name)

    (tmp_path / "mine" / "group_vars" / "shared").symlink_to(tmp_path / "shared")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "vault.yml").write_text("linked")
    wanted = (*wanted, "group_vars/shared/vault.yml")

    def names(*sources: str) -> set[str]:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(restic.archive(sources)))) as archive:
            return {name.removeprefix(f"{tmp_path.name}/") for name in archive.getnames()}

    assert names(f"{tmp_path}/mine") == {f"mine/{name}" for name in wanted}
    assert names(f"{tmp_path}/other") == {"other"}
    assert names(f"{tmp_path}/mine/hosts.yml", f"{tmp_path}/other") == {f"mine/{name}" for name in wanted} | {"other"}
    assert names("db1,web1,") == set()
    assert restic.archive([f"{tmp_path}/mine"]) == restic.archive([f"{tmp_path}/mine"])


def test_the_certificate_is_kept_beside_the_inventory(tmp_path: Path) -> None:
    certificate = {"chain.pem": f"{tmp_path}/certs/site.pem", "key.pem": f"{tmp_path}/private/site.pem"}
    for file in map(Path, (f"{tmp_path}/hosts.yml", *certificate.values())):
        file.parent.mkdir(exist_ok=True)
        file.write_text(file.parent.name)
    kept = base64.b64decode(restic.archive([f"{tmp_path}/hosts.yml"], certificate))
    with tarfile.open(fileobj=io.BytesIO(kept)) as archive:
        contents = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    assert contents == {
        f"{tmp_path.name}/hosts.yml": tmp_path.name.encode(),
        "certificate/chain.pem": b"certs",
        "certificate/key.pem": b"private",
    }


def packed(files: dict[str, str]) -> bytes:
    """A tar archive; a name that ends with a slash is a directory, a content that begins with -> a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode, entry.mtime, entry.size = 0o640, 1_700_000_000, len(content)
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            elif content.startswith("->"):
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, content[2:], 0
            archive.addfile(entry, io.BytesIO(content.encode()))
    return made.getvalue()


def back(archive: bytes, below: str, target: Path, status: int = 0) -> dict[str, object]:
    done = subprocess.run([sys.executable, BACK, below, target], input=archive, capture_output=True)
    assert done.returncode == status, done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {}


def test_what_is_missing_comes_back_and_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("as it is")
    (tmp_path / "occupied").write_text("a file, where the backup has a directory")
    names = ["there", "gone", "empty/", "deep/er/gone", "link", "occupied/file"]
    files = {f"srv/media/{name}": "" if name.endswith("/") else "->gone" if name == "link" else "old" for name in names}
    archive = packed(files | {"srv/other/file": "elsewhere", "srv/media/../../escaped": "out"})
    assert back(archive, "/srv/media", tmp_path) == {
        "back": 3, "there": 1, "in_the_way": ["/srv/media/occupied/file"],
    }  # fmt: skip
    assert (tmp_path / "there").read_text() == "as it is"
    assert (tmp_path / "gone").read_text() == (tmp_path / "deep/er/gone").read_text() == "old"
    assert (tmp_path / "gone").stat().st_mtime == 1_700_000_000
    assert (tmp_path / "gone").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "empty").is_dir()
    assert (tmp_path / "link").readlink() == Path("gone")
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"there", "occupied", "gone", "empty", "deep", "link"}


def test_a_restore_that_is_cut_short_leaves_no_half_file_and_goes_on_when_repeated(tmp_path: Path) -> None:
    archive = packed({"media/one": "1" * 20_000, "media/two": "2" * 20_000})
    back(archive[:30_000], "/media", tmp_path, status=1)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert back(archive, "/media", tmp_path) == {"back": 1, "there": 1, "in_the_way": []}
    assert (tmp_path / "two").read_text() == "2" * 20_000


@pytest.mark.parametrize(
    ("snapshots", "wrong"),
    [
        ([], "There is no backup"),
        (None, "There is no backup"),
        ([{"time": "2026-01-02T03:04:05.610831692Z"}], "hours old; 36 are allowed"),
        ([{"time": "2026-01-02T03:04:05Z"}, {"time": "9999-01-02T03:04:05.610831692+01:00"}], "is from the future"),
        ([{"time": "2026-01-02T03:04:05Z"}, {"time": datetime.now(UTC).isoformat()}], ""),
    ],
)
def test_a_newest_backup_that_is_too_old_is_a_fault(snapshots: object, wrong: str) -> None:
    done = subprocess.run(
        [sys.executable, AGE, "--hours=36"], input=json.dumps(snapshots), capture_output=True, text=True
    )
    assert done.returncode == (1 if wrong else 0)
    assert wrong in done.stderr


def waits(seconds: float, *command: str) -> subprocess.Popen[str]:
    """Wait for a repository without locks; the command stands in for restic and lists them."""
    arguments = [sys.executable, WAIT, str(seconds), "sh", "-c", *command]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_who_waits_for_others_goes_on_when_they_have_done(tmp_path: Path) -> None:
    """Each look takes away a lock, of which there are two."""
    for name in ("one", "two"):
        (tmp_path / name).touch()
    process = waits(60, f'echo "$@" >&2; ls {tmp_path}; find {tmp_path} -type f -print -quit | xargs -r rm', "restic")
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, list(tmp_path.iterdir())) == (0, [])
    assert said == "list locks --no-lock --quiet\n" * 3


def test_who_waits_for_others_for_too_long_says_for_whom() -> None:
    process = waits(0, "echo 4f2a", "restic")
    assert process.communicate(timeout=60)[1] == "Others have worked in the repository for 0 s: 4f2a\n"
    assert process.returncode == 1


def test_who_can_not_ask_for_others_says_so() -> None:
    process = waits(60, "echo unreachable >&2; exit 10", "restic")
    assert process.communicate(timeout=60)[1] == "unreachable\n"
    assert process.returncode == 10
