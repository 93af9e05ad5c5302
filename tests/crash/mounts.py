"""File systems of a test's own. Where mounting is not permitted, the test is skipped and says why."""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess

import pytest

from harness import wait_until

EXT4_IOC_SHUTDOWN = 0x8004587d  # _IOR('X', 125, __u32), as of linux/fs/ext4
NO_LOG_FLUSH = 2


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60)
    return done.stderr.strip() or f"{command[0]} ended with {done.returncode}" if done.returncode != 0 else None


def is_let_go(what):
    """Whether no loop device has the file. A daemon with mounts of its own has taken those of all tests with it: a file system
    that it still has is not really unmounted, and comes back as it was."""
    return not subprocess.run(["losetup", "-j", what], capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def mounted(folder, kind, what="none", options="defaults"):
    """folder, with a file system mounted on it."""
    folder.mkdir(parents=True, exist_ok=True)
    refused = run("mount", "-t", kind, "-o", options, what, folder)
    if refused:
        pytest.skip(f"mounting {kind} takes root with CAP_SYS_ADMIN (sudo make check) and a kernel that has it: {refused}")
    try:
        yield folder
        problem = run("umount", folder)
        assert problem is None, problem
        wait_until(lambda: is_let_go(what), 60, f"another test's mount namespace to let go of {what}")
    except BaseException:
        run("umount", "-l", folder)
        raise


def make_ext4(image, megabytes):
    """A file with ext4 in it."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("e2fsprogs is missing; run: sh contrib/setup.sh")
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    problem = run("mkfs.ext4", "-q", "-O", "has_journal", image)
    assert problem is None, problem


def cut_power(folder):
    """From now on nothing that the file system still has in memory reaches its disk: neither data nor journal."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    except OSError as problem:
        pytest.skip(f"this kernel's ext4 cannot be shut down: {problem}")
    finally:
        os.close(fd)


@contextlib.contextmanager
def frozen(folder):
    """Whoever writes to the file system sleeps until the end, as while a machine's backup takes its snapshot."""
    problem = run("fsfreeze", "--freeze", folder)
    assert problem is None, problem
    try:
        yield
    finally:
        run("fsfreeze", "--unfreeze", folder)


def force_error(folder):
    """ext4 finds an error in itself, and does what its mount options say."""
    device = next(line.split()[0] for line in open("/proc/self/mounts") if line.split()[1] == str(folder))
    # A minimal system has no /sys, a container may only read its own.
    with mounted(folder.with_name("sys"), "sysfs") as sys:
        try:
            (sys / "fs/ext4" / os.path.basename(device) / "trigger_fs_error").write_text("a test")
        except OSError as problem:
            pytest.skip(f"this kernel's ext4 cannot be given an error: {problem}")


def repair(image):
    subprocess.run(["e2fsck", "-fy", image], capture_output=True, timeout=60)
