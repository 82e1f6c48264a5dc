"""Random changes of studies, settings and records lead to a valid plan or to an error of one clear line.

Each `example` is an input that the random search found and that once ended in a traceback or in a long message.
"""

import copy
import json
import string
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkout import CONFIGS
from hypothesis import example, given
from hypothesis import strategies as st

from goodinit import records, studies
from goodinit.errors import InputError
from goodinit.records import storage
from goodinit.studies import settings

BODIES = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(CONFIGS.glob("*/*.yaml"))]
TEXTBOOK = yaml.safe_load((CONFIGS / "textbook" / "dropout.yaml").read_text(encoding="utf-8"))
SEARCH = yaml.safe_load((CONFIGS / "textbook" / "random_search.yaml").read_text(encoding="utf-8"))
WITHIN = {"metric": "loss", "below": 3.0}
CLAIM = {"id": "low", "says": "It is low.", "source": "here", "test": {"within": WITHIN}}
LONG = "a" * 5000

# Values that people write by mistake, or to do harm.
HOSTILE = st.sampled_from([
    "../../etc/passwd", "/tmp/x", "..", "", " ", "a/b", "{0.__class__}", "%s%n", "$(touch x)", "__import__('os')",
    "1e-3", "nan", "yes", "null", "\x00", "é", "猫", "\u202e", "a" * 5000, "model", "training.steps", "init..name",
])  # fmt: skip
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.sampled_from([0, -1, 1, 2**63, 10**400, 1e308, -0.0, 0.5, 2])
)
WORDS = st.one_of(HOSTILE, st.text(string.printable, max_size=12))
VALUES = st.recursive(
    st.one_of(st.none(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, NUMBERS), inner, max_size=3)),
    max_leaves=6,
)


def _paths(value, path=()):
    """Return the paths of all values in a document."""
    paths = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        paths += _paths(item, (*path, key))
    return paths


@st.composite
def changed(draw, documents):
    """Draw a document in which one to three values are changed, removed, copied or added."""
    body = copy.deepcopy(draw(documents))
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in _paths(body) if path]
        if not paths:
            return draw(VALUES)
        *parents, last = draw(st.sampled_from(paths))
        container = body
        for key in parents:
            container = container[key]
        kind = draw(st.sampled_from(["value", "remove", "add", "swap"]))
        if kind == "value":
            container[last] = draw(VALUES)
        elif kind == "remove":
            del container[last]
        elif kind == "add" and isinstance(container, dict):
            container[draw(st.one_of(WORDS, NUMBERS))] = draw(VALUES)
        else:
            *other_parents, other = draw(st.sampled_from(paths))
            try:
                value = body
                for key in (*other_parents, other):
                    value = value[key]
            except (KeyError, IndexError, TypeError):
                continue
            container[last] = copy.deepcopy(value)
    return body


def _assert_one_line(error):
    message = str(error)
    assert message.strip()
    assert len(message) <= 280  # and the command line's prefix: 300
    assert message.isprintable()
    assert "Traceback" not in message


def _plan(path):
    """Load a study and fill its runs, as Snakemake and a training job do."""
    try:
        study = studies.load(path)
    except InputError as error:
        _assert_one_line(error)
        return
    for scale in studies.SCALES:
        for job in study.jobs(scale)[:3]:
            file = records.path("results", scale, study, job)
            assert file.parent == Path("results", scale, "runs", study.work, study.name)
            assert ".." not in file.parts
            assert json.dumps([studies.fill(run.parts) for run in job.runs], allow_nan=False)
    for name in study.figures:
        assert Path(name).name == name


@given(body=changed(st.sampled_from(BODIES)))
@example(body=TEXTBOOK | {"conditions": {1: "he_normal", "small": "gaussian"}})
@example(body=TEXTBOOK | {"compare": {1: 0, "init": 0}})
@example(body=TEXTBOOK | {"conditions": {"large": {"init": "he_normal", 0: None}}})
@example(body=TEXTBOOK | {"compare": {"model": {"large": {"name": "mlp", 0: None}}}})
@example(body=TEXTBOOK | {"scales": {"demo": {"compare.model": {1: {2: 3}}, 4: 5}}})
@example(body=TEXTBOOK | {"claims": [{**CLAIM, "test": {"within": {**WITHIN, "where": None}}}]})
@example(body=TEXTBOOK | {LONG: 1})
@example(body=TEXTBOOK | {"title": {LONG: [LONG]}})
@example(body=TEXTBOOK | {"fixed": TEXTBOOK["fixed"] | {"model": {"name": "mlp", "hidden": LONG}}})
@example(body=TEXTBOOK | {"fixed": TEXTBOOK["fixed"] | {"init": LONG}})
@example(body=TEXTBOOK | {"scales": {"demo": {LONG: 1}}})
@example(body=TEXTBOOK | {"seeds": 1.0})
@example(body=TEXTBOOK | {"pack": 2.0})
@example(body=TEXTBOOK | {"revision": 1.0})
@example(body=TEXTBOOK | {"scales": {"demo": {"seeds": 1.0, "pack": 3.0}}})
@example(body=TEXTBOOK | {"scales": {"demo": {"resources": {"mem_mb": 1e3}}}})
@example(body=TEXTBOOK | {"seeds": 2**63})
@example(body=TEXTBOOK | {"scales": {"demo": {"seeds": 2**63}}})
@example(body=SEARCH | {"tune": SEARCH["tune"] | {"trials": 2**63}})
@example(body=SEARCH | {"scales": {"demo": {"tune.trials": 2**63}}})
@example(body=TEXTBOOK | {"compare": {f"training.option_{axis}": list(range(10)) for axis in range(12)}})
def test_a_changed_study_is_planned_or_rejected(body, tmp_path):
    file = tmp_path / (body["source"]["work"] if _has_work(body) else "work") / "study.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(body, allow_unicode=True), encoding="utf-8")
    _plan(file)


def _has_work(body):
    try:
        return body["source"]["work"] in ("lsuv", "pdi", "semisync", "textbook", "xavier_he")
    except (KeyError, TypeError, IndexError):
        return False


@example(content="a: é\x00\u202e".encode())
@example(content=b"\xff\xfe")
@example(content=b"[" * 200)
@example(content=b"{1: {2: 3}, a: b}")
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_arbitrary_bytes_are_rejected(content, tmp_path):
    file = tmp_path / "work" / "study.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    _plan(file)


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch harm']",
        "!!python/name:os.system",
        "a: &a [*a]",
        "a: &a {b: *a}",
        "&a [*a, *a]",
        "x: &x [" + "y, " * 9 + "y]\nz: [*x, *x]",
        "[" * 3000,
        "{a: " * 3000,
    ],
)
def test_harmful_documents_are_rejected(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "work" / "study.yaml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(InputError) as raised:
        studies.load(file)
    _assert_one_line(raised.value)
    assert not (tmp_path / "harm").exists()


@example(settings_={LONG: LONG})
@example(settings_={"scale": LONG})
@example(settings_={"works": [LONG, 1]})
@example(settings_={"data_root": 10**400})
@given(settings_=st.dictionaries(st.one_of(st.sampled_from(["scale", "works", "results", "device"]), WORDS), VALUES))
def test_random_settings_are_accepted_or_rejected(settings_):
    try:
        checked = settings.check(settings_)
    except InputError as error:
        _assert_one_line(error)
    else:
        assert checked["scale"] in studies.SCALES


def test_a_deeply_nested_record_is_rejected(tmp_path):
    (tmp_path / "job.json").write_text('{"format": ' + "[" * 100_000)
    with pytest.raises(InputError, match="damaged record"):
        records.read(tmp_path / "job.json")


SERIES = {
    "loss": records.Series(np.arange(1, 4), np.arange(3.0)),
    "seen": records.Series(np.array([0]), np.ones((1, 2))),
}
RUN = {
    "seed": 1, "parts": {"a": {"name": "b"}}, "filled": {"a": {"name": "b", "c": 1}}, "status": "finished",
    "diverged_at": None, "steps": 3, "seconds": {"training": 1.0}, "provenance": {"device": "cpu"},
}  # fmt: skip


def _record_text():
    """Return the content of the two files of a record: its JSON, parsed, and its arrays."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        records.write(file, [records.RunRecord(id=name, series=SERIES, **RUN) for name in ("0a", "0b")])
        return json.loads(file.read_text()), file.with_suffix(".npz").read_bytes()


TEXT, ARRAYS = _record_text()


@example(body=TEXT | {"runs": [TEXT["runs"][0] | {"status": LONG}]})
@example(body=TEXT | {"runs": [TEXT["runs"][0] | {"series": {LONG: {"array": "loss", "rows": [0, 9]}}}]})
@example(body=TEXT | {"format": LONG})
@example(body=TEXT | {"runs": [[]]})
@given(body=changed(st.just(TEXT)))
def test_a_changed_record_is_read_or_rejected(body, tmp_path):
    """The checksum is that of the changed record."""
    try:
        body = body | {"sha256": storage.checksum(body)}
        content = json.dumps(body)
    except (TypeError, ValueError, AttributeError):
        content = repr(body)
    file = tmp_path / "job.json"
    file.with_suffix(".npz").write_bytes(ARRAYS)
    file.write_text(content, encoding="utf-8", errors="backslashreplace")
    try:
        runs = records.read(file)
    except InputError as error:
        _assert_one_line(error)
    else:
        assert all(isinstance(run, records.RunRecord) for run in runs)
