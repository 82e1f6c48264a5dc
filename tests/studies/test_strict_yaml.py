"""Files are YAML 1.2: numbers are numbers, dates are text, and nothing that a record cannot hold is accepted."""

import pytest

from goodinit.errors import InputError
from goodinit.studies import strict_yaml


def _read(tmp_path, text):
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")
    return strict_yaml.read(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),  # text in YAML 1.1
        ("5e4", 50000.0),
        ("1.0e-3", 0.001),
        ("3", 3),
        ("010", 10),  # 8 in YAML 1.1
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("yes", "yes"),  # true in YAML 1.1
        ("true", True),
        ("null", None),
        ("2026-01-31", "2026-01-31"),  # a date in YAML 1.1
        ("'1e-3'", "1e-3"),
    ],
)
def test_a_value_is_what_yaml_1_2_says(tmp_path, text, value):
    (read,) = _read(tmp_path, f"key: {text}\n").values()
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 'line 3: found duplicate key "a"'),
        ("a: {b: .inf}\n", "a.b: inf cannot be recorded: write a finite number"),
        ("a: [1, .nan]\n", "a.1: nan cannot be recorded"),
        ("a: {b: 0xffffffffffffffff}\n", "a.b: the integer has more than 64 bits"),
        ("a: !!set {b}\n", "a: a set cannot be recorded"),
        ("a: !!binary aGk=\n", "a: a bytes cannot be recorded"),
        ("a: {1: 2}\n", "a: the key 1 is not text: write it in quotes"),
        ("a: {compare: {true: 2}}\n", "a.compare: the key True is not text"),
        ("a: {b: 1\nc: 2\n", "line 1: not YAML"),
        ("a: &a [*a]\n", "nested too deeply, or a value contains itself"),
        ("a: !!python/object:os.system x\n", "line 1: not YAML"),
        ("- 1\n", "expected keys and values, not list"),
        ("", "expected keys and values, not nothing"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(tmp_path, text, message):
    with pytest.raises(InputError) as raised:
        _read(tmp_path, text)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path / 'file.yaml'}: ")


def test_labels_may_be_numbers(tmp_path):
    assert _read(tmp_path, "compare: {init.std: {1: 0.5, 0.1: 2}}\n") == {"compare": {"init.std": {1: 0.5, 0.1: 2}}}
