"""Faults of files, disks and downloads end with one line, and leave nothing that is incomplete."""

import functools
import http.server
import json
import random
import shutil
import threading

import pytest
from disturbed_project import (
    PREPARE,
    TRAIN,
    assert_complete,
    assert_equal,
    assert_one_error,
    finish,
    redirect_downloads,
    visible_files,
)

from goodinit import records
from goodinit.errors import InputError
from goodinit.records import storage

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kilobytes", [4, 8, 16, 24, 36])
def test_full_disk(folder, undisturbed, tally, small_disk, kilobytes):
    (folder / "results").symlink_to(small_disk(f"size={kilobytes}k"), target_is_directory=True)
    with tally("disk full"):
        assert finish(folder, [PREPARE])[0] == 0
        status, text = finish(folder)
        assert status == 2
        assert_one_error(text, "results/demo/", "No space left on device: check space and permissions")
        assert_complete(folder, undisturbed.folder)
        small_disk("size=64m", again=True)
        assert finish(folder)[0] == 0
        assert_equal(folder, undisturbed.folder)


def test_read_only_results_folder(folder, undisturbed, tally, small_disk):
    (folder / "results").symlink_to(small_disk("size=64m"), target_is_directory=True)
    for commands in ([PREPARE], [PREPARE, TRAIN]):
        with tally("read-only results folder"):
            assert finish(folder, commands)[0] == 0
            small_disk("ro", again=True)
            status, text = finish(folder)
            assert status == 2
            assert_one_error(text, "results/demo", "Read-only file system: check space and permissions")
            small_disk("rw", again=True)
    assert finish(folder)[0] == 0
    assert_equal(folder, undisturbed.folder)


def _flip(content):
    return content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "one bit flipped": _flip,
    "missing": None,
}


def _damage(file, damage):
    file.unlink() if damage is None else file.write_bytes(damage(file.read_bytes()))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data(folder, undisturbed, tally, damage):
    assert finish(folder, [PREPARE])[0] == 0
    for name in sorted(file.name for file in (folder / "data" / "prepared" / "digits").iterdir()):
        with tally(f"a file of the data set {damage}"):
            _damage(folder / "data" / "prepared" / "digits" / name, DAMAGES[damage])
            status, text = finish(folder)
            if status:
                assert status == 2, text
                assert_one_error(text, "digits", "delete ")
                assert "results" not in {name.split("/")[0] for name in visible_files(folder)}
                shutil.rmtree(folder / "data")
                assert finish(folder)[0] == 0
            assert_equal(folder, undisturbed.folder)
            shutil.rmtree(folder / "results")


class _IncompleteDownload(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(bytes(1000))

    def log_message(self, *arguments):
        pass


def test_incomplete_download(folder, tally):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _IncompleteDownload) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prelude = functools.partial(redirect_downloads, f"http://127.0.0.1:{server.server_port}/")
        for name in ("mnist", "cifar10", "cifar100") * 2:
            with tally("an incomplete download"):
                status, text = finish(folder, [["prepare", name]], prelude)
                assert status == 2, text
                lines = [line for line in text.splitlines() if line.startswith("goodinit: error: ")]
                assert len(lines) == 1, text
                assert "put the official file there" in lines[0] or "delete " in lines[0]
                assert not list((folder / "data").rglob("manifest.json"))
        server.shutdown()


def test_records_truncated_or_edited(folder, undisturbed, tally):
    assert finish(folder)[0] == 0
    (record,) = (folder / "results" / "demo" / "runs").rglob("*.json")
    positions = random.Random(2)
    for file in (record, record.with_suffix(".npz")) * 20:
        before = file.read_bytes()
        position = positions.randrange(len(before))
        for fault, content in (
            (
                "a record with one byte changed",
                before[:position] + bytes([before[position] ^ 4]) + before[position + 1 :],
            ),
            ("a record truncated", before[:position]),
        ):
            with tally(fault):
                file.write_bytes(content)
                with pytest.raises(InputError, match=r"delete .* and train again") as caught:
                    records.read(record)
                assert "\n" not in str(caught.value)
                file.write_bytes(before)
    assert_equal(folder, undisturbed.folder)


def test_record_with_other_defaults(folder, undisturbed, tally):
    assert finish(folder)[0] == 0
    (file,) = (folder / "results" / "demo" / "runs").rglob("*.json")
    for option, value in (("momentum", 0.5), ("lr", 7.0), ("batch_size", 3), ("replacement", True), ("epsilon", 1.0)):
        with tally("a record with another default"):
            document = json.loads(file.read_text())
            parts = [part for run in document["runs"] for part in run["filled"].values() if option in part]
            assert parts
            for part in parts:
                part[option] = value
            file.write_text(json.dumps(document | {"sha256": storage.checksum(document)}))
            status, text = finish(folder, [TRAIN])
            assert status == 2
            assert_one_error(text, f".{option} was {value}", "delete the record and train again")
            file.unlink()
            file.with_suffix(".npz").unlink()
            assert finish(folder)[0] == 0
            assert_equal(folder, undisturbed.folder)
