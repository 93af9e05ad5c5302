"""What a test needs of its machine: where that is missing, the test is skipped and says what would let it run."""

import os
import subprocess

import pytest


def root(what):
    """Marks a test that only root can run; what: the thing that takes root."""
    return pytest.mark.skipif(os.geteuid() != 0, reason=f"{what} takes root: sudo make check")


def mounts_of_its_own(script, argument):
    """For Relay.under: script, a shell's, mounts what only the daemon is to see, and ends in exec "$@"; $0 is argument."""
    under = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", script, str(argument)]
    tried = subprocess.run([*under, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"a mount namespace is not permitted here; it takes root (sudo make check): {tried.stderr.strip()}")
    return under
