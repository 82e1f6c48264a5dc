"""Image folders: what belongs to a class, whatever links and special files there are."""

import io
import os
import socket
import threading

import pytest
from PIL import Image

from goodinit.cli.main import main
from goodinit.datasets import cache, decode
from goodinit.datasets.image_folder import list_images

LINKS_OUT = {  # a link in train/a, and where it leads; {outside} is a folder beside the image folder
    "up to the part": ("up", ".."),
    "up to the folder": ("up", "../.."),
    "above the folder": ("up", "../../.."),
    "the root": ("up", "/"),
    "another class": ("more", "../b"),
    "below another class": ("more", "../b/deep"),
    "the same class of val": ("more", "../../val/a"),
    "the other part": ("more", "../../val"),
    "hidden in the other part": ("more", "../../val/.hidden"),
    "a picture of another class": ("more.jpg", "../b/0.jpg"),
    "a picture of val": ("more.jpg", "../../val/a/0.jpg"),
    "a link that leads out": ("more", "{outside}/out"),
    "a class by way of outside": ("more", "{outside}/out/b"),
}
SHARED_FOLDERS = {  # a link that takes the place of a folder, and where it leads
    "train is val": ("val", "train"),
    "val in train": ("val", "train/a"),
    "val hidden in train": ("val", "train/.hidden"),
    "train holds val": ("train", "."),
    "two classes": ("train/b", "a"),
    "a class of both parts": ("val/a", "../train/a"),
    "another class of the other part": ("val/a", "../train/b"),
    "a class in another": ("train/b", "a/deep"),
    "a class that is its part": ("train/b", "."),
    "a class that is the folder": ("train/b", ".."),
    "a class above the folder": ("train/b", "../.."),
    "a class that is the other part": ("train/b", "../val"),
    "a class hidden in the other part": ("train/b", "../val/.hidden"),
}


def _jpeg(color=(200, 30, 30)):
    file = io.BytesIO()
    Image.new("RGB", (20, 20), color).save(file, "jpeg")
    return file.getvalue()


@pytest.fixture
def tree(tmp_path):
    """An image folder with two classes: in train 0.jpg and deep/1.jpg of each, in val 0.jpg."""
    tree = tmp_path / "folders" / "pets"
    for place in (f"{part}/{name}" for part in ("train", "val") for name in ("a", "b", ".hidden")):
        (tree / place).mkdir(parents=True)
        (tree / place / "0.jpg").write_bytes(_jpeg())
    for name in "ab":
        (tree / "train" / name / "deep").mkdir()
        (tree / "train" / name / "deep" / "1.jpg").write_bytes(_jpeg())
    return tree


@pytest.fixture
def outside(tmp_path, tree):
    """A folder beside the image folder with one picture, and a link, `out`, to the image folder's train."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.jpg").write_bytes(_jpeg())
    (outside / "out").symlink_to(tree / "train")
    return outside


def _listed(tree):
    """Return {place of a class: the paths of its pictures below that}."""
    listing, found = list_images(tree), {}
    for listed, part in zip(listing.splits.values(), ("train", "val"), strict=True):
        for picture in listed:
            place = f"{part}/{listing.classes[picture.label]}"
            assert picture.path.startswith(f"{place}/")
            found.setdefault(place, set()).add(picture.path.removeprefix(f"{place}/"))
    return found


WHOLE = {"train/a": {"0.jpg", "deep/1.jpg"}, "train/b": {"0.jpg", "deep/1.jpg"}, "val/a": {"0.jpg"}, "val/b": {"0.jpg"}}


def _with(place, *more):
    return WHOLE | {place: WHOLE[place] | set(more)}


@pytest.mark.parametrize("case", LINKS_OUT)
def test_a_link_that_leads_out_of_its_class_takes_nothing_in(tree, outside, case):
    name, target = LINKS_OUT[case]
    before = list_images(tree)
    (tree / "train/a/deep" / name).symlink_to(
        os.path.join("..", target) if target.startswith("..") else target.format(outside=outside)
    )
    after = list_images(tree)
    assert (after.splits, after.links, after.irregular) == (before.splits, [f"train/a/deep/{name}"], [])


@pytest.mark.parametrize("case", SHARED_FOLDERS)
def test_folders_that_are_one_or_hold_each_other_are_refused_in_one_line(tree, tmp_path, case, capsys):
    place, target = SHARED_FOLDERS[case]
    (tree / place).rename(tmp_path / "away")
    (tree / place).symlink_to(target)
    if place == "train":  # so that its classes are there
        for name in "ab":
            (tree / name).mkdir()
    with pytest.raises(ValueError, match=r"pets.* a picture must not be"):
        list_images(tree)
    with pytest.raises(SystemExit):
        main(["prepare", "folder-pets-8", "--data-root", str(tmp_path), "--processes", "1"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) <= 301
    assert not (tmp_path / "prepared" / "folder-pets-8").exists()


def test_the_folder_its_parts_and_its_classes_may_be_links(tree, tmp_path):
    for place in ("train/a", "val/b", "val", "."):
        away = tmp_path / "away" / place.replace("/", "-").replace(".", "top")
        away.parent.mkdir(exist_ok=True)
        folder = tree / place
        folder.rename(away)
        folder.symlink_to(away)
    assert _listed(tree) == WHOLE
    (tmp_path / "away" / "train-a" / "up").symlink_to("..")  # holds every folder that was linked in
    (tmp_path / "away" / "train-a" / "back").symlink_to(tree / "train" / "b")
    assert _listed(tree) == WHOLE
    assert list_images(tree).links == ["train/a/back", "train/a/up"]


def test_links_to_pictures_elsewhere_are_followed_once(tree, outside):
    (tree / "train/a/one.jpg").symlink_to(outside / "o.jpg")
    (tree / "train/a/plain").symlink_to(outside / "o.jpg")  # not named as a picture
    assert _listed(tree) == _with("train/a", "one.jpg")
    (tree / "train/a/folder").symlink_to(outside)
    (tree / "train/a/again").symlink_to(outside)
    (tree / "train/a/self").symlink_to(".")
    (tree / "train/a/deep/self").symlink_to("..")
    (tree / "train/a/copy.jpg").symlink_to("0.jpg")
    listing = list_images(tree)
    assert _listed(tree) == _with("train/a", "again/o.jpg")  # the first in sorted order
    assert listing.links == ["train/a/again/out"]
    (outside / "self").symlink_to(outside)
    assert list_images(tree).splits == listing.splits


@pytest.mark.parametrize("other", ["train/b", "val/a", "val/b"])
@pytest.mark.parametrize("kind", ["file", "folder", "hard link", "hard link of a picture"])
def test_a_file_of_two_classes_or_of_both_parts_is_refused(tree, outside, kind, other):
    source = tree / "train/a/0.jpg" if kind.endswith("picture") else outside / "o.jpg"
    for place in ("train/a", other):
        link = tree / place / ("x" if kind == "folder" else "x.jpg")
        if kind.startswith("hard"):
            os.link(source, link)
        else:
            link.symlink_to(outside if kind == "folder" else source)
    with pytest.raises(ValueError, match=f"same files in two classes or in both train and val.*train/a/.*{other}/x"):
        list_images(tree)


def test_hard_links_within_a_class_and_to_elsewhere_are_pictures(tree, outside):
    os.link(tree / "train/a/0.jpg", tree / "train/a/copy.jpg")
    os.link(tree / "train/b/0.jpg", outside / "backup.jpg")
    assert _listed(tree) == _with("train/a", "copy.jpg")


@pytest.mark.parametrize("target", ["nowhere", "x.jpg"])
def test_a_broken_link_counts_as_a_picture_that_cannot_be_read(tree, tmp_path, target):
    (tree / "train/a/x.jpg").symlink_to(target)
    (tree / "train/a/x").symlink_to("nowhere")
    (tree / "train/b/y.jpg").symlink_to("../a/nowhere")
    assert _listed(tree) == _with("train/a", "x.jpg") | {"train/b": WHOLE["train/b"] | {"y.jpg"}}
    cache.prepare("folder-pets-8", tmp_path, processes=1, allowed_bad=0.5)
    _, facts = cache.load("folder-pets-8", str(tmp_path))
    assert {one["file"] for one in facts["unreadable"]} == {"train/a/x.jpg", "train/b/y.jpg"}


def test_a_class_whose_link_is_broken_is_refused(tree):
    (tree / "train/c").symlink_to("nowhere")
    with pytest.raises(ValueError, match="train/c: this link leads nowhere"):
        list_images(tree)


def _within(seconds, function, *arguments):
    """Call a function in a thread; return what it returned, or fail when it takes longer."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*arguments)), daemon=True)
    thread.start()
    thread.join(seconds)
    assert results, "it hangs, or failed"
    return results[0]


def test_what_is_not_a_regular_file_is_passed_over_and_counted_once(tree, tmp_path, outside, monkeypatch, capfd):
    special = tree / "train/a"
    os.mkfifo(special / "fifo.jpg")
    os.mkfifo(special / "fifo")
    os.mkfifo(outside / "fifo")
    (special / "fifo-link.jpg").symlink_to(outside / "fifo")
    (special / "device.jpg").symlink_to("/dev/zero")
    (special / "folder.jpg").mkdir()
    (special / "folder.jpg" / "in.jpg").write_bytes(_jpeg())
    (special / "folder-link.jpg").symlink_to(outside)
    (special / "up").symlink_to("..")
    monkeypatch.chdir(special)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.jpg")
        listing = _within(20, list_images, tree)
        _within(20, lambda: cache.prepare("folder-pets-8", tmp_path, processes=1))
    names = ("device.jpg", "fifo", "fifo-link.jpg", "fifo.jpg", "folder-link.jpg", "folder.jpg", "socket.jpg")
    assert listing.irregular == [f"train/a/{name}" for name in names]
    assert _listed(tree) == WHOLE
    _, facts = cache.load("folder-pets-8", str(tmp_path))
    assert facts["passed_over"] == {"links": 1, "irregular": 7}
    assert facts["train_examples"] == 4
    said = [line for line in capfd.readouterr().err.splitlines() if "passed over" in line]
    (line,) = said
    assert line.endswith(
        "passed over are links that lead out of their class: 1, such as train/a/up; "
        "what is not a regular file: 7, such as train/a/device.jpg"
    )


def test_a_class_with_nothing_but_what_is_passed_over_says_so(tree):
    for path in ("train/a/0.jpg", "train/a/deep/1.jpg"):
        (tree / path).unlink()
    (tree / "train/a/more").symlink_to("../b")
    with pytest.raises(
        ValueError, match=r"train/a: there are no pictures of this class \(passed over are links .*: 1,"
    ):
        list_images(tree)


def test_a_file_that_becomes_a_fifo_after_it_was_listed_is_unreadable(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    (tmp_path / "rows.npy").write_bytes(bytes(decode.HEADER_BYTES))
    chunk = decode.Chunk("train", 0, str(tmp_path / "rows.npy"), [str(tmp_path / "x.jpg")], 8)
    assert _within(20, lambda: list(decode.decode_chunks([chunk], 1, 1)))[0]["bad"] == [(0, "it is not a regular file")]
