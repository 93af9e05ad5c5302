"""Promise 1 against a power cut: what was acknowledged is there when the power comes back, and whole.

First on paper: every change of the spool and every sync of a run are recorded (record.c). From any prefix of that record
follows what the disk may hold when the power fails there: the data that a sync of its file has covered, the names that a
sync of their folder has covered, and of the rest anything. Such spools are built, and the daemon's start-up is run on them.

Then for real: ext4 on a loop device, cut off under load.

TORTURE=1 cuts after every call, and not only after each 250 and every seventh (where all files have names: fiftieth)."""

import concurrent.futures
import json
import os
import queue
import random
import re
import shutil
import struct
import tempfile
import threading

import pytest

import harness
import mounts
from harness import behind_trace, make_mail, wait_until

TORTURE = os.environ.get("TORTURE") == "1"
SEED = int(os.environ.get("TORTURE_SEED", "2009"))
SESSIONS, MESSAGES_EACH = 8, 8
KINDS = ["create", "write", "truncate", "sync-begin", "sync-end", "link", "rename", "unlink", "mkdir", "acknowledged",
         "sync-whole-begin", "sync-whole-end"]
HEAD = struct.Struct("=IIQQQ96s96s")
NOT_FOUND = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
NOT_NOW = "451 4.3.2 Temporary server error. Please try again later ATTR5"


# --- the record ---------------------------------------------------------------------------------------------------------

class RecordedRelay(harness.Relay):
    """A relay under record.so."""

    def __init__(self, folder, sim, named, **overrides):
        # The library looks where a descriptor leads, which the sandbox would refuse.
        super().__init__(folder, sim, sandbox="off", **overrides)
        self.record = self.dir / "record"
        self.own = {"LD_PRELOAD": harness.binary("record.so"), "RECORD_LOG": str(self.record), "RECORD_SPOOL": str(self.spool)}
        if named:
            self.own["RECORD_NAMED"] = "1"

    def start(self, **options):
        os.environ.update(self.own)
        try:
            return super().start(**options)
        finally:
            for name in self.own:
                del os.environ[name]

    def records(self):
        """(kind, thread, inode, offset, path, to, data) of each call, in order."""
        data, at = self.record.read_bytes(), 0
        while at < len(data):
            kind, thread, inode, offset, size, path, to = HEAD.unpack_from(data, at)
            at += HEAD.size + size
            yield KINDS[kind], thread, inode, offset, text(path), text(to), data[at - size:at]


def text(field):
    return field.split(b"\0")[0].decode()


class File:
    """One file's writes, in order; so many of the first are on stable storage."""

    def __init__(self):
        self.writes, self.durable, self.known = [], 0, {}

    def content(self, survives):
        """What is in it when those of the later writes are there of which survives() says so."""
        which = tuple(i for i in range(len(self.writes)) if i < self.durable or survives())
        if which not in self.known:
            self.known[which] = self.put_together(which)
        return self.known[which]

    def put_together(self, which):
        data = bytearray()
        for offset, part in (self.writes[i] for i in which):
            if part is None:
                del data[offset:]
            else:
                data.extend(bytes(max(0, offset + len(part) - len(data))))
                data[offset:offset + len(part)] = part
        return bytes(data)


class Change:
    """A name that comes or goes. A rename is two; the old name does not go unless the new one has come, whichever of the two
    folders has been synced."""

    def __init__(self, path, file, needs=None):
        self.path, self.file, self.needs = path, file, needs  # file None: it goes
        self.durable = False

    folder = property(lambda self: os.path.dirname(self.path))


class Disk:
    """What may be on the disk, record by record. Two disks that lie are there to show that the test would notice: "files" and
    "folders" say which syncs do nothing."""

    def __init__(self, lies=None):
        self.lies = lies
        self.by_inode, self.names, self.changes, self.syncing = {}, {}, [], {}
        self.acknowledged, self.ended = set(), set()

    def take(self, kind, thread, inode, offset, path, to, data):
        if kind == "create":
            self.by_inode[inode] = File()
            if path:
                self.change(path, self.by_inode[inode])
        elif kind in ("write", "truncate"):
            self.by_inode[inode].writes.append((offset, data if kind == "write" else None))
        elif kind == "sync-begin":
            file = self.by_inode.get(inode)
            self.syncing[thread] = (file, len(file.writes)) if file else (None, [c for c in self.changes if c.folder == path])
        elif kind == "sync-end":
            self.synced(*self.syncing.pop(thread))
        elif kind == "sync-whole-begin":
            # The names are on the disk as well, which the daemon does not count on.
            self.syncing[thread] = [(file, len(file.writes)) for file in self.by_inode.values()]
        elif kind == "sync-whole-end":
            for file, writes in self.syncing.pop(thread):
                self.synced(file, writes)
        elif kind == "link":
            self.change(path, self.by_inode[inode])
        elif kind == "rename":
            self.change(path, None, needs=self.change(to, self.names[path]))
        elif kind == "unlink":
            self.change(path, None)
            if path.startswith("queue/") and "tmp." not in path:
                self.ended.add(os.path.basename(path))
        elif kind == "mkdir":
            self.change(path, "folder")
        elif kind == "acknowledged":
            self.acknowledged.add(data.decode())

    def change(self, path, file, needs=None):
        change = Change(path, file, needs)
        self.changes.append(change)
        self.names[path] = file
        return change

    def synced(self, file, what):
        if file is not None and self.lies != "files":
            file.durable = max(file.durable, what)
        elif file is None and self.lies != "folders":
            for change in what:
                change.durable = True

    def survivors(self, name_survives, data_survives):
        """{path: its bytes} after the cut; the two say of each thing that no sync has covered whether it is there."""
        names, there = {}, set()
        for change in self.changes:
            if not (change.durable or name_survives()) or (change.needs is not None and change.needs not in there):
                continue
            there.add(change)
            if change.file is None:
                names.pop(change.path, None)
            else:
                names[change.path] = change.file
        return {path: None if file == "folder" else file.content(data_survives) for path, file in names.items()
                if file == "folder" or names.get(os.path.dirname(path), "folder" if "/" not in path else None) == "folder"}


def yes():
    return True


def no():
    return False


def variants(disk, chance):
    """(name, files) for each way in which what was not synced may have survived."""
    def toss():
        return chance.random() < 0.5
    yield "only what was synced", disk.survivors(no, no)
    yield "all of it", disk.survivors(yes, yes)
    yield "names without data", disk.survivors(yes, no)
    yield "data without names", disk.survivors(no, yes)
    yield "at random", disk.survivors(toss, toss)


# --- the run that is recorded -------------------------------------------------------------------------------------------

def mail_of(session, i):
    """Some small, some of several buffers; the tail of the envelope is then written over."""
    size = (1, 30, 70_000, 200_000)[(session + i) % 4]
    return make_mail(subject=f"d{session}-{i}.", body=f"line {i}\r\n" * (size // 8 + 1))


def recipient_of(session, i):
    return ("boss", "late", "boss", "nobody", "boss")[(session * 3 + i) % 5] + "@contoso.com"


def record_a_run(relay, sim):
    """{id: content} of what was sent at eight sessions: delivered, deferred, given up, and sent again by hand."""
    sent, lock, problems = {}, threading.Lock(), []
    sim.faults(f"rcpt=late@* reply {NOT_NOW} times=9", f"rcpt=nobody@* reply {NOT_FOUND}")

    def device(session):
        try:
            for i in range(MESSAGES_EACH):
                content = mail_of(session, i)
                queue_id = relay.send(content, recipients=[recipient_of(session, i)])
                with lock:
                    sent[queue_id] = content
        except BaseException as problem:
            problems.append(problem)
    threads = [threading.Thread(target=device, args=(n,)) for n in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[0]
    relay.wait_empty(60)
    moved = len(relay.events("kept-in-failed"))
    for queue_id in relay.queue_ids("failed")[:2]:
        relay.cli("queue", "retry", queue_id, check=True)
    relay.wait_event("kept-in-failed", moved + 2)
    relay.wait_empty()
    relay.stop()
    return sent


def all_whole(records):
    """{id: the bytes of its file}: each has been written by the time it gets its name, and is never changed."""
    disk = Disk()
    whole = {}
    for record in records:
        disk.take(*record)
        if record[0] in ("link", "rename"):
            path = record[4] if record[0] == "link" else record[5]
            folder, name = os.path.split(path)
            if folder == "queue" and "." not in name:
                whole[name] = disk.names[path].content(yes)
    return whole


# --- a start on what is left --------------------------------------------------------------------------------------------

def build(spool, files):
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(mode=0o700)
    for path, content in files.items():
        if content is None:
            (spool / path).mkdir(mode=0o700)
        else:
            (spool / path).write_bytes(content)


class Site:
    """A folder in which spools are built, one after the other, and started on."""

    def __init__(self, folder, memory, sim):
        # Its address is no machine's (RFC 5737): so `serve` does all it does before a worker runs (lock, folders, repair), and ends.
        self.relay = harness.Relay(folder, sim, spool=f"{memory}/spool", listen=[{"address": "192.0.2.1", "port": 25}])
        self.relay.write_config()

    def start_up(self):
        """[(id, folder, bytes)] of what `queue list` finds after start-up. An id can be in both folders: row 17 of the table."""
        serve = self.relay.cli("serve")
        assert serve.returncode == 1 and "has no address" in serve.stderr and "spool" not in serve.stderr.split("start-failed")[1], serve.stderr
        listed = self.relay.cli("queue", "list", "--json")
        assert listed.returncode == 0 and listed.stderr == "", listed.stderr
        found = [(entry["id"], entry["folder"]) for entry in json.loads(listed.stdout) if "error" not in entry]
        assert sorted(found) == sorted((i, f) for f in ("queue", "failed") for i in self.relay.queue_ids(f)), listed.stdout
        return [(i, folder, (self.relay.spool / folder / i).read_bytes()) for i, folder in found]


def judge(found, disk_then, whole, what):
    """Problems with what start-up has found, where there may be none."""
    acknowledged, ended = disk_then
    known = ended | {queue_id for queue_id, _, _ in found}
    for queue_id in acknowledged - known:
        yield f"{what}: {queue_id} was acknowledged, and is lost"
    for queue_id, folder, content in found:
        if content != whole[queue_id]:
            yield f"{what}: {folder}/{queue_id} has {len(content)} bytes, not its {len(whole[queue_id])}"
        if folder == "failed" and not any(i.startswith(queue_id + "r") for i in known):
            yield f"{what}: {queue_id} is in failed/, and nobody will be told"


def cuts_of(records, step):
    """How many records stand on the disk at each cut."""
    replies = {i + 1 for i, record in enumerate(records) if record[0] == "acknowledged"}
    return sorted(replies | set(range(0, len(records) + 1, 1 if TORTURE else step)))


def images_of(records, cuts, lies=None):
    """(what, (acknowledged, ended), files) of each disk to start on; the same one once."""
    disk, cuts, chance, seen = Disk(lies), set(cuts), random.Random(SEED), set()
    for i in range(len(records) + 1):
        if i in cuts:
            then = frozenset(disk.acknowledged), frozenset(disk.ended)
            for name, files in variants(disk, chance):
                key = hash((then, frozenset(files.items())))
                if key not in seen:
                    seen.add(key)
                    yield f"cut after {i} calls, {name}", then, files
        if i < len(records):
            disk.take(*records[i])


def sites_in(folder, memory, sim):
    sites = queue.SimpleQueue()
    for name in ("one", "other"):
        os.mkdir(f"{memory}/{name}")
        sites.put(Site(folder / name, f"{memory}/{name}", sim))
    return sites


def start_on_all(sites, images, whole, enough=None):
    """Run start-up on each image, two at a time. Returns how many there were, and the problems: all, or enough of them."""
    problems, waiting, count = [], [], 0

    def look(what, then, files):
        site = sites.get()
        try:
            build(site.relay.spool, files)
            return list(judge(site.start_up(), then, whole, what))
        finally:
            sites.put(site)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for image in images:
            if enough and len(problems) >= enough:
                break
            waiting.append(pool.submit(look, *image))
            count += 1
            if len(waiting) > 8:
                problems += waiting.pop(0).result()
    for late in waiting:
        problems += late.result()
    return count, problems


def some_to_drain(records, cuts):
    """A few of the disks, with something acknowledged on them that has not come to its end."""
    some = random.Random(SEED).sample(cuts, 60 if TORTURE else 4)
    return [i for i in images_of(records, some) if i[1][0] - i[1][1] and i[0].endswith(("only what was synced", "at random"))]


def drain(make_relay, make_sim, image, sent):
    """Start all of the daemon on one of them: everything comes to its end, whole."""
    what, (acknowledged, ended), files = image
    sim = make_sim()
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    relay = make_relay(sim, start=False)
    build(relay.spool, files)
    relay.start()
    relay.wait_empty(60)
    arrived = [m.content for m in sim.messages()]
    for queue_id in acknowledged - ended:
        there = any(behind_trace(content, sent[queue_id]) for content in arrived)
        assert there or queue_id in relay.queue_ids("failed"), f"{what}: {queue_id} is lost after the start"
    mails = [content for content in arrived if b"\r\nSubject: d" in content.partition(b"\r\n\r\n")[0]]
    half = [c for c in mails if not any(behind_trace(c, one) for one in sent.values())]
    assert not half, f"{what}: half a message was sent: {half[0]}"
    relay.stop()
    return len(arrived)


def test_a_file_on_its_way_to_another_folder_is_in_one_of_them():
    """The disks that are built keep to what a file system keeps to, also where another message's sync comes in between."""
    disk = Disk()
    for kind, path, to in (("mkdir", "queue", ""), ("mkdir", "failed", ""), ("create", "queue/x", ""), ("sync-begin", "", ""),
                           ("sync-end", "", ""), ("sync-begin", "queue", ""), ("sync-end", "queue", ""),
                           ("rename", "queue/x", "failed/x"), ("sync-begin", "queue", ""), ("sync-end", "queue", "")):
        disk.take(kind, 1, 7 if kind == "create" else 0, 0, path, to, b"")
    assert set(disk.survivors(no, no)) == {"queue", "failed", "queue/x"}


@pytest.fixture
def memory(tmp_path):
    """A folder in memory, where there is room for that: spools are built and looked at faster there."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else tmp_path) as folder:
        yield folder


def prove(relay, step, memory, tmp_path, make_relay, make_sim):
    """Record a run of this relay, and start on what each cut may leave of it. Returns the records."""
    try:
        sent = record_a_run(relay, relay.sim)
    finally:
        if relay.process is not None:
            relay.kill_all()
    records = list(relay.records())
    whole = all_whole(records)
    assert len(sent) == SESSIONS * MESSAGES_EACH >= 50
    assert {r[6].decode() for r in records if r[0] == "acknowledged"} == sent.keys() <= whole.keys()
    assert all(behind_trace(whole[i].split(b"\n\n", 1)[1], content) for i, content in sent.items())

    sites, cuts = sites_in(tmp_path, memory, relay.sim), cuts_of(records, step)
    count, problems = start_on_all(sites, images_of(records, cuts), whole)
    assert not problems, "\n".join(problems[:20])
    for image in some_to_drain(records, cuts):
        drain(make_relay, make_sim, image, sent)
    print(f"{len(records)} calls, {len(sent)} messages, {count} disks after a power cut")

    # The same with a disk whose syncs do nothing: this test can fail.
    for lies, complaint in (("folders", "is lost"), ("files", "bytes, not its")):
        _, problems = start_on_all(sites, images_of(records, cuts, lies), whole, enough=5)
        assert any(complaint in p for p in problems), f"a disk that lies about {lies} goes unnoticed: {problems[:5]}"
    return records


@pytest.mark.interposed
@pytest.mark.parametrize("named", [False, True], ids=["files without a name", "temporary names"])
def test_a_power_cut_at_any_call_loses_nothing_acknowledged(tmp_path, make_sim, make_relay, memory, named):
    # tmpfs has files without a name whatever the tests' disk is.
    relay = RecordedRelay(tmp_path / "recorded", make_sim(), named, spool=f"{memory}/spool").start()
    records = prove(relay, 50 if named else 7, memory, tmp_path, make_relay, make_sim)
    first_names = {r[4].split(".")[0] for r in records if r[0] == "create" and r[4].startswith("queue/")}
    assert first_names == ({"queue/tmp"} if named or memory.startswith(str(tmp_path)) else set())


@pytest.mark.interposed
def test_a_power_cut_where_one_sync_serves_many_files_loses_nothing_acknowledged(tmp_path, make_sim, make_relay, memory):
    image = tmp_path / "image"
    mounts.make_ext4(image, 64)
    with mounts.mounted(tmp_path / "disk", "ext4", image, "loop"):
        relay = RecordedRelay(tmp_path / "recorded", make_sim(), False, spool=str(tmp_path / "disk" / "spool")).start()
        records = prove(relay, 50, memory, tmp_path, make_relay, make_sim)
    assert sum(r[0] == "sync-whole-end" for r in records) >= 3


# --- for real -----------------------------------------------------------------------------------------------------------

def send_until_refused(relay, name, acknowledged):
    for i in range(100_000):
        try:
            content = make_mail(subject=f"{name}-{i}.", body="line\r\n" * (1, 12_000)[i % 5 == 4])
            relay.send(content)
        except (OSError, harness.smtplib.SMTPException, harness.HarnessError):
            return
        acknowledged[f"{name}-{i}."] = content


@pytest.mark.parametrize("number", range(20 if TORTURE else 1))
def test_the_power_is_cut_under_load_and_ext4_has_what_was_acknowledged(tmp_path, make_sim, make_relay, number):
    """What a power cut leaves is what the disk has been given up to one moment. A copy of the image that takes its time while
    the daemon writes is something else: its last blocks are newer than its first, which no disk ever was. So ext4 is shut down
    in one call, its journal and its dirty pages dropped, and then copied. The loop device has no cache of its own: what it was
    given is in the image's pages, where the copy finds it; no sync is in the way that could add what ext4 still held back."""
    chance = random.Random(SEED + number)
    sim = make_sim()
    image, copy = tmp_path / "image", tmp_path / "image.after"
    mounts.make_ext4(image, 96)
    relay = make_relay(sim, start=False, spool=str(tmp_path / "disk" / "spool"))
    acknowledged, enough = {}, 100 + chance.randrange(200)
    sessions = [threading.Thread(target=send_until_refused, args=(relay, f"d{n}", acknowledged)) for n in range(SESSIONS)]
    # Every other time all of them are on the disk still, put off; else most have gone, and come back or not.
    if number % 2 == 0:
        sim.stop()
    with mounts.mounted(tmp_path / "disk", "ext4", image, "loop"):
        relay.start()
        for session in sessions:
            session.start()
        try:
            wait_until(lambda: len(acknowledged) >= enough, 60, f"{enough} messages to be taken")
        finally:
            mounts.cut_power(tmp_path / "disk")
            for session in sessions:
                session.join()
            relay.kill_all()
        shutil.copy(image, copy)
    before = len(sim.messages())
    if number % 2 == 0:
        sim.start()
    with mounts.mounted(tmp_path / "disk", "ext4", copy, "loop"):
        left = relay.queue_ids()
        relay.start()
        relay.wait_empty(60)
        relay.stop()
    arrived = {}
    for message in sim.messages():
        arrived.setdefault(re.search(rb"\r\nSubject: (\S+)", message.content)[1].decode(), []).append(message)
    lost = acknowledged.keys() - arrived.keys()
    print(f"{len(acknowledged)} acknowledged, {before} delivered before the cut, {len(left)} left on the disk, {len(lost)} lost")
    assert not lost
    assert number % 2 == 1 or len(left) >= len(acknowledged) > 0, "they had not all been left to the disk"
    assert relay.queue_ids("failed") == []
    assert all(behind_trace(m.content, acknowledged[s]) for s, found in arrived.items() for m in found if s in acknowledged)
