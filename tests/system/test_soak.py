"""A mixed load for a long time, with faults of the upstream and the login host at random: nothing is lost, and neither memory nor
descriptors grow.

The short form is part of `make check`; `make soak`, or SOAK_MINUTES, makes it long enough to tell how memory grows, and prints it."""

import os
import random
import re
import smtplib
import statistics
import time

from certificates import make_tls
from harness import Together, make_mail, memory, password_hash, raw, raw_begin_data, wait_until

MINUTES = float(os.environ.get("SOAK_MINUTES", "0.2"))
SEED = int(os.environ.get("SEED", time.time()))
LOGIN = "mfd", "correct horse 7"
ROLES = ["supervisor", "listener", "sender"]
GROWTH_MAX = 1 << 20  # bytes an hour
TRUSTED_MINUTES = 30  # over less than that a slope says nothing
DEVICES = [{"name": "lan", "address": ["127.0.0.0/8"]}, {"name": "mfd", "user": LOGIN[0], "password": password_hash(LOGIN[1])}]
FAULTS = ["connect cut", "banner reply 421 4.3.2 Service not available", "ehlo garbage", "starttls cut", "handshake reset",
          "auth reply 454 4.7.0 Temporary authentication failure", "mail reply 451 4.3.2 Temporary server error",
          "rcpt reply 451 4.3.2 Temporary server error", "rcpt reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found",
          "data reply 451 4.3.2 Temporary server error", "content cut-after 50%", "final-dot reply 451 4.3.2 Temporary server error",
          "final-dot cut", "final-dot keep-cut", "final-dot half", "login status 503", "login html", "login half"]


def send_small(relay, dice, subject):
    return relay.send(make_mail(subject=subject))


def send_odd(relay, dice, subject):
    """With bytes that no mail may have."""
    return relay.send(make_mail(subject=subject, body="h\xf6her\0 bare\rbare\n.\r\n"))


def send_large(relay, dice, subject):
    return relay.send(make_mail(subject=subject, body=("x" * 70 + "\r\n") * dice.randrange(1000, 8000)))


def send_sealed(relay, dice, subject):
    return relay.send(make_mail(subject=subject), login=LOGIN)


def guess(relay, dice, subject):
    """A wrong password, from elsewhere."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30, source_address=("127.0.0.9", 0)) as client:
        client.login(LOGIN[0], f"wrong {subject}")


def go_away(relay, dice, subject):
    """In the middle of the content."""
    with raw(relay) as s:
        raw_begin_data(s)
        s.sendall(b"Subject: " + subject.encode() + b"\r\n\r\n" + b"x" * dice.randrange(100_000))


def babble(relay, dice, subject):
    with raw(relay) as s:
        s.sendall(dice.randbytes(dice.randrange(1, 4000)) + b"\r\nQUIT\r\n")
        s.recv(1000)


ACTS = [(send_small, 70), (send_odd, 5), (send_large, 5), (send_sealed, 8), (guess, 2), (go_away, 5), (babble, 5)]


class Load(Together):
    """Devices that do all of it in turn, a fault every few seconds, and a look at the memory."""

    def __init__(self, relay, sim, devices=4):
        super().__init__([*(lambda n=n: self.device(n) for n in range(devices)), self.upset, self.look])
        self.relay, self.sim = relay, sim
        self.acknowledged = {}  # id: subject
        self.samples = {role: [] for role in ROLES}

    def device(self, n):
        dice, i = random.Random(SEED + n), 0
        while not self.stop.wait(dice.uniform(0.05, 0.3)):
            i += 1
            act = dice.choices([a for a, _ in ACTS], [share for _, share in ACTS])[0]
            try:
                queue_id = act(self.relay, dice, f"s{n}-{i}.")
            except (OSError, smtplib.SMTPException):
                if act.__name__.startswith("send"):
                    raise
                continue
            if queue_id is not None:
                self.acknowledged[queue_id] = f"s{n}-{i}."

    def upset(self):
        dice = random.Random(SEED)
        while not self.stop.wait(dice.uniform(1, 5)):
            self.sim.faults(*(f"{rule} times={dice.randint(1, 4)}" for rule in dice.sample(FAULTS, 2)))

    def look(self):
        while not self.stop.wait(max(0.5, MINUTES)):
            for role in ROLES:
                self.samples[role].append((time.monotonic(), memory(self.relay, role, "RssAnon")))

    def growth(self, role):
        """Bytes an hour, by the samples but the first third."""
        samples = self.samples[role][len(self.samples[role]) // 3:]
        return statistics.linear_regression(*zip(*samples)).slope * 3600


def descriptors(relay):
    return {role: len(os.listdir(f"/proc/{relay.pid(role)}/fd")) for role in ROLES}


def test_nothing_is_lost_and_nothing_grows(sim, make_relay, tmp_path, capsys):
    print(f"SEED={SEED}")  # shown with a failure
    relay = make_relay(sim, devices=DEVICES, tls=make_tls(tmp_path), retry={"first": "1s", "max": "2s"})
    relay.send(make_mail(subject="first"))
    relay.wait_empty()
    before, pids = descriptors(relay), relay.pids()
    with Load(relay, sim) as load:
        load.stop.wait(MINUTES * 60)
    sim.clear()
    relay.wait_empty(120)
    arrived = [re.search(rb"Subject: (\S+)", m.content)[1].decode() for m in sim.messages()]
    there, failed = set(arrived), set(relay.queue_ids("failed"))
    lost = [s for queue_id, s in load.acknowledged.items() if queue_id not in failed and s not in there]
    growth = {role: load.growth(role) for role in ROLES} if MINUTES >= TRUSTED_MINUTES else {}
    if growth:
        with capsys.disabled():
            print(f"\nSEED={SEED}: {len(load.acknowledged)} acknowledged, {len(failed)} failed, {len(lost)} lost, {len(arrived)} arrived, "
                  f"KiB an hour: {', '.join(f'{role} {grown / 1024:+.0f}' for role, grown in growth.items())}")
    assert not lost, lost
    assert relay.pids() == pids
    # The sender may keep two connections more to the upstream than after the first message.
    wait_until(lambda: all(n <= before[role] + 2 for role, n in descriptors(relay).items()), 30,
               lambda: f"the descriptors to be those before: {before}, {descriptors(relay)}")
    assert all(grown < GROWTH_MAX for grown in growth.values()), load.samples
