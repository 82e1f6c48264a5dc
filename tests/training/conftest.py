"""Fixtures of the tests of training."""

import pytest
from example_project import STUDY

from goodinit import studies


@pytest.fixture
def study(tmp_path):
    """Return a small study in tmp_path/configs."""
    file = tmp_path / "configs" / "work" / "study.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return studies.load(file)
