"""Mistakes and faults for the tests of messages: functions of a folder, a monkeypatch and an intact template."""

import json
import re
import shutil
from pathlib import Path

from goodinit.records import storage

FILE = "configs/work/study.yaml"


def change_study(old, new):
    """Put `new` in the place of `old` in the study's file."""
    return lambda folder, monkeypatch, template: change_file(
        folder / FILE, lambda text: text.replace(old.encode(), new.encode(), 1)
    )


def put(path, content=b""):
    """Write a file."""

    def breaks(folder, monkeypatch, template):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)

    return breaks


def copy_folder(kind, pattern="", change=None):
    """Copy `data` or `results`, whole, and change the file that fits the pattern."""

    def breaks(folder, monkeypatch, template):
        shutil.copytree(template / kind, folder / kind)
        for file in (folder / kind).glob(pattern) if pattern else ():
            change_file(file, change)

    return breaks


def replace_function(target, replacement):
    """Replace a function."""
    return lambda folder, monkeypatch, template: monkeypatch.setattr(target, replacement)


def fill_disk(suffix):
    """Let the disk be full when a file with this suffix is replaced."""
    real_open = Path.open

    def open_on_full_disk(path, mode="r", *arguments, **options):
        writes = mode == "wb" and f"{suffix}." in path.name
        return real_open(Path("/dev/full") if writes else path, mode, *arguments, **options)

    return replace_function("pathlib.Path.open", open_on_full_disk)


def change_file(file, change):
    content = change(file.read_bytes())
    file.unlink() if content is None else file.write_bytes(content)


def no_space(*arguments):
    """Do as numpy.save on a full disk."""
    raise OSError("9 requested and 4 written")


def no_network(*arguments, **more):
    """Do as urlopen without a network."""
    raise OSError("no route")


def truncate(content):
    return content[: len(content) // 2]


def flip(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def swap(old, new):
    return lambda content: re.sub(old, new, content, count=1)


def update_checksum(change):
    """Give a changed record the checksum of what it says now."""

    def change_and_update(content):
        text = json.loads(change(content))
        return json.dumps(text | {"sha256": storage.checksum(text)}).encode()

    return change_and_update
