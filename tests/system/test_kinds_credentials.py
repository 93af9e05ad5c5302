"""Each kind of upstream times each credential: mail is delivered, or `check` says why it cannot be."""

import pytest

from office import BY_OAUTH, CREDENTIALS, KINDS, mailbox_of, sender_of, user_of

TAKEN = {
    "submission": [*BY_OAUTH, "password"],
    "hve": [*BY_OAUTH, "password"],
    "direct-send": ["none"],
    "connector": ["client-certificate", "none"],
    "acs": ["secret", "certificate", "federated-token", "managed-identity", "password"],
    "smtp": ["password", "none"],
}
PAIRS = [(kind, credential) for kind in KINDS for credential in TAKEN[kind]]


@pytest.mark.parametrize("kind, credential", PAIRS)
def test_a_message_is_delivered(office, kind, credential):
    message = office.send(f"{kind}.{credential}@contoso.com")
    front = "mx" if credential in ("client-certificate", "none") else "smtp"
    login = ("XOAUTH2", "contoso-relay" if kind == "acs" else mailbox_of(credential)) if credential in BY_OAUTH else \
        ("LOGIN", user_of(kind)) if credential == "password" else (None, None)
    client = "relay.contoso.com" if credential == "client-certificate" else None
    assert (message["front"], message["mechanism"], message["user"], message["client"]) == (front, *login, client)
    assert message["tls"].startswith("TLSv1.")
    assert message["mail_from"] == sender_of(kind, credential)
    assert f"\r\nFrom: {sender_of(kind, credential)}\r\n".encode() in message.content


# What a kind takes, and what to do with a credential that it does not take.
TAKES = {"direct-send": "no credential", "connector": "certificate and key at most", "smtp": "user and password at most"}
REMEDIES = {"password": 'remove user, or use kind "submission" or "smtp"',
            "client-certificate": 'remove certificate, or use kind "connector"'}
OTHER_REFUSALS = {
    ("submission", "none"): 'kind "submission" needs a credential; add mailbox and oauth = { tenant, client_id, client_secret }',
    ("hve", "none"): 'kind "hve" needs a credential; add mailbox and oauth = { tenant, client_id, client_secret }',
    ("acs", "none"): 'kind "acs" needs a credential; add user (the SMTP username) and password = "file:/PATH"',
    ("acs", "device-code"): 'upstreams.oauth.scope is missing: none is known for kind "acs" in cloud "worldwide"; add the one '
                            'that Microsoft names',
}


@pytest.mark.parametrize("kind, credential", [(kind, credential) for kind in KINDS for credential in CREDENTIALS
                                              if credential not in TAKEN[kind]])
def test_check_refuses_and_says_what_to_do(office, make_relay, kind, credential):
    relay = make_relay(office.submission, start=False)
    relay.settings["upstreams"] = [office.upstream(kind, credential)]
    relay.settings["routes"] = [{"recipients": ["*"], "via": [f"{kind}.{credential}"]}]
    relay.write_config()
    checked = relay.cli("check")
    remedy = REMEDIES.get(credential, 'remove oauth, or use kind "submission" (with host and port)')
    expected = OTHER_REFUSALS.get((kind, credential), f'kind "{kind}" takes {TAKES.get(kind, "oauth, or user and password")}; {remedy}')
    assert checked.returncode == 1 and expected in checked.stderr, checked.stderr
