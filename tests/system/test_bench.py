"""The benchmark itself, small: that it runs, and that its figures are there. What they are is not a test's business."""

import json
import os
import subprocess
import sys

import pytest

import harness


@pytest.mark.skipif(harness.is_valgrind(), reason="what valgrind runs is not to be measured; make check has it")
def test_the_benchmark_measures(tmp_path):
    report = tmp_path / "report.json"
    command = [sys.executable, str(harness.ROOT / "tests" / "bench" / "bench.py"), "--without-postfix", "--only", "AG", "--runs",
               "1", "--scale", "0.01", "--json", str(report)]
    done = subprocess.run(command, env=dict(os.environ, BENCH_DIR=str(tmp_path)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    plain, tls = found["A"]["mfdrelay"][0], found["G"]["mfdrelay"][0]
    assert plain["accepts"] >= plain["delivers"] > 0 and plain["p99_ms"] > 0
    assert tls["accepts"] >= tls["delivers"] > 0 and 1 <= tls["connections"] <= 10
    assert found["disk_limit"]["16"] > 0
    assert f"mfdrelay {found['versions']['mfdrelay']} on {found['file_system']}, Linux {found['linux']}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [report.name], "the benchmark left something behind"
