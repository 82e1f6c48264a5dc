"""Folders of pictures, decoded once into arrays of one size: by several processes, and resumed where it broke off."""

import concurrent.futures.process
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

from goodinit.processes import end_with_parent

__all__ = ["ALLOWED_BAD", "LAYOUT", "check_name", "locked", "named", "write"]

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}  # those of torchvision
CHUNK = 64  # pictures that one process decodes at once, and that are done again after an interruption
HEADER = 128  # bytes before a .npy file's numbers
ALLOWED_BAD = 0.01  # of the pictures of a set
LAYOUT = "pictures in train/<class>/ and val/<class>/"
PROGRESS = ".progress.jsonl"


def named(name):
    """Return (source, folder, size) of a prepared set called `<source>-<size>` or `folder-<folder>-<size>`, or None.

    Raises:
        ValueError: the folder's name, or the size, cannot be used.
    """
    found = re.fullmatch(r"(?:(imagenette|pictures)|(folder)-(.*))-(\d+)", name, re.DOTALL)
    if found is None:
        return None
    source, other, folder, size = found.groups()
    if other:
        check_name(folder)
    if int(size) < 1:
        raise ValueError(f"{name}: size: {size} is not more than 0")
    return source or other, folder, int(size)


def check_name(folder):
    """Check that a folder's name is one, which leads nowhere else.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(r"\w[\w.+-]*", folder):
        raise ValueError(
            f"folder: path: {folder!r} is not the name of one folder in the data folder's `folders`, of letters, "
            "digits and _ . + -; a link there may lead anywhere"
        )


@contextlib.contextmanager
def locked(folder):
    """Make the folder, and let one process at a time into the block; the others wait.

    The lock is on the file of progress, which goes when the block is done, or when it broke off before any progress.
    """
    import fcntl

    file, done = folder / PROGRESS, False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        progress = file.open("ab")
        fcntl.flock(progress, fcntl.LOCK_EX)
        if file.exists() and os.path.samestat(file.stat(), os.fstat(progress.fileno())):
            break
        progress.close()  # another process had it, and took it away
    with progress:
        try:
            yield
            done = True
        finally:
            if file.exists() and (done or not file.stat().st_size):
                file.unlink()
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()


def write(tree, folder, size, *, processes=None, allowed_bad=ALLOWED_BAD):
    """Write the pictures of `tree`/train and `tree`/val as uint8 (N, 3, size, size) into `folder`.

    The tree is ImageNet's, train/<class>/*.JPEG and val/<class>/*.JPEG; where it has no `val`, `test` serves as such.
    Of each picture, turned as its EXIF says and in RGB as torchvision's loader makes it, the middle square is reduced
    to the size with an antialiasing linear filter: the shorter side is resized, and the center cut out.  Classes are
    numbered by their sorted names.  Pictures lie in the order of the hashes of their names: at random, and the same
    everywhere, so that any first few of them, and any neighbors, are a sample of all classes.

    What is finished is noted chunk by chunk, with its checksum, so that an interrupted preparation goes on; an
    unreadable picture is listed, and the last ones take the places of such.

    Args:
        tree: the folder of pictures.
        folder: that of the arrays.
        size: height and width.
        processes: how many; None is one for each processor.
        allowed_bad: the share of the pictures that may be unreadable.

    Returns:
        The facts for the manifest, and {part: labels, int64 (N,)} of `train` and `test`.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the tree is none of classes of pictures, or too many pictures cannot be read.
    """
    if not 0 <= allowed_bad < 1:
        raise ValueError(f"allowed_bad: {allowed_bad} is not between 0 and 1")
    if processes is not None and processes < 1:
        raise ValueError(f"processes: {processes} is not at least 1")
    classes, parts = _listed(tree)
    total = sum(map(len, parts.values()))
    files = {part: folder / f"{part}_images.npy" for part in parts}
    fingerprint = _fingerprint(tree, parts, size)
    done = _resumed(folder / PROGRESS, fingerprint, files, size)
    tasks = [
        (part, start, str(files[part]), [str(tree / path) for path, _ in parts[part][start : start + CHUNK]], size)
        for part in parts
        for start in range(0, len(parts[part]), CHUNK)
        if (part, start) not in done
    ]
    with (folder / PROGRESS).open("ab") as progress:
        if not done:
            if progress.tell():
                print(
                    f"{folder}: begun again: the pictures, the size or Pillow are others than before", file=sys.stderr
                )
            for file in files.values():
                file.open("wb").close()
            os.truncate(progress.name, 0)
            _note(progress, {"fingerprint": fingerprint})
        bad = sum(len(chunk["bad"]) for chunk in done.values())
        for chunk in _decoded(tasks, total, processes):
            _note(progress, chunk)
            done[chunk["part"], chunk["start"]] = chunk
            bad += len(chunk["bad"])
            if bad > allowed_bad * total:
                break
    _check_bad(tree, parts, done, allowed_bad * total)
    bad = {part: {row for row, _, _ in _bad(parts, done, part)} for part in parts}
    for part, file in files.items():
        _close_up(file, len(parts[part]), bad[part], size)
    labels = {part: np.array(_places(len(parts[part]), bad[part])) for part in parts}
    labels = {part: np.array([label for _, label in parts[part]], np.int64)[rows] for part, rows in labels.items()}
    unreadable = [{"file": file, "reason": reason} for part in parts for _, file, reason in _bad(parts, done, part)]
    for one in unreadable:
        print(f"not readable, left out: {tree / one['file']}: {one['reason']}", file=sys.stderr)
    for number, name in enumerate(classes):
        if number not in labels["test"]:
            print(f"{tree}: no pictures of the class {name} to test on", file=sys.stderr)
    return _facts(classes, labels, done, size) | {"unreadable": unreadable}, labels


def _listed(tree):
    """Return the classes' names and {part: [(path, label)]}, the paths below the tree."""
    test = "val" if (tree / "val").is_dir() else "test"
    expected = f"expected are {LAYOUT}"
    for part in ("train", test):
        if not (tree / part).is_dir():
            raise ValueError(f"{tree}: there is no folder {part.replace('test', 'val')}: {expected}")
    classes = _classes(tree / "train")
    if len(classes) < 2:
        found = f"one class alone, {classes[0]}" if classes else "no class"
        raise ValueError(f"{tree / 'train'}: there is {found}; at least two are needed: {expected}")
    for name in _classes(tree / test):
        if name not in classes:
            raise ValueError(f"{tree / test / name}: this class is not in {tree / 'train'}")
    parts = {}
    for part, place in (("train", "train"), ("test", test)):
        found = {name: _pictures(tree, f"{place}/{name}") for name in classes}
        if part == "train" and (name := next((name for name in classes if not found[name]), None)):
            raise ValueError(
                f"{tree / place / name}: there are no pictures of this class: put some there, or delete it"
            )
        listed = [(path, label) for label, name in enumerate(classes) for path in found[name]]
        if not listed:
            raise ValueError(f"{tree / place}: there are no pictures: {expected}")
        parts[part] = sorted(listed, key=lambda one: (hashlib.sha256(os.fsencode(one[0])).digest(), one))
    return classes, parts


def _classes(folder):
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _pictures(tree, place):
    """Return the paths of all pictures in and below a place of the tree, but for what is hidden; links are followed.

    Raises:
        OSError: a folder cannot be read.
    """
    if not (tree / place).is_dir():
        return []

    def fail(error):
        raise error

    found, seen = [], set()
    for folder, inner, names in os.walk(tree / place, onerror=fail, followlinks=True):
        inner[:] = [name for name in inner if not name.startswith(".")]
        if (here := os.path.realpath(folder)) in seen:
            inner.clear()  # a link that leads back
            continue
        seen.add(here)
        found += [
            f"{Path(folder).relative_to(tree).as_posix()}/{name}"
            for name in names
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    return found


def _fingerprint(tree, parts, size):
    """Return a hash of what the arrays will be made of: the files as they are, the size, and who decodes them."""
    import PIL

    digest = hashlib.sha256(f"{size} {CHUNK} {PIL.__version__}".encode())
    for part, listed in parts.items():
        for path, label in listed:
            facts = (
                (tree / path).stat() if (tree / path).exists() else (tree / path).lstat()
            )  # a broken link is read as bad
            digest.update(os.fsencode(f"{part}\0{label}\0{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0"))
    return digest.hexdigest()


def _note(progress, line):
    progress.write(json.dumps(line).encode() + b"\n")
    progress.flush()


def _resumed(progress, fingerprint, files, size):
    """Return {(part, start): chunk} of what is finished, and still as it was noted."""
    content = progress.read_bytes()
    os.truncate(progress, content.rfind(b"\n") + 1)  # the last line may be torn off
    lines = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    if not lines or lines[0] != {"fingerprint": fingerprint} or not all(file.exists() for file in files.values()):
        return {}
    done = {}
    for chunk in lines[1:]:
        with files[chunk["part"]].open("rb") as file:
            file.seek(HEADER + chunk["start"] * 3 * size * size)
            if hashlib.sha256(file.read(chunk["count"] * 3 * size * size)).hexdigest() == chunk["sha256"]:
                done[chunk["part"], chunk["start"]] = chunk
    return done


def _decoded(tasks, total, processes):
    """Decode the chunks, and yield what is to be noted of each, in whatever order they come."""
    from tqdm import tqdm

    left = sum(len(paths) for _, _, _, paths, _ in tasks)
    processes = min(processes or _processors(), max(len(tasks), 1))
    every = 0.5 if sys.stderr.isatty() else 30  # seconds; a log needs few lines
    with contextlib.ExitStack() as context:
        bar = context.enter_context(tqdm(total=total, initial=total - left, unit=" pictures", mininterval=every))
        if processes == 1:
            found = map(_decode_chunk, tasks)
        else:
            spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
            pool = concurrent.futures.ProcessPoolExecutor(processes, spawn, _begin_process)
            context.callback(pool.shutdown, cancel_futures=True)
            futures = [pool.submit(_decode_chunk, task) for task in tasks]
            found = (future.result() for future in concurrent.futures.as_completed(futures))
        try:
            for chunk in found:
                bar.update(chunk["count"])
                yield chunk
        except concurrent.futures.process.BrokenProcessPool:
            raise ValueError(
                "a process that decodes pictures was ended, perhaps because memory ran out: run again, with fewer "
                "--processes; what was done is kept"
            ) from None


def _begin_process():
    """Leave it to the first process to speak of an interruption, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _processors():
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _decode_chunk(task):
    """Decode pictures into their rows of the file, where unreadable ones are black; return what is to be noted."""
    part, start, file, paths, size = task
    pixels, bad = np.zeros((len(paths), 3, size, size), np.uint8), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd in a picture but can be read
        for row, path in enumerate(paths):
            content = b"?"
            try:
                content = Path(path).read_bytes()
                pixels[row] = _decode(content, size)
            except Exception as error:  # a decoder may say anything of damaged bytes
                bad.append((row, _reason(error, content)))
    try:
        with open(file, "r+b") as out:
            out.seek(HEADER + start * 3 * size * size)
            out.write(pixels.data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, file) from None
    numbers = pixels.transpose(1, 0, 2, 3).reshape(3, -1)
    counts = [np.bincount(channel, minlength=256) for channel in numbers]
    return {
        "part": part,
        "start": start,
        "count": len(paths),
        "sha256": hashlib.sha256(pixels.data).hexdigest(),
        "sum": [int(count @ np.arange(256)) for count in counts],
        "squares": [int(count @ np.arange(256) ** 2) for count in counts],
        "bad": bad,
    }


def _decode(content, size):
    """Return a picture's middle square, uint8 (3, size, size)."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a half or less
        image.load()  # what is damaged is said once; after that, Pillow takes what it has for whole
        with contextlib.suppress(Exception):  # damaged EXIF turns nothing
            image = ImageOps.exif_transpose(image)
        if image.mode == "F" or (image.mode == "I" and not 255 < np.asarray(image).max() < 2**16):
            raise ValueError("its gray values are of no known depth")
        if image.mode.startswith("I"):  # 16 bits, which `convert` would clip to 8
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        image = image.convert("RGB")
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = left, top, left + side, top + side
        square = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(square).transpose(2, 0, 1)


def _reason(error, content):
    from PIL import UnidentifiedImageError

    if not content:
        return "the file is empty"
    return "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__


def _bad(parts, done, part):
    """Return (row, path, reason) of a part's unreadable pictures, in order."""
    chunks = sorted((start, chunk["bad"]) for (one, start), chunk in done.items() if one == part)
    return [(start + row, parts[part][start + row][0], reason) for start, bad in chunks for row, reason in bad]


def _check_bad(tree, parts, done, allowed):
    """Raise ValueError where more pictures than allowed, or all of a part, are unreadable."""
    bad = [one for part in parts for one in _bad(parts, done, part)]
    if len(bad) > allowed:
        _, path, reason = bad[0]
        raise ValueError(
            f"{tree}: at least {len(bad)} of {sum(map(len, parts.values()))} pictures cannot be read, such as {path} "
            f"({reason}); allowed are {int(allowed)}: allow a larger share with --allowed-bad, which goes on, or mend "
            "or delete them, which begins again"
        )
    for part, listed in parts.items():
        if len(_bad(parts, done, part)) == len(listed):
            raise ValueError(f"{tree}: no picture of {part} can be read")


def _places(count, bad):
    """Return, for each row that stays, the row that it comes from: the last good ones fill the bad ones' places."""
    kept = count - len(bad)
    last = (row for row in range(kept, count) if row not in bad)
    return [next(last) if row in bad else row for row in range(kept)]


def _close_up(file, count, bad, size):
    """Make a part's file a whole .npy file without the bad rows; interrupted, it can be done again."""
    kept, row_bytes = count - len(bad), 3 * size * size
    with file.open("r+b") as out:
        for row, origin in enumerate(_places(count, bad)):
            if row != origin:
                out.seek(HEADER + origin * row_bytes)
                content = out.read(row_bytes)
                out.seek(HEADER + row * row_bytes)
                out.write(content)
        out.truncate(HEADER + kept * row_bytes)
        out.seek(0)
        described = {"descr": "|u1", "fortran_order": False, "shape": (kept, 3, size, size)}
        np.lib.format.write_array_header_1_0(out, described)
        assert out.tell() == HEADER


def _facts(classes, labels, done, size):
    """Return what the manifest says of a set."""
    kept = len(labels["train"])
    train = [chunk for (part, _), chunk in done.items() if part == "train"]
    total, squares = (np.array([chunk[what] for chunk in train]).sum(0) for what in ("sum", "squares"))
    mean = total / (kept * size * size)
    return {
        "shape": [3, size, size],
        "classes": len(classes),
        "train_examples": kept,
        "test_examples": len(labels["test"]),
        "mean": (mean / 255).round(6).tolist(),
        "sd": (np.sqrt(squares / (kept * size * size) - mean**2) / 255).round(6).tolist(),
        "class_names": classes,
    }
