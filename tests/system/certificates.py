"""Keys and certificates for tests, made by openssl."""

import subprocess


def openssl(*arguments, **options):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options)


def make_pair(folder, name="app", days=365, *, bits=2048):
    """An RSA key and its certificate: (certificate's path, key's path)."""
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    openssl("req", "-x509", "-newkey", f"rsa:{bits}", "-nodes", "-days", days, "-subj", "/CN=mfdrelay", "-keyout", key, "-out", crt)
    key.chmod(0o600)
    return crt, key


def make_tls(folder, **options):
    """The config's tls with a pair that make_pair makes."""
    crt, key = make_pair(folder, **options)
    return {"certificate": str(crt), "key": str(key)}


def make_chain(folder):
    """A pair of relay.contoso.com by a CA between: the paths of the public CA ("ca"), of the whole chain ("chain"), of the
    certificate without it ("bare"), and of the key."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def issue(name, issuer, extensions):
        openssl("req", "-new", *curve, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text(extensions)
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{issuer}.pem", "-CAkey", folder / f"{issuer}.key",
                "-days", "30", "-extfile", folder / "ext", "-out", folder / f"{name}.pem")
    openssl("req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-days", "30", "-subj", "/CN=public CA")
    issue("middle", "ca", "basicConstraints=critical,CA:TRUE\n")
    issue("relay.contoso.com", "middle", "basicConstraints=CA:FALSE\n")
    bare, key = folder / "relay.contoso.com.pem", folder / "relay.contoso.com.key"
    (folder / "chain.pem").write_text(bare.read_text() + (folder / "middle.pem").read_text())
    key.chmod(0o600)
    return {"ca": folder / "ca.pem", "chain": folder / "chain.pem", "bare": bare, "key": key}
