"""Each mistake ends a command with one line that says what is wrong, where and how to fix it; no file changes."""

import re
import shlex

import pytest
from mistakes import (
    FILE,
    change_study,
    copy_folder,
    fill_disk,
    flip,
    no_network,
    no_space,
    put,
    replace_function,
    swap,
    truncate,
    update_checksum,
)
from sample_study import VALID_STUDY

from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.studies import settings

LOST = update_checksum(swap(rb'"id": "\w+"', b'"id": "0"'))
OTHER = update_checksum(swap(b'"diverged_above": [0-9.]+', b'"diverged_above": 5.0'))
RECORD = "demo/runs/work/study/*.json"
ARRAYS = "demo/runs/work/study/*.npz"
DIGITS = "prepared/digits"
GZ = "MNIST/raw/train-images-idx3-ubyte.gz"
PICKLED = "cifar-100-python/train"
AGAIN = "and train again"
STALE = (
    ".json: stale: training.diverged_above was 5.0 when run ",
    " and is 100000000.0 now: delete the record",
    AGAIN,
)
NO_SPACE = "No space left on device: check space and permissions"

# All other mistakes: id, the command line, what breaks it (functions), words of the message.
ELSEWHERE = [
    ("schedule", "train", change_study("  curr", "  schedule: {name: step, at: [2, 1]}\n  curr"),
     "step: at must increase and factor be between 0 and 1, not [2, 1], 0.1"),
    ("no-command", "", "required: command"),
    ("unknown-command", "trian", "invalid choice: 'trian'", "train", "goodinit --help"),
    ("unknown-argument", "train --devcie cpu", "unrecognized arguments: --devcie"),
    ("claims-of-a-study", "claims work/study", "claims: work/study: verdicts are computed over all studies: omit it"),
    ("export-of-a-study", "export work", "export: work: all studies of a scale are exported: omit it"),
    ("threads-text", "train --threads two", "--threads: invalid int value: 'two'"),
    ("threads-zero", "train --threads 0", "threads must be at least 1, not 0"),
    ("rate-zero", "estimate --rate 0", "rate must be more than 0 and finite, not 0"),
    ("rate-nan", "estimate --rate nan", "rate must be more than 0 and finite, not nan"),
    ("rate-inf", "estimate --rate inf", "rate must be more than 0 and finite, not inf"),
    ("minutes-nan", "train --checkpoint-minutes nan", "checkpoint-minutes must be more than 0, not nan"),
    ("no-results", "report --scale all --results nowhere",
     "results: nowhere has no records of laptop, overnight, paper: train"),
    ("no-verdicts", "readme", "results: no claims.csv at any scale: write them with goodinit report --scale all"),
    ("not-utf8", "list", put(FILE, b"title: \xff"), FILE,
     "'utf-8' codec can't decode byte 0xff in position 7"),
    ("capitals", "list", put("configs/work/Study.yaml"), "configs/work/Study.yaml",
     "lowercase letters, digits and underscores only"),
    ("unknown-scale", "list --scale dmo", "scale: unknown scale 'dmo'; did you mean demo?"),
    ("unknown-work", "train wrok", "works: unknown work 'wrok'; did you mean work?"),
    ("unknown-work-of-study", "train wrok/study", "unknown work 'wrok'; did you mean work?"),
    ("unknown-study", "train work/stduy", "unknown study 'stduy' of work; did you mean study?"),
    ("unknown-job", "train --job relu",
     "job: no job 'relu' at demo scale; allowed: relu+tanh-small+he-seed0"),
    ("no-configs", "list --configs nowhere",
     "nowhere: no studies: expected files like nowhere/<work>/<study>.yaml"),
    ("unknown-figure", "figure work/study --figure lss", copy_folder("results"),
     "figure: work/study has no 'lss'; did you mean loss?"),
    ("no-run", "show zzz", copy_folder("results"),
     "run: no record in results has a run 'zzz': see goodinit list --runs"),
    ("many-runs", "show ''", copy_folder("results"), "run: '' is the beginning of 4 ids: "),
    ("unknown-data-set", "prepare mnits", "mnits: not a data set that is prepared; did you mean mnist?"),
    ("drawn-data-set", "prepare gaussian",
     "gaussian: not a data set that is prepared; allowed: cifar10, cifar100, digits, folder-NAME-144, "),
    ("no-gpu", "train --device cuda", replace_function("torch.cuda.device_count", lambda: 0),
     "device: cuda: there are 0 GPUs; use cpu or auto"),
    ("unknown-device", "train --device gpu", "device: unknown device 'gpu'; did you mean cpu?"),
    ("no-data-root", "train --data-root nowhere",
     "data_root: nowhere is not a folder: create it, or omit data_root"),
    ("no-data-variable", "train",
     lambda folder, monkeypatch, template: monkeypatch.setenv("GOODINIT_DATA", "nowhere"),
     "GOODINIT_DATA: nowhere is not a folder: create it, or omit GOODINIT_DATA"),
    ("paper-without-gpu", "train --scale paper", replace_function("torch.cuda.is_available", lambda: False),
     "4 runs would take about", "seconds at this CPU", "use --device cpu", "or --scale laptop"),
    # Out of range, which only the run tells.
    ("negative-std", "train", change_study("std: 0.01", "std: -1"),
     "work/study: model.activation: relu, init: small: gaussian: std must be at least 0, not -1"),
    ("learning-rate", "train", change_study("lr: 0.1", "lr: 0"),
     "work/study: model.activation: relu: sgd: lr must be more than 0, not 0"),
    ("batch-too-large", "train", change_study("batch_size: 16", "batch_size: 65"),
     "work/study: model.activation: relu: full: batch_size: 65 is more than the 64"),
    ("dropout", "train", change_study("hidden: [8]", "hidden: [8], dropout: 1"),
     "work/study: model.activation: relu: mlp: dropout must be at least 0 and less than 1, not 1"),
    ("step-size", "train",
     change_study("  curr", "  diagnostics: [{name: gradient_check, step_size: 0}]\n  curr"),
     "gradient_check: step_size must be more than 0 and coordinates at least 1"),
    ("units", "train", change_study("hidden: [8]", "hidden: [8, 0]"),
     "mlp: hidden: every layer must have at least 1 unit, not [8, 0]"),
    ("units-estimated", "train --scale paper", change_study("hidden: [8]", "hidden: [0]"),
     replace_function("torch.cuda.is_available", lambda: False),
     "mlp: hidden: every layer must have at least 1 unit, not [0]"),
    ("examples", "train", change_study("n_examples: 64", "n_examples: 5000"),
     "digits: train_examples must be at least 1 and at most 1437, not 5000"),
    ("validation", "train", change_study("test_examples: 32", "validation_examples: 64"),
     "digits: validation_examples: 64 leaves nothing", "at most 63"),
    ("scale", "train", change_study("test_examples: 32", "scale: 0"), "digits: scale must be more than 0, not 0"),
    ("contrast", "train", change_study("digits, train_examples: 64", "shapes, contrast: -55"),
     "shapes: contrast must be more than 0, not -55"),
    ("pad", "train", change_study("digits, train_examples: 64", "shapes, pad: 0"),
     "shapes: pad must be more than 0, not 0"),
    ("clip", "train", change_study("name: sgd, lr: 0.1", "name: momentum, lr: 0.1, clip_norm: 0"),
     "momentum: clip_norm must be more than 0, not 0"),
    ("bins", "train", change_study("  curr", "  diagnostics: [{name: activations, bins: 0}]\n  curr"),
     "activations: ", "bins of at least 1"),
    ("bins-of-one-run", "train", change_study("  curr", "  diagnostics: [{name: activations, bins: 0}]\n  curr"),
     change_study("training.steps: 1", "compare.init: {He: he_normal}"), "activations: ", "bins of at least 1"),
    # Data that are damaged or not to be had.
    ("array-truncated", "train --data-root data", copy_folder("data", f"{DIGITS}/train_images.npy", truncate),
     "digits: the prepared arrays are damaged or incomplete", f"delete data/{DIGITS} and run again"),
    ("array-missing", "train --data-root data",
     copy_folder("data", f"{DIGITS}/test_labels.npy", lambda content: None), "test_labels.npy",
     f"delete data/{DIGITS} and run again"),
    ("array-flipped", "train --data-root data", copy_folder("data", f"{DIGITS}/test_images.npy", flip),
     "digits: the prepared arrays do not match their manifest: delete",
     f"delete data/{DIGITS} and run again"),
    ("manifest-truncated", "train --data-root data", copy_folder("data", f"{DIGITS}/manifest.json", truncate),
     f"delete data/{DIGITS}"),
    ("manifest-list", "train --data-root data",
     copy_folder("data", f"{DIGITS}/manifest.json", lambda content: b"[]"), f"delete data/{DIGITS}"),
    ("manifest-key", "train --data-root data",
     copy_folder("data", f"{DIGITS}/manifest.json", swap(b"classes", b"clases")), "'classes'",
     f"delete data/{DIGITS}"),
    ("mnist-damaged", "prepare mnist --data-root .", put(GZ, b"garbage"),
     f"MNIST: {GZ} is damaged: its MD5 is not f68b3c2dcbeaaa9fbdd348bbdeb94873: delete it and run again"),
    ("mnist-missing", "prepare mnist --data-root .", replace_function("urllib.request.urlopen", no_network),
     f"MNIST: {GZ.removesuffix('.gz')}", "is missing and cannot be downloaded: put the official file there",
     "GOODINIT_DATA"),
    ("cifar100-damaged", "prepare cifar100 --data-root .", put(PICKLED, b"garbage"),
     f"CIFAR-100: {PICKLED} is damaged: its MD5 is not 16019d7e3df5f24257cddd939b257f8d: delete it and run again"),
    ("cifar100-missing", "prepare cifar100 --data-root .", replace_function("urllib.request.urlopen", no_network),
     f"CIFAR-100: {PICKLED} is missing and cannot be downloaded: put the official file there", "GOODINIT_DATA"),
    ("cifar10-missing", "prepare cifar10 --data-root .", replace_function("urllib.request.urlopen", no_network),
     "CIFAR-10: cifar-10-batches-py/data_batch_1 is missing and cannot be downloaded", "GOODINIT_DATA"),
    ("data-not-a-folder", "prepare digits --data-root .", put("prepared"), "prepared: File exists",
     "check space and permissions"),
    ("data-no-space", "prepare digits --data-root .", replace_function("numpy.save", no_space),
     f"{DIGITS}/train_images.npy: 9 requested and 4 written: check space"),
    # Records that are damaged, stale or not there.
    ("record-truncated", "train", copy_folder("results", RECORD, truncate), ".json: damaged record", AGAIN),
    ("record-empty", "table work/study", copy_folder("results", RECORD, lambda content: b""),
     ".json: damaged record", AGAIN),
    ("no-run-beside-damaged", "show zzz", copy_folder("results", RECORD, swap(b'"seed": 0', b'"seed": 1')),
     "run: no record in results has a run 'zzz': see goodinit list --runs"),
    ("record-format", "show ''", copy_folder("results", RECORD, swap(b'"format": 2', b'"format": 3')),
     "record of format 3, not 2", AGAIN),
    ("record-edited", "claims", copy_folder("results", RECORD, swap(b'"seed": 0', b'"seed": 1')),
     ".json: damaged or edited", AGAIN),
    ("record-key", "claims", copy_folder("results", RECORD, update_checksum(swap(b'"status"', b'"staus"'))),
     "damaged record (KeyError: 'status')", AGAIN),
    ("record-lost-run", "train", copy_folder("results", RECORD, LOST), "damaged record: run ", " is missing"),
    ("record-lost-run-table", "table", copy_folder("results", RECORD, LOST), "damaged record: run ",
     " is missing"),
    ("arrays-missing", "train", copy_folder("results", ARRAYS, lambda content: None),
     ".npz: this file of the record is missing", AGAIN),
    ("arrays-truncated", "table", copy_folder("results", ARRAYS, truncate),
     ".npz: damaged: the arrays do not match their checksum", AGAIN),
    ("arrays-flipped", "figure", copy_folder("results", ARRAYS, flip),
     ".npz: damaged: the arrays do not match their checksum", AGAIN),
    ("stale-train", "train", copy_folder("results", RECORD, OTHER), *STALE),
    ("stale-table", "table", copy_folder("results", RECORD, OTHER), *STALE),
    ("stale-figure", "figure", copy_folder("results", RECORD, OTHER), *STALE),
    ("stale-claims", "claims", copy_folder("results", RECORD, OTHER), *STALE),
    ("no-record-table", "table work/study", "work/study: no records at scale demo in results: ",
     "goodinit train work/study --scale demo"),
    ("no-record-figure", "figure work/study", "work/study: no records at scale demo in results: ",
     "goodinit train work/study --scale demo"),
    # What the records do not hold.
    ("table-metric", "table", copy_folder("results"), change_study("- {metric: loss", "- {metric: lss"),
     f"{FILE}: table: metric: 'lss'", "did you mean loss?"),
    ("table-step", "table", copy_folder("results"), change_study("- {metric: loss", "- {metric: loss, at: 99"),
     f"{FILE}: table: no measure"),
    ("figure-metric", "figure", copy_folder("results"), change_study("y: loss", "y: lss"),
     f"{FILE}: figures.loss: metric: 'lss'", "did you mean loss?"),
    ("claim-metric", "claims", copy_folder("results"), change_study("metric: loss, below", "metric: lss, below"),
     f"{FILE}: claims.low: metric: 'lss'", "did you mean loss?"),
    ("claim-of-many", "claims", copy_folder("results"), change_study("where: {model.activation: relu}", "where: {}"),
     f"{FILE}: claims.first: where: more than one model.activation in init small: name one"),
    # Output that cannot be written.
    ("results-not-a-folder", "train", put("results"), "results/demo/runs/work",
     "Not a directory: check space and permissions"),
    ("figures-not-a-folder", "figure", copy_folder("results"), put("figures"), "figures/demo/work",
     "check space and permissions"),
    ("table-not-a-folder", "table", copy_folder("results"), put("results/demo/tables"), "results/demo/tables/work",
     "check space"),
    ("no-space-arrays", "train", fill_disk(".npz"), "results/demo/runs/work/study/relu+tanh", f".npz: {NO_SPACE}"),
    ("no-space-record", "train", fill_disk(".json"), "results/demo/runs/work/study/relu+tanh",
     f".json: {NO_SPACE}"),
    ("no-space-table", "table", copy_folder("results"), fill_disk(".csv"),
     f"results/demo/tables/work/study.csv: {NO_SPACE}"),
    ("no-space-figure", "figure", copy_folder("results"), fill_disk(".svg"),
     f"figures/demo/work/study-loss.svg: {NO_SPACE}"),
    ("no-space-claims", "claims", copy_folder("results"), fill_disk(".csv"), f"results/demo/claims.csv: {NO_SPACE}"),
]  # fmt: skip

CASES = [pytest.param(line, rest, id=name) for name, line, *rest in ELSEWHERE]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with the study, its data and its records, all of them whole."""
    folder = tmp_path_factory.mktemp("whole")
    put(FILE, VALID_STUDY.encode())(folder, None, None)
    (folder / "data").mkdir()
    main(["prepare", "digits", "--data-root", str(folder / "data")])
    places = {"configs": "configs", "results": "results", "data-root": "data"}
    main(["train", "--device=cpu", *(f"--{name}={folder / place}" for name, place in places.items())])
    return folder


@pytest.mark.parametrize(("line", "rest"), CASES)
def test_a_mistake_ends_with_one_clear_line(line, rest, template, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOODINIT_DATA", str(template / "data"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    put(FILE, VALID_STUDY.encode())(tmp_path, None, None)
    for breaks in filter(callable, rest):
        breaks(tmp_path, monkeypatch, template)
    before = _files(tmp_path, template)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line))
    *said, error = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert error.startswith("goodinit: error: ")
    assert not [other for other in said if not re.fullmatch(r"\d+ jobs, \d+ of them recorded already|  .*", other)]
    assert not [word for word in rest if not callable(word) and word not in error], error
    assert _files(tmp_path, template) == before


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"scle": "demo"}, "unknown key 'scle'; did you mean scale?"),
        ({"scale": "labtop"}, "scale: 'labtop' is not known; did you mean laptop?"),
        ({"device": "gpu"}, "device: 'gpu' is not auto, cpu, cuda or cuda:N"),
        ({"device": 1}, "device: 1 is not"),
        ({"works": 3}, "works: 3 is not of type 'array'"),
        ({"works": [3]}, "works.0: 3 is not of type 'string'"),
        ({"data_root": 3}, "data_root: 3 is not of type 'string', 'null'"),
        ({"results": ""}, "results: '' should be non-empty"),
    ],
    ids=str,
)
def test_a_mistake_in_the_settings(config, words):
    with pytest.raises(InputError, match=re.escape(words)) as raised:
        settings.check(config)
    assert str(raised.value).startswith("configs/config.yaml or --config: ")


def _files(*folders):
    """Return {file: what tells whether it was changed}, without locks, which are not removed."""
    found = (file for folder in folders for file in folder.rglob("*") if not file.is_dir() and file.suffix != ".lock")
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in found}
