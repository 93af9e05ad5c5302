"""What a test needs of its machine: where that is missing, the test is skipped and says what would let it run."""

import os

import pytest


def root(what):
    """Marks a test that only root can run; what: the thing that takes root."""
    return pytest.mark.skipif(os.geteuid() != 0, reason=f"{what} takes root: sudo make check")
