"""Keeps the bytecode of what Ansible sends, where only root can read and write it.

A task brings its module and Ansible's own library in an archive, out of which Python compiles all of it anew every
time: two thirds of what a small task costs a host. ansible.cfg has sudo put this directory on PYTHONPATH, so that
Python runs this file at its start, for Ansible's tasks alone. Whatever does not work here, a task goes on without it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import CodeType

KEPT = "/var/cache/hugproof/ansible"


def keep() -> None:
    """Have zipimport (CPython's; there is no public place for this) look for bytecode by a hash of the source."""
    import _imp
    import marshal
    import zipimport

    compiled = zipimport._compile_source
    key = int.from_bytes(_imp.source_hash(0, sys.version.encode()), "little")

    def kept(path: str, source: bytes) -> CodeType:
        file = f"{KEPT}/{_imp.source_hash(key, source).hex()}"
        # Nothing there yet, or half of it, after a power cut say.
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError):
            with open(file, "rb") as stream:
                code: CodeType = marshal.loads(stream.read())
            _imp._fix_co_filename(code, path)
            return code
        code = compiled(path, source)
        with contextlib.suppress(OSError):
            os.makedirs(KEPT, 0o700, exist_ok=True)
            with open(f"{file}.{os.getpid()}", "xb") as stream:
                stream.write(marshal.dumps(code))
            os.rename(stream.name, file)
        return code

    zipimport._compile_source = kept


# Not for the commands that a task runs.
os.environ.pop("PYTHONPATH", None)
with contextlib.suppress(ImportError, AttributeError):
    keep()
