"""Folders and files that cannot be written, and the folder in a cache that is used instead of a data folder."""

import contextlib
import hashlib
import os
import resource
import subprocess

import pytest


@contextlib.contextmanager
def read_only(folder):
    """Make a folder read-only inside the block: by its permissions or, for root, by a mount."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
    with contextlib.ExitStack() as undo:
        if os.geteuid():
            for path in folders:
                path.chmod(0o555)
                undo.callback(path.chmod, 0o755)
        else:
            mount = ["mount", "--bind", "-o", "ro", folder, folder]
            process = subprocess.run(mount, capture_output=True, text=True, check=False)
            if process.returncode:
                pytest.skip(f"root cannot mount here: {process.stderr}")
            undo.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
        with pytest.raises(OSError, match=r"Read-only|Permission"):
            (folder / "x").touch()
        yield


@contextlib.contextmanager
def file_size_limit(size):
    """Limit the size in bytes of every file that this process writes inside the block, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def cache_folder_of(base, root):
    """Return the folder in `base` for the files that cannot be written to the data folder `root`."""
    return base / hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
