"""Files are replaced as a whole or not at all; a lock admits one process at a time."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from file_system import file_size_limit, read_only

from goodinit.files import locked, open_replacement, replace_file


def _names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_replaced_file_has_the_new_content_and_its_folder_is_created(tmp_path):
    file = tmp_path / "new" / "table.csv"
    for content in (b"old", memoryview(b"new")):
        replace_file(file, content)
        assert file.read_bytes() == content
    assert _names(tmp_path) == ["new", "table.csv"]


@pytest.mark.parametrize(
    "write",
    [lambda file: replace_file(file, bytes(5000)), lambda file: _save(file, np.zeros(5000))],
    ids=["bytes", "numpy"],
)
def test_failed_write_keeps_the_old_file_and_names_it(tmp_path, write):
    file = tmp_path / "table.csv"
    replace_file(file, b"old")
    with file_size_limit(1000), pytest.raises(OSError, match=r".") as caught:
        write(file)
    assert caught.value.filename == str(file)
    assert caught.value.errno
    assert file.read_bytes() == b"old"
    assert _names(tmp_path) == ["table.csv"]


def _save(file, array):
    with open_replacement(file) as opened:
        np.save(opened, array)


def test_missing_permission_keeps_the_class_of_the_error(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with read_only(folder), pytest.raises(OSError, match=r"table\.csv") as caught:
        replace_file(folder / "table.csv", b"new")
    assert caught.value.errno in (errno.EROFS, errno.EACCES)


def test_interruption_keeps_the_old_file(tmp_path):
    file = tmp_path / "table.csv"
    replace_file(file, b"old")
    with contextlib.suppress(KeyboardInterrupt), open_replacement(file) as opened:
        opened.write(b"new")
        raise KeyboardInterrupt
    assert file.read_bytes() == b"old"
    assert _names(tmp_path) == ["table.csv"]


def test_waiting_for_a_lock_is_logged_and_ends_when_the_holder_fails(tmp_path, caplog):
    path, order, reached = tmp_path / "new" / "set", [], threading.Event()

    def wait():
        reached.set()
        with locked(path):
            order.append("second")

    second = threading.Thread(target=wait)
    with contextlib.suppress(KeyboardInterrupt), locked(path):
        second.start()
        reached.wait(10)
        while not caplog.messages:
            second.join(0.01)
        order.append("first")
        raise KeyboardInterrupt
    second.join(10)
    assert order == ["first", "second"]
    assert caplog.messages == [f"{path}: waiting for another process that is writing it"]
    assert not path.exists()


def test_lock_of_a_killed_process_is_released(tmp_path):
    path = tmp_path / "set"
    code = f"""
import pathlib, time
from goodinit.files import locked
with locked(pathlib.Path({str(path)!r})):
    print("locked", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        process.kill()
    with locked(path):
        assert process.returncode == -signal.SIGKILL


def test_lock_that_cannot_be_created_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught, locked(tmp_path / "file" / "set"):
        pass
    assert caught.value.errno
    assert os.listdir(tmp_path) == ["file"]
