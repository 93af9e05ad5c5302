"""tests/devices-rows: what proves each row of what old devices do is there."""

import re

from harness import ROOT

ROWS = ROOT / "tests" / "devices-rows"


def rows():
    """(name, what follows) of each row."""
    lines = [line for line in ROWS.read_text().splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(": ", 1)) for line in lines]


def is_there(proof):
    """Whether that dialog, that pair of a message before and after its repair, or that test of a file exists and is run."""
    if proof.endswith(".txt"):
        return (ROOT / "tests" / "dialogs" / proof).exists()
    if proof.endswith(".eml"):
        name = proof.removesuffix(".eml")
        return all((ROOT / "tests" / "repairs" / f"{name}.{side}.eml").exists() for side in ("in", "out"))
    file, _, test = proof.partition(":")
    path = ROOT / "tests" / ("unit" if file.endswith(".c") else "system") / file
    run = r"cmocka_unit_test\w*\(\s*%s\b" if file.endswith(".c") else r"^def %s\("
    return bool(test) and path.exists() and re.search(run % re.escape(test), path.read_text(), re.M) is not None


def test_at_most_ten_rows_go_without_a_proof():
    assert len([name for name, rest in rows() if rest.startswith("- ")]) <= 10


def test_each_row_has_a_name_of_its_own_and_a_proof_or_a_reason():
    names = [name for name, _ in rows()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+ [a-z0-9-]+", name) for name in names)
    assert all(rest.strip() for _, rest in rows())


def test_each_proof_is_there():
    missing = [(name, proof) for name, rest in rows() if not rest.startswith("- ") for proof in rest.split() if not is_there(proof)]
    assert not missing
