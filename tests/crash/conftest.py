"""The system tests' harness and fixtures; and no tests with an interposed library where there cannot be one."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import harness  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "interposed: the daemon runs with a library of the tests loaded first")


def pytest_collection_modifyitems(items):
    """A sanitizer's library must be the first one loaded, which the interposed one would be."""
    if harness.is_sanitized():
        for item in items:
            if item.get_closest_marker("interposed"):
                item.add_marker(pytest.mark.skip(reason="mfdrelay is a sanitizer build: no LD_PRELOAD before libasan; make crash has it"))


def fixtures_of_the_system_tests():
    """Loaded under a name of its own: two files are called conftest."""
    import importlib.util
    path = pathlib.Path(harness.__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("system_conftest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_system = fixtures_of_the_system_tests()
make_sim, sim, make_relay, relay = _system.make_sim, _system.sim, _system.make_relay, _system.relay
