"""Upstream and login trouble: what is accepted is kept, held roads charge nobody, and everything goes out when it heals."""

import email
import json
import os
import subprocess
import time

import harness
import pytest
from harness import expect, make_mail, wait_until

NOT_FOUND = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient nobody@contoso.com not found by SMTP address lookup"


def queue(relay, queue_id):
    for message in json.loads(relay.cli("queue", "list", "--json", check=True).stdout):
        if message["id"] == queue_id:
            return message
    return None


def test_upstream_down_then_up(sim, relay):
    sim.stop()
    ids = [relay.send(make_mail(subject=f"number {i}")) for i in range(5)]
    relay.wait_event("upstream-held")
    assert relay.queue_ids() == sorted(ids)
    sim.start()
    sim.wait_messages(5)
    relay.wait_empty()
    assert not relay.events("deferred"), "a road that is down charges no message"
    assert relay.events("upstream-open")


def test_the_daemon_starts_and_accepts_while_everything_is_down(make_sim, make_relay):
    sim = make_sim()
    relay = make_relay(sim, start=False)
    sim.stop()
    relay.start()
    relay.send(make_mail())
    relay.wait_event("upstream-held")
    sim.start()
    sim.wait_messages(1)


def test_login_host_down_then_up(sim, relay):
    sim.faults("login down")
    relay.send(make_mail())
    relay.wait_event("upstream-held")
    assert relay.status()["upstreams"][0]["health"] != "up"
    sim.clear()
    sim.wait_messages(1, 30)
    relay.wait_empty()
    assert not relay.events("deferred")


def test_login_host_answers_html(sim, relay):
    sim.faults("login html")
    relay.send(make_mail())
    relay.wait_event("upstream-held")
    sim.clear()
    sim.wait_messages(1, 30)


def test_a_wrong_secret_holds_the_road_and_raises_the_alarm(sim, relay):
    relay.write_secret("wrong")
    queue_id = relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert held["class"] == "C"
    assert "7000215" in relay.log() and "secret" in held["remedy"]
    assert "wrong" not in held.get("text", "")
    result = relay.cli("status")
    assert result.returncode == 2 and "ALARM" in result.stdout, result.stdout + result.stderr
    assert queue(relay, queue_id)["recipients"][0]["attempts"] == 0
    relay.write_secret(harness.SECRET)
    relay.cli("queue", "retry", "all", check=True)
    sim.wait_messages(1, 60)
    relay.wait_empty()
    assert relay.cli("status").returncode == 0


def test_a_refused_token_is_fetched_once_more_and_then_all_is_well(sim, relay):
    relay.send(make_mail(subject="first"))
    sim.wait_messages(1)
    sim.faults("tokens revoke-all", "rset cut", "mail cut times=1")
    relay.send(make_mail(subject="second"))
    sim.wait_messages(2, 30)
    assert len(relay.wait_event("token-refused")) == 1
    assert not relay.events("upstream-held")
    assert sim.stats()["token_requests"] == 2
    relay.wait_empty()


def test_535_again_and_again_is_configuration(sim, relay):
    sim.faults("auth reply 535 5.7.3 Authentication unsuccessful [SN2PR00CA0018.namprd00.prod.outlook.com]")
    queue_id = relay.send(make_mail())
    relay.wait_event("upstream-held")
    time.sleep(0.5)
    assert sim.stats()["token_requests"] == 2, "one token, and one more after the 535"
    assert relay.status()["alarms"]
    assert queue(relay, queue_id)["recipients"][0]["attempts"] == 0
    sim.clear()
    relay.cli("queue", "retry", queue_id, check=True)
    sim.wait_messages(1)


@pytest.mark.parametrize("stage", ["mail", "rcpt", "content", "final-dot"])
def test_a_token_refused_within_a_transaction_is_fetched_once_more(sim, make_relay, stage):
    relay = make_relay(sim, retry={"first": "1m", "max": "1h"})
    sim.faults(f"{stage} reply 535 5.7.3 Authentication unsuccessful times=1")
    relay.send(make_mail())
    sim.wait_messages(1)
    relay.wait_empty()
    assert len(relay.wait_event("token-refused")) == 1 and sim.stats()["token_requests"] == 2
    assert not relay.events("upstream-held") and not relay.events("deferred")


def test_a_token_refused_within_each_transaction_is_configuration(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1m", "max": "1h"})
    sim.faults("mail reply 535 5.7.3 Authentication unsuccessful")
    queue_id = relay.send(make_mail())
    assert relay.wait_event("upstream-held")[0]["class"] == "A"
    time.sleep(0.5)
    assert sim.stats()["token_requests"] == 2 and len(relay.events("token-refused")) == 1
    assert relay.status()["alarms"] and queue(relay, queue_id)["recipients"][0]["attempts"] == 0


def test_the_334_json_form_of_a_refused_token(sim, relay):
    sim.faults("auth json-334 times=1", "auth reply 535 5.7.3 Authentication unsuccessful times=1")
    relay.send(make_mail())
    sim.wait_messages(1, 30)


def test_a_token_that_expires_in_the_middle_of_a_run(sim, make_relay):
    sim.faults("tokens expire-in 4")
    relay = make_relay(sim)
    for i in range(40):
        relay.send(make_mail(subject=f"number {i}"))
        relay.wait_event("token-fetched")
        time.sleep(0.15)
    sim.wait_messages(40)
    relay.wait_empty()
    assert sim.stats()["token_requests"] >= 2
    assert not relay.events("upstream-held")


def explained(text):
    """What mfdrelay explain says of it, as it stands in the log, the status and the reports."""
    found, = json.loads(subprocess.run([harness.binary("mfdrelay"), "explain", "--json", text], capture_output=True, text=True,
                                       env=harness.environment(), check=True, timeout=20).stdout)
    return {"reason": found["name"], "class": found["class"], **{key: found[key] for key in ("cause", "who_acts", "remedy")}}


def test_log_status_and_report_say_what_explain_says(sim, relay):
    sim.faults("auth reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
               f"rcpt=nobody@* reply {NOT_FOUND}")
    relay.send(make_mail(), recipients=["nobody@contoso.com"])
    held = relay.wait_event("upstream-held")[0]
    words = explained(held["text"])
    assert {key: held[key] for key in words} == words
    upstream, = relay.status()["upstreams"]
    assert {key: upstream[key] for key in words} == words
    shown = relay.cli("status").stdout
    assert words["cause"] in shown and words["who_acts"] in shown and words["remedy"] in shown
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    relay.cli("queue", "retry", "all", check=True)
    words = explained(NOT_FOUND)
    failed = relay.wait_event("failed")[0]
    assert {key: failed[key] for key in words} == words
    report = sim.wait_messages(1)[0].content.decode()
    for label, key in (("Cause", "cause"), ("Who acts", "who_acts"), ("Remedy", "remedy")):
        assert f"{label}: {words[key]}" in report


def test_a_refused_recipient_is_reported_to_the_sender_and_kept(sim, relay):
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    queue_id = relay.send(make_mail(subject="for two"), recipients=["boss@contoso.com", "nobody@contoso.com"])
    messages = sim.wait_messages(2)
    good = next(m for m in messages if m["rcpt"] == ["boss@contoso.com"])
    report = next(m for m in messages if m["rcpt"] == ["printer@contoso.com"])
    assert b"Subject: for two" in good.content
    assert report["mail_from"] == harness.MAILBOX
    text = report.content.decode()
    assert queue_id in text and "nobody@contoso.com" in text and "5.1.10" in text
    assert "Auto-Submitted: auto-replied" in text
    relay.wait_empty()
    assert relay.queue_ids("failed") == [queue_id]
    shown = relay.cli("queue", "show", queue_id, check=True).stdout
    assert "nobody@contoso.com" in shown and "5.1.10" in shown and "delivered" in shown
    sim.clear()
    relay.cli("queue", "retry", queue_id, check=True)
    assert sim.wait_messages(3)[2]["rcpt"] == ["nobody@contoso.com"]
    relay.wait_empty()
    assert relay.queue_ids("failed") == []


def test_programs_can_read_a_report(sim, relay):
    """RFC 3464, in the three parts of RFC 6522."""
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    relay.send(make_mail(subject="for nobody"), recipients=["nobody@contoso.com"])
    report = email.message_from_bytes(sim.wait_messages(1)[0].content)
    assert report.get_content_type() == "multipart/report" and report.get_param("report-type") == "delivery-status"
    words, status, head = report.get_payload()
    assert [p.get_content_type() for p in (words, status, head)] == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert "<nobody@contoso.com>" in words.get_payload()
    whole, recipient = status.get_payload()
    assert whole["Reporting-MTA"] == "dns; relay.test" and whole["Arrival-Date"]
    assert (recipient["Final-Recipient"], recipient["Action"], recipient["Status"]) == ("rfc822; nobody@contoso.com", "failed", "5.1.10")
    assert recipient["Diagnostic-Code"].startswith("smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound")
    assert "\nSubject: for nobody" in head.get_payload() and "Hello." not in head.get_payload()
    assert all(not part.defects for part in report.walk())


def test_a_report_has_no_sender_where_the_upstream_lets_it(sim, make_relay):
    """What has none is never answered. From a mailbox Microsoft refuses it: there the report is sent in the mailbox's name."""
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"].append({"name": "direct", "kind": "direct-send", "host": "localhost", "port": sim.mx_port, "ca": sim.ca})
    relay.settings["routes"] = [{"recipients": ["printer@contoso.com"], "via": ["direct"]}, {"recipients": ["*"], "via": ["submission"]}]
    relay.start()
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    relay.send(make_mail(), recipients=["nobody@contoso.com"])
    report = sim.wait_messages(1)[0]
    assert (report["mail_from"], report["rcpt"]) == ("", ["printer@contoso.com"])


@pytest.mark.parametrize("sender", ["", "root", "x@localhost", "scanner@contoso.com"])
def test_without_a_sender_who_would_read_it_report_to_hears_of_it(sim, relay, sender):
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    relay.send(make_mail(), sender=sender, recipients=["nobody@contoso.com"])
    assert sim.wait_messages(1)[0]["rcpt"] == ["it@contoso.com"]


def test_without_report_to_the_mailbox_hears_of_it(sim, make_relay):
    relay = make_relay(sim, report_to=None)
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    relay.send(make_mail(), sender="scanner@contoso.com", recipients=["nobody@contoso.com"])
    assert sim.wait_messages(1)[0]["rcpt"] == ["scanner@contoso.com"]


def test_where_the_sender_refuses_the_report_report_to_hears_of_both(sim, relay):
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}", f"rcpt=printer@* reply {NOT_FOUND}")
    queue_id = relay.send(make_mail(subject="the lost one"), recipients=["nobody@contoso.com"])
    told = sim.wait_messages(1)[0]
    assert told["rcpt"] == ["it@contoso.com"]
    assert f"Queue id: {queue_id}".encode() in told.content and b"nobody@contoso.com" in told.content
    assert b"By way of" in told.content and b"Subject: the lost one" in told.content
    relay.wait_empty()
    assert relay.queue_ids("failed") == [queue_id, queue_id + "r0"]
    assert not relay.events("nobody-to-tell")


def test_a_report_that_fails_again_is_kept(sim, relay):
    """It has been reported once; and whoever is report_to by then, of a report on a report nobody is told."""
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}", f"rcpt=printer@* reply {NOT_FOUND}", f"rcpt=it@* reply {NOT_FOUND} times=1")
    queue_id = relay.send(make_mail(), recipients=["nobody@contoso.com"])
    wait_until(lambda: len(relay.queue_ids("failed")) == 3, 20, "message and reports in failed/")
    relay.reload(report_to="boss@contoso.com")
    relay.wait_event("reloaded")
    sim.faults(f"rcpt reply {NOT_FOUND}")
    for end in ("r0", "r0x"):
        relay.cli("queue", "retry", queue_id + end, check=True)
    relay.wait_event("kept-in-failed", 5)
    relay.wait_empty()
    assert relay.queue_ids("failed") == [queue_id, queue_id + "r0", queue_id + "r0x"]
    assert not relay.events("worker-died") and sim.messages() == []


def test_a_report_that_nobody_takes_is_kept(sim, relay):
    sim.faults(f"rcpt=* reply {NOT_FOUND}")
    queue_id = relay.send(make_mail())
    harness.wait_until(lambda: len(relay.queue_ids("failed")) == 3, 20, "message and reports in failed/")
    relay.wait_empty()
    assert relay.queue_ids("failed") == [queue_id, queue_id + "r0", queue_id + "r0x"]
    assert relay.events("nobody-to-tell")[0]["id"] == queue_id + "r0x"
    assert sim.messages() == []


def test_temporary_refusal_is_retried_with_growing_waits(sim, relay):
    sim.faults("rcpt reply 451 4.3.2 Temporary server error. Please try again later ATTR5 times=2")
    queue_id = relay.send(make_mail())
    sim.wait_messages(1, 30)
    deferred = relay.events("deferred")
    assert [d["id"] for d in deferred] == [queue_id] * 2
    first, second = (int(d["next_ms"]) for d in deferred)
    assert 900 <= first <= 1000 and 1800 <= second <= 2000
    relay.wait_empty()


def test_give_up_after_the_configured_time(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1s", "max": "1s", "give_up": "2s"})
    sim.faults("rcpt=late@* reply 451 4.3.2 Temporary server error. Please try again later ATTR5")
    queue_id = relay.send(make_mail(), recipients=["late@contoso.com"])
    report = sim.wait_messages(1, 30)[0]
    assert report["rcpt"] == ["printer@contoso.com"] and queue_id.encode() in report.content
    relay.wait_empty()
    assert relay.queue_ids("failed") == [queue_id]


def test_throttling_slows_the_road_down_and_charges_nobody(sim, relay):
    sim.faults("mail reply 432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending times=1")
    relay.send(make_mail())
    assert relay.wait_event("upstream-held")[0]["class"] == "S"
    sim.wait_messages(1, 30)
    assert not relay.events("deferred")


def test_a_poisoned_message_does_not_stop_the_others(sim, relay):
    sim.faults("mail reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender times=1")
    refused = relay.send(make_mail(subject="not mine"))
    relay.wait_event("failed")
    sim.clear()
    relay.send(make_mail(subject="mine"))
    sim.wait_messages(2)
    relay.wait_empty()
    assert relay.queue_ids("failed") == [refused]


def test_what_every_message_is_refused_for_holds_the_mailbox(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1m", "max": "1h"})
    sim.faults("mail reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender")
    sent = [relay.send(make_mail(subject=f"number {i}"), sender=f"floor-{i % 2}@contoso.com") for i in range(20)]
    held = relay.wait_event("upstream-held")[0]
    assert (held["class"], held["reason"], held["mailbox"]) == ("C", "send-as-denied-to-all", ""), held
    relay.wait_event("put-off")
    assert len(relay.events("failed")) == 4, "the fifth shows it, and is kept"
    shown = relay.status()
    assert shown["upstreams"][0]["health"] == "held" and shown["upstreams"][0]["next_try_s"] > 500
    assert any("Every message of late was refused" in alarm for alarm in shown["alarms"]), shown["alarms"]
    relay.wait_event("kept-in-failed", 4)
    failed = relay.queue_ids("failed")
    relay.cli("queue", "retry", "all", check=True)
    relay.wait_event("put-off", 2)
    assert relay.queue_ids("failed") == failed, "a probe uses up no message either"
    sim.clear()
    relay.cli("queue", "retry", "all", check=True)
    relay.wait_empty()
    subjects = {m.content.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for m in sim.messages()}
    assert {f"number {i}" for i, one in enumerate(sent) if one not in failed} <= subjects
    assert relay.status()["alarms"] == []


@pytest.mark.parametrize("anew", ["reload", "crash"])
def test_what_every_message_is_refused_for_holds_the_mailbox_for_a_new_sender_too(sim, make_relay, anew):
    relay = make_relay(sim)
    sim.faults("mail reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender")
    for i in range(20):
        relay.send(make_mail(), sender=f"floor-{i % 2}@contoso.com")
    relay.wait_event("upstream-held")
    relay.wait_event("kept-in-failed", 4)
    known = relay.spool / "var" / "streaks"
    wait_until(lambda: known.exists() and "send-as-denied-to-all" in known.read_text(), 10, "the file that says so")
    if anew == "reload":
        relay.reload(report_to="it@contoso.com")
    else:
        relay.kill("sender")
    relay.wait_event("upstream-held", 2)
    relay.wait_event("put-off", 2)
    assert len(relay.events("failed")) == 4, "what was known is known still"
    sim.clear()
    relay.cli("queue", "retry", "all", check=True)
    relay.wait_empty()
    wait_until(lambda: "send-as-denied-to-all" not in known.read_text(), 10, "the file that no longer says so")
    relay.kill("sender")
    sim.faults("mail=floor-0@contoso.com reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender")
    relay.wait_banner()
    relay.send(make_mail(), sender="floor-0@contoso.com")
    relay.wait_event("failed", 5)
    assert len(relay.events("upstream-held")) == 2, "what has passed is known too"


def test_one_device_that_is_refused_each_time_holds_the_mailbox_for_nobody(sim, make_relay):
    relay = make_relay(sim, report_to=None)
    sim.faults("mail=wrong@contoso.com reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender")
    wrong = [relay.send(make_mail(subject=f"number {i}"), sender="wrong@contoso.com") for i in range(7)]
    relay.wait_event("failed", 7)
    relay.send(make_mail(), sender="right@contoso.com")
    wait_until(lambda: relay.events("delivered"), 10, "the other's message")
    wait_until(lambda: set(wrong) <= set(relay.queue_ids("failed")), 10, "all of the first device's in failed/")
    assert not relay.events("upstream-held")


def test_cut_after_the_dot_sends_again(sim, relay):
    sim.faults("final-dot cut times=1")
    relay.send(make_mail())
    sim.wait_messages(1, 30)
    relay.wait_empty()


def test_bdat_refused_falls_back_to_data(sim, relay):
    sim.faults("final-dot reply 552 5.3.4 Header size exceeds fixed maximum size times=1")
    relay.send(make_mail())
    assert sim.wait_messages(1, 30)[0]["verb"] == "DATA"
    assert relay.events("bdat-refused")


def test_a_refused_bdat_leaves_no_transaction_open(sim, relay):
    sim.faults("data reply 451 4.3.2 Temporary server error times=1")
    relay.send(make_mail(subject="first"))
    relay.wait_event("deferred")
    relay.send(make_mail(subject="second"))
    sim.wait_messages(2)
    relay.wait_empty()
    assert not relay.events("upstream-held") and sim.log().count(" < RSET") == 1


def test_a_message_that_is_refused_alone_holds_the_road_for_nobody(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1s", "max": "1s", "give_up": "2s"})
    sim.faults("mail=scan@oldname.example reply 550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains")
    alone = relay.send(make_mail(), sender="scan@oldname.example")
    relay.wait_event("upstream-held")
    relay.send(make_mail(subject="good"))
    sim.wait_messages(1)
    assert relay.wait_event("deferred")[0]["id"] == alone
    held = len(relay.events("upstream-held"))
    assert relay.wait_event("failed")[0]["id"] == alone
    assert len(relay.events("upstream-held")) == held


def test_one_device_that_is_refused_for_the_configuration_holds_the_mailbox_once(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1s", "max": "1s", "give_up": "5d"})
    sim.faults("mail=scan@oldname.example reply 550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains")
    relay.send(make_mail(), sender="scan@oldname.example")
    relay.wait_event("upstream-held")
    relay.send(make_mail(subject="good"))
    sim.wait_messages(1)
    relay.wait_event("deferred")
    held = len(relay.events("upstream-held"))
    wrong = {relay.send(make_mail(), sender="scan@oldname.example") for _ in range(5)}
    wait_until(lambda: wrong <= {event["id"] for event in relay.events("deferred")}, 20, "each to wait for itself")
    assert len(relay.events("upstream-held")) == held


def test_sessions_dropped_at_their_first_command_hold_the_road(sim, relay):
    sim.faults("mail cut")
    for i in range(10):
        relay.send(make_mail(subject=f"number {i}"))
    relay.wait_event("upstream-held", 2)
    assert sim.stats()["auth_ok"] <= 4
    sim.clear()
    sim.wait_messages(10, 30)
    relay.wait_empty()
    assert not relay.events("deferred"), "a road that takes nothing charges no message"


def test_a_bdat_refused_at_once_bounces_nothing(sim, relay):
    sim.faults("content reply 502 5.5.1 Command not implemented times=1")
    relay.send(make_mail(body=b"y" * 76 + b"\r\n" + (b"x" * 76 + b"\r\n") * 100000))
    assert sim.wait_messages(1, 30)[0]["verb"] == "DATA"
    relay.wait_empty()
    assert not relay.events("failed") and not relay.events("deferred")


def test_a_line_that_nothing_asked_for_loses_no_message(sim, make_relay):
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"][0]["window"]["connections"] = 1
    relay.start()
    sim.faults("final-dot extra 250 2.0.0 OK times=1", "final-dot reply 451 4.3.0 Not taken times=1")
    for i in range(2):
        relay.send(make_mail(subject=f"number {i}"))
    sim.wait_messages(2, 30)
    relay.wait_empty()


def test_text_glued_behind_the_answer_to_starttls_goes_no_further(sim, relay):
    sim.faults("starttls extra 250-SIM\\n250 AUTH XOAUTH2 times=1")
    relay.send(make_mail())
    assert "before the TLS handshake" in relay.wait_event("upstream-held")[0]["text"]
    sim.wait_messages(1, 30)


def test_a_message_with_too_many_recipients_for_the_mailbox_goes_in_halves(sim, relay):
    sim.faults("final-dot reply 550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients times=1")
    recipients = [f"user{i}@contoso.com" for i in range(5)]
    relay.send(make_mail(), recipients=recipients)
    parts = sim.wait_messages(3)
    relay.wait_empty()
    assert sorted(len(m["rcpt"]) for m in parts) == [1, 2, 2] and sorted(sum((m["rcpt"] for m in parts), [])) == recipients
    assert [e["recipients"] for e in relay.events("recipients-limited")] == ["2"]
    assert not relay.events("failed") and not relay.events("deferred") and relay.queue_ids("failed") == []


def test_300_recipients_at_an_mx_go_in_two_messages(sim, make_relay):
    relay = make_relay(sim, start=False, limits={"recipients": 300})
    relay.settings["upstreams"] = [{"name": "submission", "kind": "smtp", "host": "localhost", "port": sim.mx_port, "ca": sim.ca}]
    relay.start()
    recipients = [f"user{i}@contoso.com" for i in range(300)]
    relay.send(make_mail(), recipients=recipients)
    assert [m["rcpt"] for m in sim.wait_messages(2)] == [recipients[:200], recipients[200:]]
    relay.wait_empty()
    assert not relay.events("deferred")


def test_garbage_and_a_100_kb_line_from_the_upstream(sim, relay):
    sim.faults("garbage at banner times=1")
    relay.send(make_mail())
    sim.wait_messages(1, 30)
    sim.faults("huge-line at ehlo times=1")
    time.sleep(0.1)
    sim.restart()
    relay.send(make_mail())
    sim.wait_messages(2, 30)
    relay.wait_empty()


def test_a_certificate_of_a_stranger_is_refused_and_nothing_leaves(make_sim, make_relay):
    sim, stranger = make_sim(), make_sim()
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"][0]["ca"] = stranger.ca
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "certificate" in held["text"] or "certificate" in held["cause"]
    assert sim.messages() == [] and sim.stats()["auth_ok"] == 0
    relay.reload(upstreams=[relay.upstream()])
    sim.wait_messages(1, 30)


def test_a_login_host_with_a_strangers_certificate_is_configuration(make_sim, make_relay):
    sim, stranger = make_sim(), make_sim()
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"][0]["oauth"]["ca"] = stranger.ca
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert held["class"] == "C" and "oauth" in held["remedy"]
    assert sim.stats()["token_requests"] == 0


def test_a_refused_password_is_sent_once_and_the_remedy_speaks_of_it(make_sim, make_relay):
    sim = make_sim(basic_user="hve@contoso.com", basic_password="old-way")
    relay = make_relay(sim, start=False)
    relay.write_secret("wrong", "password")
    relay.settings["upstreams"] = [{"name": "submission", "kind": "hve", "host": "localhost", "port": sim.smtp_port, "ca": sim.ca,
                                    "user": "hve@contoso.com", "password": f"file:{relay.dir}/password"}]
    sim.faults("auth reply 535 5.7.3 Authentication unsuccessful delay=1000")
    relay.start()
    for i in range(3):
        relay.send(make_mail(subject=f"number {i}"))
    held = relay.wait_event("upstream-held")[0]
    assert held["class"] == "C" and "password" in held["remedy"] and "enterprise" not in held["remedy"].lower()
    time.sleep(1)  # for a second connection, were there one
    assert sim.stats()["auth_failed"] == 1 and not relay.events("token-refused")


def test_a_disk_that_takes_no_state_costs_a_bounded_number_of_descriptors(sim, relay):
    sim.faults("rcpt=boss@* reply 451 4.3.2 Temporary server error. Please try again later")
    (relay.spool / "state").rmdir()
    (relay.spool / "state").write_text("in the way")
    before = len(os.listdir(f"/proc/{relay.pid('sender')}/fd"))
    with relay.smtp() as client:
        client.ehlo()
        for i in range(700):
            client.sendmail("printer@contoso.com", ["boss@contoso.com"], make_mail(subject=f"number {i}"))

    def descriptors():
        return len(os.listdir(f"/proc/{relay.pid('sender')}/fd")) - before
    harness.wait_until(lambda: descriptors() > 500, 30, lambda: f"the bound; {descriptors()} so far")
    time.sleep(1)
    assert descriptors() < 540
    relay.send(make_mail(subject="other", recipient="it@contoso.com"), recipients=["it@contoso.com"])
    sim.clear()
    sim.wait_messages(701, 60)


def send_once(relay, content):
    try:
        return relay.send(content)
    except (OSError, harness.smtplib.SMTPException, harness.HarnessError):
        return None


def test_connections_never_exceed_the_window_across_reloads(sim, make_relay):
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"][0]["window"]["connections"] = 3
    relay.start()
    # The first connection is busy while mail gathers for the others.
    sim.faults("final-dot delay 2000 times=1", "final-dot delay 30")
    for i in range(200):
        # A session that a reload has ended is asked to try again, as a device would.
        harness.wait_until(lambda: send_once(relay, make_mail(subject=f"number {i}")), 10, "the relay to accept")
        if i == 60:
            relay.reload()
        if i == 120:
            relay.wait_event("reloading")  # two signals at once are one
            relay.reload()
    sim.wait_messages(200, 60)
    relay.wait_empty()
    stats = sim.stats()
    assert 2 <= stats["connections"]["smtp"]["peak"] <= 3, stats
    assert len(sim.messages()) == 200
    assert len(relay.wait_event("reloading", 2)) == 2


def test_no_route_is_refused_at_rcpt(sim, make_relay):
    relay = make_relay(sim, routes=[{"recipients": ["*@contoso.com"], "via": ["submission"]}])
    with relay.smtp() as client:
        client.ehlo()
        expect(client.mail("printer@contoso.com"), 250)
        code, text = client.rcpt("stranger@example.org")
        assert code == 550 and b"route" in text


def two_roads(make_sim, make_relay, **settings):
    inside, outside = make_sim(), make_sim()
    relay = make_relay(outside, start=False, **settings)
    relay.settings["upstreams"].append({"name": "direct", "kind": "direct-send", "host": "localhost", "port": inside.mx_port,
                                        "ca": inside.ca, "window": {"connections": 1}})
    relay.settings["routes"] = [{"recipients": ["*@contoso.com"], "via": ["direct"]}, {"recipients": ["*"], "via": ["submission"]}]
    return inside, outside, relay.start()


def test_recipients_that_were_put_off_together_are_tried_again_together(sim, relay):
    sim.faults("rcpt reply 451 4.3.2 Temporary server error. Please try again later ATTR5 times=30")
    recipients = [f"user{i}@contoso.com" for i in range(30)]
    relay.send(make_mail(), recipients=recipients)
    messages = sim.wait_messages(1, 30)
    relay.wait_empty()
    assert [m["rcpt"] for m in messages] == [recipients]
    assert len(sim.messages()) == 1


def test_a_held_road_does_not_hold_the_recipients_on_another(make_sim, make_relay):
    inside, outside, relay = two_roads(make_sim, make_relay, retry={"first": "1m", "max": "1m"})
    outside.faults("mail reply 432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending")
    inside.faults("mx:final-dot delay 1500 times=1")
    relay.send(make_mail(subject="in the way"))
    relay.send(make_mail(subject="both"), recipients=["boss@contoso.com", "client@example.org"])
    relay.wait_event("upstream-held")
    assert len(inside.wait_messages(2, 30)) == 2


def test_a_queue_file_locked_by_somebody_else_is_looked_at_again(make_sim, make_relay):
    inside, outside, relay = two_roads(make_sim, make_relay)
    for one in (inside, outside):
        one.faults("rcpt reply 451 4.3.2 Temporary server error. Please try again later ATTR5")
    queue_id = relay.send(make_mail(), recipients=["boss@contoso.com", "client@example.org"])
    with open(relay.spool / "queue" / queue_id, "rb") as file:
        relay.wait_event("deferred", 2)
        harness.wait_until(lambda: locked(file), 15, "the sender to let the file go", step=0.005)
        inside.clear()
        outside.clear()
        time.sleep(3)
        before = cpu_ticks(relay.pid("sender"))
        time.sleep(1)
        assert cpu_ticks(relay.pid("sender")) - before < 20, "the sender spins"
        assert inside.messages() == outside.messages() == []
    inside.wait_messages(1)
    outside.wait_messages(1)
    relay.wait_empty()


def locked(file):
    import fcntl
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False


def cpu_ticks(pid):
    stat = harness.read_text(f"/proc/{pid}/stat")
    fields = stat[stat.rfind(")") + 2:].split()
    return int(fields[11]) + int(fields[12])


def test_a_token_revoked_under_two_connections_is_no_alarm(sim, relay):
    sim.faults(rule := "final-dot delay 60000 times=2")
    for i in range(2):
        relay.send(make_mail(subject=f"first {i}"))
    wait_until(lambda: sim.used(rule) == 2, 10, "both connections to be at work")
    sim.clear()
    relay.wait_empty()
    sim.faults("tokens revoke-all", "mail cut times=2")
    for i in range(8):
        relay.send(make_mail(subject=f"second {i}"))
    sim.wait_messages(10)
    relay.wait_empty()
    assert not relay.events("upstream-held")
    assert sim.stats()["token_requests"] == 2


def test_a_success_under_way_does_not_end_a_slow_down(sim, make_relay):
    relay = make_relay(sim, start=False, retry={"first": "10s", "max": "10s"})
    relay.start()
    sim.faults("final-dot delay 60000 times=1", "mail reply 432 4.3.2 Concurrent connections limit exceeded. times=1 after=1")
    for i in range(6):
        relay.send(make_mail(subject=f"number {i}"))
    relay.wait_event("upstream-held")
    sim.clear()
    relay.wait_event("delivered")
    time.sleep(1)
    assert len(sim.messages()) == 1 and not relay.events("upstream-open")
    sim.wait_messages(6, 30)


def test_a_reload_cuts_no_transaction(sim, relay):
    sim.faults(rule := "final-dot delay 12000 times=1")
    relay.send(make_mail(subject="slow"))
    wait_until(lambda: sim.used(rule), 10, "the final dot")
    relay.reload()
    relay.wait_event("reloading")
    relay.send(make_mail(subject="next"))
    assert len(sim.wait_messages(2, 30)) == 2
    relay.wait_empty()
    time.sleep(0.5)
    assert len(sim.messages()) == 2


def test_a_disk_that_refuses_failed_reports_once_and_moves_later(sim, relay):
    sim.faults(f"rcpt=nobody@* reply {NOT_FOUND}")
    (relay.spool / "failed").rmdir()
    (relay.spool / "failed").write_text("in the way")
    queue_id = relay.send(make_mail(), recipients=["nobody@contoso.com"])
    sim.wait_messages(1)
    relay.wait_event("spool-trouble")
    wait_until(lambda: relay.queue_ids() == [queue_id], 20, lambda: f"the report gone; queued: {relay.queue_ids()}")
    time.sleep(2)
    assert len(sim.messages()) == 1
