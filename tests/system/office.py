"""A server of every kind of upstream, and a relay with an upstream for each pair of a kind and a credential."""

import shutil

import harness
from certificates import make_chain, make_pair

KINDS = ["submission", "hve", "direct-send", "connector", "acs", "smtp"]
BY_OAUTH = ["secret", "certificate", "federated-token", "device-code", "managed-identity"]
CREDENTIALS = [*BY_OAUTH, "password", "client-certificate", "none"]

USERS = {"hve": "hve@contoso.com", "acs": "contoso|11111111-2222-3333-4444-555555555555|99999999-8888-7777-6666-555555555555"}
PASSWORD = "old-way"
MAIL_FROM = "donotreply@contoso.com"  # the sender that is linked to the ACS resource


def user_of(kind):
    """Who logs in with a password."""
    return USERS.get(kind, harness.MAILBOX)


def mailbox_of(credential):
    """Whom an app or a person logs in for: each upstream has its own, as two of one mailbox share what Microsoft allows it."""
    return f"{credential}@contoso.com"


def sender_of(kind, credential):
    """Who stands in the envelope and in From of a printer's mail: the only one whom the server takes, unless it takes anybody."""
    if kind == "acs":
        return MAIL_FROM
    return mailbox_of(credential) if credential in BY_OAUTH else user_of(kind) if credential == "password" else "printer@contoso.com"


class Office:
    """`pairs` are (kind, credential); the upstream of one is called "KIND.CREDENTIAL", and is the way of mail to
    "KIND.CREDENTIAL@..." or "KIND.CREDENTIAL+...@...". Beside CREDENTIALS there is "bare-certificate", without its chain."""

    def __init__(self, folder, pairs):
        for name in ("certificates", "hve", "acs", "submission"):
            (folder / name).mkdir()
        self.pairs = pairs
        self.chain = make_chain(folder / "certificates")
        self.app = make_pair(folder / "certificates")
        self.hve = self.make_sim(folder, "hve", mailbox="*@contoso.com", domain="contoso.com")
        self.acs = self.make_sim(folder, "acs", mailbox="contoso-relay", send_as=MAIL_FROM)
        self.submission = self.make_sim(folder, "submission", mailbox="*@contoso.com", domain="contoso.com",
                                        connector_ca=self.chain["ca"])
        self.sims = [self.hve, self.acs, self.submission]
        self.relay = harness.Relay(folder / "relay", self.submission)
        self.relay.write_secret(PASSWORD, "password")
        self.relay.write_secret("of.another.issuer", "federated")
        self.relay.settings.update(upstreams=[self.upstream(*pair) for pair in pairs], routes=self.routes())
        self.relay.start()
        for kind, credential in pairs:
            if credential == "device-code":
                self.relay.cli("login", f"{kind}.{credential}", check=True)

    def make_sim(self, folder, play, send_as=None, **options):
        """It trusts all that the app can prove itself by, and whoever signs in; as Microsoft's it lets nobody send as another."""
        sim = harness.Sim(folder / play, play=play, basic_user=user_of(play), basic_password=PASSWORD, send_as=send_as, **options).start()
        sim.serves_daemon = True
        (sim.dir / "app").mkdir()
        shutil.copy(self.app[0], sim.dir / "app")
        for name, text in ("federated", "of.another.issuer\n"), ("sign-in", "approved"), ("interval", "1"):
            (sim.dir / "app" / name).write_text(text)
        return sim

    def sim_of(self, kind):
        return {"hve": self.hve, "acs": self.acs}.get(kind, self.submission)

    def upstream(self, kind, credential):
        """Of any pair, also of one that makes no sense."""
        sim = self.sim_of(kind)
        by_login = credential in (*BY_OAUTH, "password")
        port = sim.smtp_port if by_login else sim.mx_port
        made = {"name": f"{kind}.{credential}", "kind": kind, "host": "localhost", "port": port, "ca": sim.ca}
        if credential == "password":
            made.update(user=user_of(kind), password=f"file:{self.relay.dir}/password")
        elif credential in ("client-certificate", "bare-certificate"):
            certificate = self.chain["chain" if credential == "client-certificate" else "bare"]
            made.update(certificate=str(certificate), key=str(self.chain["key"]))
        elif credential in BY_OAUTH:
            made.update(oauth=self.oauth(sim, credential), mailbox=mailbox_of(credential))
            if kind == "acs":
                made["user"] = "contoso-relay"
        if kind == "acs":
            made["mailbox"] = MAIL_FROM
        elif kind == "smtp" and by_login:
            made.update(sender="force", sender_address=user_of(kind))
        return made

    def oauth(self, sim, credential):
        if credential == "managed-identity":
            return {"grant": "managed_identity", "authority": f"http://localhost:{sim.ports['imds']}"}
        proof = {"secret": {"client_secret": f"file:{self.relay.dir}/client-secret"},
                 "certificate": {"certificate": str(self.app[0]), "key": str(self.app[1])},
                 "federated-token": {"federated_token": f"file:{self.relay.dir}/federated"},
                 "device-code": {"grant": "device_code"}}[credential]
        return {"tenant": harness.TENANT, "client_id": harness.CLIENT_ID, "authority": f"https://localhost:{sim.login_port}",
                "ca": sim.ca, **proof}

    def routes(self):
        names = [f"{kind}.{credential}" for kind, credential in self.pairs]
        return [{"recipients": [f"{name}@*", f"{name}+*@*"], "via": [name]} for name in names]

    def send(self, recipient, **options):
        """Send a mail and wait for it: the message at the server of the upstream that recipient begins with."""
        sim = self.sim_of(recipient.partition(".")[0])
        before = len(sim.messages())
        self.relay.send(harness.make_mail(), recipients=[recipient], **options)
        return sim.wait_messages(before + 1)[before]

    def close(self):
        harness.stop_all(self.relay, *self.sims)
