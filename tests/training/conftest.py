"""Fixtures of the tests of training."""

import pytest
from example_project import TWO_INITIALIZERS

from goodinit import studies


@pytest.fixture
def study(tmp_path):
    """Return a small study in tmp_path/configs."""
    file = tmp_path / "configs" / "work" / "study.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(TWO_INITIALIZERS)
    return studies.load(file)
