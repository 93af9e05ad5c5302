#!/usr/bin/env python3
"""make demo: one scan, from a printer's port 25 to Microsoft 365's submission port, on this machine alone.

Starts the simulator of Microsoft 365 and the daemon on free loopback ports with a temporary spool, sends a scan the way an
old printer does, waits until it has come out on the other side, and shows its journey.
"""

import contextlib
import hashlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "system"))

import harness  # noqa: E402

PRINTER = "mfd-floor-2@contoso.com"
BOSS = "boss@contoso.com"
PAGES = 5


class Failed(Exception):
    def __init__(self, what, remedy):
        super().__init__(what)
        self.remedy = remedy


def say(label, text):
    print(f"  {label:<11}{text}", flush=True)


def megabytes(n):
    return f"{n / 1e6:.1f} MB"


def send_with_swaks(relay, content, folder):
    """The queue id. swaks sends the file as it is: dots are stuffed, the end is in it."""
    file = folder / "scan.data"
    file.write_bytes(harness.stuffed(content) + b".\r\n")
    command = ["swaks", "--server", "127.0.0.1", "--port", str(relay.port), "--protocol", "SMTP", "--helo", "MFD-FLOOR-2",
               "--from", PRINTER, "--to", BOSS, "--no-data-fixup", "--data", f"@{file}", "--hide-send", "--timeout", "60"]
    done = subprocess.run(command, capture_output=True, timeout=120)
    replies = re.findall(rb"^<(?:-|\*\*) +(\d{3}[ -].*?)\r?$", done.stdout, re.M)
    if done.returncode != 0:
        last = (replies or [done.stdout[-500:] + done.stderr[-500:]])[-1].decode(errors="replace")
        raise Failed(f"the device was refused: {last}", "see the daemon's log below")
    accepted = [r for r in replies if r.startswith(b"250")]
    match = re.search(rb"\b([0-9a-z]{8,})\b", accepted[-1].removeprefix(b"250 2.0.0")) if accepted else None
    return match[1].decode() if match else None


def send(relay, content, folder):
    if shutil.which("swaks"):
        return "swaks", send_with_swaks(relay, content, folder)
    return "Python's smtplib", relay.send(content, PRINTER, [BOSS])


def journey(sim, relay, folder):
    pdf = harness.make_pdf(pages=PAGES, size=4_000_000)
    content = harness.make_scan(pdf, PRINTER, BOSS)
    say("scan", f"a PDF of {PAGES} pages, {megabytes(len(pdf))}; as a MIME mail {megabytes(len(content))}")
    begin = time.monotonic()
    client, queue_id = send(relay, content, folder)
    accepted = time.monotonic()
    say("device", f"{PRINTER} by {client}: HELO, no TLS, no password, port {relay.port}")
    say("accepted", f"after {accepted - begin:.2f} s, queue id {queue_id}; from here on it is on disk")
    try:
        message = sim.wait_messages(1, 60)[0]
    except harness.HarnessError:
        raise Failed("the scan was accepted, but did not come out on the other side within 60 s",
                     "the last lines of the daemon's log above name the cause and the remedy") from None
    say("delivered", f"after {time.monotonic() - begin:.2f} s, to {', '.join(message['rcpt'])}")
    return content, queue_id, message


def check(sim, relay, content, queue_id, message):
    stats = sim.stats()
    received = message.content
    if not message["tls"] or message["mechanism"] != "XOAUTH2" or not stats["tokens_issued"]:
        raise Failed(f"it went out over {message['tls']} with {message['mechanism']}", "this must never happen: report it")
    say("upstream", f"port {sim.smtp_port}, STARTTLS with {message['tls']} ({message['cipher']}), {message['verb']}")
    say("login", f"XOAUTH2 as {message['user']}, token fetched from https://localhost:{sim.login_port}/{harness.TENANT}")
    say("reply", message["reply"])
    if not harness.behind_trace(received, content):
        raise Failed("the bytes differ between device and upstream", f"compare {message.path}")
    sent, got = (hashlib.sha256(x).hexdigest() for x in (content, received[-len(content):]))
    say("bytes", f"sent      SHA-256 {sent}")
    say("", f"received  SHA-256 {got}, behind our Received: header")
    relay.wait_empty(10)
    for event in relay.events("delivered"):
        if event.get("id") == queue_id:
            say("log", "sender delivered " + " ".join(f"{k}={v}" for k, v in event.items() if k not in ("component", "reply")))
            break
    if sent != got:
        raise Failed("the sums differ", "report it")


def run(folder):
    sim = harness.Sim(folder / "microsoft")
    relay = None
    try:
        sim.start()
        relay = harness.Relay(folder / "relay", sim)
        relay.start()
        check(sim, relay, *journey(sim, relay, folder))
        harness.stop_all(relay, sim)
    except (Failed, harness.HarnessError, OSError, subprocess.SubprocessError) as problem:
        problem.logs = [(name, text[-3000:]) for name, text in
                        (("daemon", relay.log() if relay else ""), ("simulator", sim.log())) if text]
        raise
    finally:
        with contextlib.suppress(harness.HarnessError):
            harness.stop_all(*filter(None, (relay, sim)))


def main():
    print("One scan, from the printer to Microsoft 365 (simulated on this machine):", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in ("mfdrelay", "m365sim"):
        try:
            harness.binary(name)
        except harness.HarnessError as problem:
            print(f"demo failed: {problem}", file=sys.stderr)
            return 1
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mfdrelay-demo-"))
    try:
        run(folder)
    except (Failed, harness.HarnessError, OSError, subprocess.SubprocessError) as problem:
        for name, text in getattr(problem, "logs", []):
            print(f"\n--- the end of the {name}'s log\n{text}", file=sys.stderr)
        print(f"\ndemo failed: {str(problem).splitlines()[0]}", file=sys.stderr)
        print(f"what to do: {getattr(problem, 'remedy', None) or 'the logs above say more; all files are kept in ' + str(folder)}",
              file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("The scan arrived, byte for byte.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
