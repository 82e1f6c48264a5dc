"""Which files belong to a class of an image folder, with links and special files."""

import concurrent.futures
import os
import shutil
import socket

import pytest
from image_files import COLORS, encode, write_cats

from goodinit.cli.main import main
from goodinit.datasets import cache
from goodinit.datasets.image_folder import list_images

LINKS_OUT = {  # a link in train/a, and its target; {outside} is a folder next to the image folder
    "up to the split": ("up", ".."),
    "up to the folder": ("up", "../.."),
    "above the folder": ("up", "../../.."),
    "the root": ("up", "/"),
    "another class": ("more", "../b"),
    "below another class": ("more", "../b/deep"),
    "the same class of val": ("more", "../../val/a"),
    "the other split": ("more", "../../val"),
    "hidden in the other split": ("more", "../../val/.hidden"),
    "an image of another class": ("more.jpg", "../b/0.jpg"),
    "an image of val": ("more.jpg", "../../val/a/0.jpg"),
    "a link that leads out": ("more", "{outside}/out"),
    "a class through outside": ("more", "{outside}/out/b"),
}
SHARED_FOLDERS = {  # a link that replaces a folder, and its target
    "train is val": ("val", "train"),
    "val in train": ("val", "train/a"),
    "val hidden in train": ("val", "train/.hidden"),
    "train contains val": ("train", "."),
    "two classes": ("train/b", "a"),
    "a class of both splits": ("val/a", "../train/a"),
    "another class of the other split": ("val/a", "../train/b"),
    "a class in another": ("train/b", "a/deep"),
    "a class that is its split": ("train/b", "."),
    "a class that is the folder": ("train/b", ".."),
    "a class above the folder": ("train/b", "../.."),
    "a class that is the other split": ("train/b", "../val"),
    "a class hidden in the other split": ("train/b", "../val/.hidden"),
}


@pytest.fixture
def tree(tmp_path):
    """An image folder with two classes: in train 0.jpg and deep/1.jpg of each, in val 0.jpg."""
    tree = tmp_path / "folders" / "pets"
    for folder in (tree / split / name for split in ("train", "val") for name in ("a", "b", ".hidden")):
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(encode())
    for name in "ab":
        (tree / "train" / name / "deep").mkdir()
        (tree / "train" / name / "deep" / "1.jpg").write_bytes(encode())
    return tree


@pytest.fixture
def outside(tmp_path, tree):
    """A folder next to the image folder with one image and a link, `out`, to the train folder of the image folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.jpg").write_bytes(encode())
    (outside / "out").symlink_to(tree / "train")
    return outside


def _images(tree):
    """Return {class folder: paths of its images relative to it}."""
    listing, paths = list_images(tree), {}
    for images, split in zip(listing.splits.values(), ("train", "val"), strict=True):
        for image in images:
            folder = f"{split}/{listing.classes[image.label]}"
            assert image.path.startswith(f"{folder}/")
            paths.setdefault(folder, set()).add(image.path.removeprefix(f"{folder}/"))
    return paths


WHOLE = {"train/a": {"0.jpg", "deep/1.jpg"}, "train/b": {"0.jpg", "deep/1.jpg"}, "val/a": {"0.jpg"}, "val/b": {"0.jpg"}}


def _with(folder, *paths):
    return WHOLE | {folder: WHOLE[folder] | set(paths)}


@pytest.mark.parametrize("case", LINKS_OUT)
def test_link_that_leads_out_of_its_class_is_ignored(tree, outside, case):
    name, target = LINKS_OUT[case]
    before = list_images(tree)
    (tree / "train/a/deep" / name).symlink_to(
        os.path.join("..", target) if target.startswith("..") else target.format(outside=outside)
    )
    after = list_images(tree)
    assert (after.splits, after.links, after.irregular) == (before.splits, [f"train/a/deep/{name}"], [])


@pytest.mark.parametrize("case", SHARED_FOLDERS)
def test_folders_that_are_the_same_or_contain_each_other_are_rejected_in_one_line(tree, tmp_path, case, capsys):
    name, target = SHARED_FOLDERS[case]
    (tree / name).rename(tmp_path / "away")
    (tree / name).symlink_to(target)
    if name == "train":  # which needs classes
        for label in "ab":
            (tree / label).mkdir()
    with pytest.raises(ValueError, match=r"pets.* an image must not be"):
        list_images(tree)
    with pytest.raises(SystemExit):
        main(["prepare", "folder-pets-8", "--data-root", str(tmp_path), "--processes", "1"])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) <= 301
    assert not (tmp_path / "prepared" / "folder-pets-8").exists()


def test_image_folder_its_splits_and_its_classes_may_be_links(tree, tmp_path):
    for name in ("train/a", "val/b", "val", "."):
        away = tmp_path / "away" / name.replace("/", "-").replace(".", "top")
        away.parent.mkdir(exist_ok=True)
        folder = tree / name
        folder.rename(away)
        folder.symlink_to(away)
    assert _images(tree) == WHOLE
    (tmp_path / "away" / "train-a" / "up").symlink_to("..")  # contains every linked folder
    (tmp_path / "away" / "train-a" / "back").symlink_to(tree / "train" / "b")
    assert _images(tree) == WHOLE
    assert list_images(tree).links == ["train/a/back", "train/a/up"]


def test_links_to_images_elsewhere_are_followed_once(tree, outside):
    (tree / "train/a/link.jpg").symlink_to(outside / "o.jpg")
    (tree / "train/a/plain").symlink_to(outside / "o.jpg")  # not named as an image
    assert _images(tree) == _with("train/a", "link.jpg")
    (tree / "train/a/folder").symlink_to(outside)
    (tree / "train/a/again").symlink_to(outside)
    (tree / "train/a/self").symlink_to(".")
    (tree / "train/a/deep/self").symlink_to("..")
    (tree / "train/a/copy.jpg").symlink_to("0.jpg")
    listing = list_images(tree)
    assert _images(tree) == _with("train/a", "again/o.jpg")  # the first in sorted order
    assert listing.links == ["train/a/again/out"]
    (outside / "self").symlink_to(outside)
    assert list_images(tree).splits == listing.splits


@pytest.mark.parametrize("other", ["train/b", "val/a", "val/b"])
@pytest.mark.parametrize("kind", ["file", "folder", "hard link", "hard link of an image"])
def test_file_of_two_classes_or_of_both_splits_is_rejected(tree, outside, kind, other):
    source = tree / "train/a/0.jpg" if kind.endswith("image") else outside / "o.jpg"
    for folder in ("train/a", other):
        link = tree / folder / ("x" if kind == "folder" else "x.jpg")
        if kind.startswith("hard"):
            os.link(source, link)
        else:
            link.symlink_to(outside if kind == "folder" else source)
    with pytest.raises(ValueError, match=f"same files in two classes or in both train and val.*train/a/.*{other}/x"):
        list_images(tree)


def test_hard_links_within_a_class_and_to_other_folders_are_images(tree, outside):
    os.link(tree / "train/a/0.jpg", tree / "train/a/copy.jpg")
    os.link(tree / "train/b/0.jpg", outside / "backup.jpg")
    assert _images(tree) == _with("train/a", "copy.jpg")


@pytest.mark.parametrize("target", ["nowhere", "x.jpg"])
def test_broken_link_counts_as_an_unreadable_image(tree, tmp_path, target):
    (tree / "train/a/x.jpg").symlink_to(target)
    (tree / "train/a/x").symlink_to("nowhere")
    (tree / "train/b/y.jpg").symlink_to("../a/nowhere")
    assert _images(tree) == _with("train/a", "x.jpg") | {"train/b": WHOLE["train/b"] | {"y.jpg"}}
    cache.prepare("folder-pets-8", tmp_path, processes=1, allowed_bad=0.5)
    _, manifest = cache.load("folder-pets-8", str(tmp_path))
    assert {entry["file"] for entry in manifest["unreadable"]} == {"train/a/x.jpg", "train/b/y.jpg"}


def test_class_folder_that_is_a_broken_link_is_rejected(tree):
    (tree / "train/c").symlink_to("nowhere")
    with pytest.raises(ValueError, match="train/c: this link is broken: point it to a class folder, or remove it"):
        list_images(tree)


def test_entries_that_are_not_regular_files_are_ignored_and_counted_once(tree, tmp_path, outside, monkeypatch, caplog):
    folder = tree / "train/a"
    os.mkfifo(folder / "fifo.jpg")
    os.mkfifo(folder / "fifo")
    os.mkfifo(outside / "fifo")
    (folder / "fifo-link.jpg").symlink_to(outside / "fifo")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "in.jpg").write_bytes(encode())
    (folder / "folder-link.jpg").symlink_to(outside)
    (folder / "up").symlink_to("..")
    monkeypatch.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as opened, concurrent.futures.ThreadPoolExecutor() as pool:
        opened.bind("socket.jpg")
        listing = pool.submit(list_images, tree).result(20)
        pool.submit(cache.prepare, "folder-pets-8", tmp_path, processes=1).result(20)
    names = ("device.jpg", "fifo", "fifo-link.jpg", "fifo.jpg", "folder-link.jpg", "folder.jpg", "socket.jpg")
    assert listing.irregular == [f"train/a/{name}" for name in names]
    assert _images(tree) == WHOLE
    _, manifest = cache.load("folder-pets-8", str(tmp_path))
    assert manifest["passed_over"] == {"links": 1, "irregular": 7}
    assert manifest["train_examples"] == 4
    (message,) = caplog.messages
    assert message.endswith(
        "ignored: 1 links that lead out of their class, such as train/a/up; "
        "7 entries that are not regular files, such as train/a/device.jpg"
    )


def test_class_whose_only_entries_are_ignored_is_rejected_with_the_reason(tree):
    for path in ("train/a/0.jpg", "train/a/deep/1.jpg"):
        (tree / path).unlink()
    (tree / "train/a/more").symlink_to("../b")
    with pytest.raises(ValueError, match=r"train/a: this class has no images \(ignored: 1 links that lead out"):
        list_images(tree)


def test_hidden_entries_are_not_listed(tree):
    listing = list_images(tree)
    hidden = tree / "train" / "a" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "0.jpg").write_bytes(encode())
    (tree / "train" / "a" / "._0.jpg").write_bytes(encode())
    (tree / "train" / ".c").mkdir()
    assert list_images(tree) == listing


def _delete(name):
    return lambda tree: shutil.rmtree(tree / name)


def _empty(name):
    return lambda tree: [file.unlink() for file in (tree / name).iterdir()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_delete("val"), "there is no folder val: expected images in train/<class>/ and val/<class>/"),
        (_delete("train"), "there is no folder train: expected"),
        (_delete("."), "there is no such folder: put one there, or a link to one"),
        (_empty("train/猫"), "train/猫: this class has no images"),
        (lambda tree: [shutil.rmtree(tree / "train" / name) for name in ("猫", "gato")], "only one class, кошка"),
        (lambda tree: (tree / "val" / "dog").mkdir(), "val/dog: this class is not in "),
        (lambda tree: [_empty(f"val/{name}")(tree) for name in COLORS], "val: there are no images"),
    ],
)
def test_invalid_image_folder_is_a_one_line_error_and_nothing_is_written(tmp_path, change, message, capsys):
    change(write_cats(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "folder-cats-16", "--data-root", str(tmp_path)])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert message in error
    assert not list((tmp_path / "prepared").glob("[!.]*"))
