"""What `make install` leaves, the manual, the unit."""

import os
import re
import shutil
import subprocess

import harness
import needs

MAN = harness.ROOT / "man"


def test_install_and_uninstall(tmp_path):
    def make(target):
        subprocess.run(["make", "-s", "-C", str(harness.ROOT), target, f"BUILD={harness.BUILD}", f"DESTDIR={tmp_path}", "PREFIX=/usr",
                        "MAKEFLAGS="], check=True, capture_output=True, timeout=600)
    make("install")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"usr/sbin/mfdrelay", "usr/share/man/man8/mfdrelay.8", "usr/share/man/man5/mfdrelay.conf.5",
                     "usr/share/man/man7/mfdrelay-catalogue.7",
                     "usr/share/man/man7/mfdrelay-microsoft365.7",
                     "usr/share/doc/mfdrelay/mfdrelay.conf", "etc/mfdrelay/mfdrelay.conf",
                     "lib/systemd/system/mfdrelay.service", "usr/lib/sysusers.d/mfdrelay.conf"}
    unit = (tmp_path / "lib/systemd/system/mfdrelay.service").read_text()
    assert "ExecStart=/usr/sbin/mfdrelay serve" in unit and "@" not in re.sub(r"~?@[a-z-]+", "", unit)
    (tmp_path / "etc/mfdrelay/mfdrelay.conf").write_text("the admin's")
    make("install")
    assert (tmp_path / "etc/mfdrelay/mfdrelay.conf").read_text() == "the admin's"
    make("uninstall")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["mfdrelay.conf"]


def test_setup_tells_another_release_that_it_is_made_for_debian_12(tmp_path):
    release, dpkg = tmp_path / "os-release", tmp_path / "dpkg-query"
    release.write_text('ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n')
    dpkg.write_text("#!/bin/sh\n")  # nothing is installed
    dpkg.chmod(0o755)
    under = needs.mounts_of_its_own('mount --bind "$0" /etc/os-release && exec "$@"', release)
    done = subprocess.run([*under, "env", f"PATH={tmp_path}:/usr/bin:/bin", "sh", harness.ROOT / "contrib/setup.sh", "--runtime"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and re.search(r"Debian 12.*trixie[^:]*:.* libevent", done.stderr), done


def test_the_manual_has_no_fault(tmp_path):
    pages = [*MAN.glob("*.[5-8]"), harness.BUILD / "mfdrelay-catalogue.7"]
    for page in pages:  # together, for what they refer to
        shutil.copy(page, tmp_path)
    result = subprocess.run(["mandoc", "-Tlint", *(page.name for page in pages)], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "mfdrelay" not in result.stdout, result.stdout


def test_the_unit_is_hardened(tmp_path):
    unit = tmp_path / "mfdrelay.service"
    unit.write_text((harness.ROOT / "systemd" / "mfdrelay.service").read_text().replace("@SBINDIR@", "/usr/sbin"))
    assert shutil.which("systemd-analyze"), "systemd-analyze is missing: run sh contrib/setup.sh"
    result = subprocess.run(["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True)
    score = re.search(r"Overall exposure level for mfdrelay.service: ([\d.]+)", result.stdout)
    assert score, result.stdout + result.stderr
    assert float(score[1]) < 2.0, score[0]


def test_the_unit_calls_nothing_that_a_small_debian_lacks():
    unit = (harness.ROOT / "systemd/mfdrelay.service").read_text()
    programs = set(re.findall(r"^Exec\w+=[+!:-]*(\S+)", unit, re.M)) - {"@SBINDIR@/mfdrelay"}
    assert len(programs) >= 3
    for program in programs:
        owner = subprocess.run(["dpkg-query", "-S", "*" + os.path.realpath(program).removeprefix("/usr")], capture_output=True, text=True,
                               check=True).stdout.split(":")[0]
        essential = subprocess.run(["dpkg-query", "-W", "-f", "${Essential}", owner], capture_output=True, text=True, check=True).stdout
        assert essential == "yes", f"{program} is of {owner}, which need not be there"


def test_the_units_check_before_a_reload_asks_for_no_credential(sim, make_relay):
    """systemd sets the variable for it, and has the folder for the daemon alone."""
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth={"client_secret": "credential:client-secret"})]
    relay.write_config()
    line = re.search(r"^ExecReload=(.* check)$", (harness.ROOT / "systemd/mfdrelay.service").read_text(), re.M)[1]

    def check():
        command = line.replace("@SBINDIR@/mfdrelay", harness.binary("mfdrelay")).split()
        return subprocess.run([*command, "-c", str(relay.config)], capture_output=True, text=True, timeout=20,
                              env={**harness.environment(), "CREDENTIALS_DIRECTORY": "/run/credentials/mfdrelay.service"})
    done = check()
    assert done.returncode == 0 and "credential:client-secret" in done.stdout + done.stderr, done
    relay.write_config(retry={"first": "never"})
    assert check().returncode != 0


def calls_of(group):
    """The system calls of one of systemd's groups, and of those in it."""
    lines = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True).stdout.splitlines()
    words = [line.strip() for line in lines[1:] if not line.strip().startswith("#")]
    return set().union(*(calls_of(word) if word.startswith("@") else {word} for word in words))


def test_the_unit_lets_the_workers_enter_their_sandbox():
    """Its filter has what sandbox.c calls, and all that the workers' own filter leaves."""
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.+)$", (harness.ROOT / "systemd/mfdrelay.service").read_text(), re.M):
        words = line.removeprefix("~").split()
        calls = set().union(*(calls_of(word) if word.startswith("@") else {word} for word in words))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    sandbox = (harness.ROOT / "src/supervisor/sandbox.c").read_text()
    own, left = set(re.findall(r"\bSYS_(\w+)", sandbox)), set(re.findall(r"\bSCMP_SYS\((\w+)\)", sandbox))
    assert {"capset", "landlock_restrict_self"} <= own and {"read", "clone3"} <= left
    assert (own | left | {"seccomp", "prctl"}) - allowed == set()


def test_listener_and_sender_never_include_each_other():
    for one, other in (("listener", "sender"), ("sender", "listener")):
        for file in (harness.ROOT / "src" / one).glob("*.[ch]"):
            assert f'#include "{other}/' not in file.read_text(), file
