/* What goes wrong without a reply: names, connections, TLS, secrets, routes. */
#include "catalogue/rows.h"

#include <stddef.h>

#define ANY_CERTIFICATE (AT(ROAD_CERTIFICATE) | AT(ROAD_LOGIN_CERTIFICATE))
#define ANY_NAME	(AT(ROAD_DNS) | AT(ROAD_LOGIN_HOST))
#define ANY_CONNECT	(AT(ROAD_CONNECT) | AT(ROAD_LOGIN_HOST))
#define ANY_TLS		(AT(ROAD_TLS) | AT(ROAD_LOGIN_HOST))

const struct trouble_row trouble_rows[] = {
    /* The proxy before the login host: none of what comes below is about that host then. */
    {AT(ROAD_LOGIN_HOST), "wants a login, or another one (407)",
	{"login-proxy-wants-login", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The proxy on the way to the login host wants a login, or refuses ours.",
	    "Correct oauth.proxy_user, and the file of oauth.proxy_password (then: mfdrelay queue retry "
	    "all)."}},
    {AT(ROAD_LOGIN_HOST), "the proxy ",
	{"login-proxy-fails", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "The proxy on the way to the login host cannot be reached, or does not let us through.",
	    "Check oauth.proxy, whether the proxy runs, and that it lets this machine to the host of "
	    "oauth.authority (login.microsoftonline.com) on port 443; it is asked again."}},

    /* Names. */
    {ANY_NAME,
	"no host of that name|could not resolve host|name or service not known|nxdomain|domain name not "
	"found|host not found",
	{"name-unknown", OUTCOME_T, ACTOR_RELAY, BY_RETRY,
	    "DNS says that there is no host of this name (NXDOMAIN).",
	    "Check the spelling of host in this upstream (for the login host: oauth.authority); a tenant's "
	    "MX is at Microsoft 365 admin centre > Settings > Domains; see what DNS says: resolvectl query "
	    "<host>."}},
    {ANY_NAME, "name has no address",
	{"name-without-address", OUTCOME_T, ACTOR_RELAY, BY_RETRY,
	    "The name exists in DNS, but has no address.",
	    "Check host of this upstream: a domain's name is not yet the name of its MX."}},
    {ANY_NAME,
	"servfail|temporary failure in name resolution|no name server|could not contact dns|dns server "
	"returned",
	{"name-server-trouble", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "The name servers of this machine give no answer (SERVFAIL, or none can be reached).",
	    "Check /etc/resolv.conf and the way to the name servers (port 53): resolvectl status."}},
    {AT(ROAD_DNS), NULL,
	{"name-not-resolved", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "The upstream's host name cannot be resolved.",
	    "Check host of this upstream, and this machine's DNS (resolvectl query <host>)."}},
    {AT(ROAD_MX_NONE) | ANY_TEXT, "has no mx record",
	{"mx-missing", OUTCOME_C, ACTOR_RELAY, PROBE, "The upstream's domain has no mail host in DNS (MX).",
	    "Check domain of this upstream; if it is right, name the tenant's MX host in its place: host = "
	    "\"contoso-com.mail.protection.outlook.com\" (Microsoft 365 admin centre > Settings > Domains > "
	    "DNS records)."}},
    {AT(ROAD_MX_FOREIGN), NULL,
	{"mx-not-microsoft", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The mail of the upstream's domain goes to a host that is not Microsoft's, a filter in front of "
	    "it perhaps.",
	    "Name the tenant's MX host in place of domain: host = "
	    "\"contoso-com.mail.protection.outlook.com\" (Microsoft 365 admin centre > Settings > Domains > "
	    "DNS records). If the host is Microsoft's all the same, add what its name ends in to "
	    "mx_suffixes."}},

    /* Connections. */
    {ANY_CONNECT, "no route to host|network is unreachable|host is unreachable|network unreachable",
	{"no-way-there", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "This machine has no network way to the other side.",
	    "Check the default route (ip route), the Internet line, and where the address is an IPv6 one, "
	    "whether this site has IPv6."}},
    {ANY_CONNECT, "connection timed out|connect: no answer in time|connection timeout",
	{"connect-timed-out", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "The other side does not answer a connection: mostly a firewall, or a provider who blocks port "
	    "25.",
	    "Have firewall and Internet provider let this machine out to the port (587; 25 for direct-send "
	    "and connector; 443 for the login host). Where 25 stays blocked, use submission on 587."}},
    {ANY_CONNECT, "connection refused|failed to connect",
	{"connection-refused", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "The other side, or a firewall in between, refuses the connection.",
	    "Check host and port; have firewall and Internet provider let this machine out to the port (587; "
	    "25 for direct-send and connector; 443 for the login host)."}},
    {AT(ROAD_CONNECT), NULL,
	{"connect-failed", OUTCOME_T, ACTOR_NETWORK, BY_RETRY, "No connection to the upstream can be made.",
	    "Check that firewall and Internet provider let this machine out to the upstream's port (587, for "
	    "direct-send 25)."}},

    /* TLS. */
    {ANY_TLS,
	"unsupported protocol|protocol version|no tls 1.2|our tls versions|version too low|tlsv1 alert "
	"protocol",
	{"tls-version-too-old", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The other side has no TLS 1.2 or later; less is not spoken here.",
	    "Microsoft has it: look for a firewall or mail filter in between that opens TLS; a server of "
	    "your own must be updated."}},
    {ANY_TLS, "wrong version number|is not tls|http request|speaks http|packet length too long",
	{"tls-not-spoken", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "What answers at this port does not begin with TLS.",
	    "Check port and tls of this upstream: \"implicit\" is for port 465, \"required\" (STARTTLS) for "
	    "587 and 25; for the login host: oauth.authority."}},
    {ANY_TLS,
	"no shared cipher|nothing in common|handshake failure|no cipher suite|dh key too small|signature "
	"algorithm",
	{"tls-nothing-in-common", OUTCOME_C, ACTOR_NETWORK, PROBE,
	    "The two sides have no TLS cipher or signature in common.",
	    "Microsoft has what is needed: look for a firewall or mail filter that opens TLS; a server of "
	    "your own must be updated."}},
    {AT(ROAD_TLS), NULL,
	{"tls-failed", OUTCOME_T, ACTOR_NETWORK, BY_RETRY, "TLS with the upstream could not be set up.",
	    "Look for a firewall that inspects SMTP; the upstream must speak TLS 1.2 or later."}},

    /* Certificates. */
    {ANY_CERTIFICATE, "certificate has expired|certificate expired",
	{"certificate-expired", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The other side's certificate has expired, or this machine's clock is wrong.",
	    "Check the clock (timedatectl); Microsoft's are never expired, so look for a firewall that opens "
	    "TLS; on a server of your own renew it."}},
    {ANY_CERTIFICATE, "not yet valid",
	{"certificate-not-yet-valid", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The other side's certificate is not valid yet: mostly this machine's clock is behind.",
	    "Set the clock: timedatectl set-ntp true."}},
    {ANY_CERTIFICATE,
	"another name|hostname mismatch|host name mismatch|ip address mismatch|no alternative certificate "
	"subject name|does not match target host",
	{"certificate-for-another-name", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The certificate is for another name than the host that the config names.",
	    "Correct host of this upstream: a name that the certificate holds, never an address; else look "
	    "for a firewall that opens TLS."}},
    {ANY_CERTIFICATE,
	"self-signed certificate in|self signed certificate in|unable to get local issuer|unable to get "
	"issuer|unable to verify the first",
	{"certificate-unknown-ca", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The certificate was made by a CA that this machine does not trust.",
	    "Install or update the ca-certificates package (Microsoft's chain ends in DigiCert Global Root "
	    "G2); where a firewall opens TLS and that is wanted, or on a server of your own, name its CA "
	    "with ca of this upstream (oauth.ca for the login host)."}},
    {ANY_CERTIFICATE, "self-signed certificate|self signed certificate",
	{"certificate-self-signed", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The certificate is self-signed: nobody but its owner vouches for it.",
	    "On a server of your own name that certificate with ca of this upstream; Microsoft has none "
	    "such, so else look for a firewall that opens TLS."}},
    {ANY_CERTIFICATE, "certificate verify failed",
	{"certificate-verify-failed", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The other side's certificate is not proved; this text does not say why.",
	    "See it with: openssl s_client -starttls smtp -connect <host>:587 -verify_hostname <host>. Check "
	    "the clock, the ca-certificates package, and whether a firewall opens TLS."}},
    {AT(ROAD_CERTIFICATE), NULL,
	{"certificate-not-verified", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream's certificate does not prove that it is the host the config names.",
	    "Where this upstream names ca, that file must hold the CA of the certificate; else install the "
	    "ca-certificates package. Set the clock; look for a firewall that opens TLS (name its CA with ca "
	    "of this upstream if that is wanted); check host."}},
    {AT(ROAD_LOGIN_CERTIFICATE), NULL,
	{"login-certificate-not-verified", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The login host's certificate does not prove that it is the host of oauth.authority.",
	    "Where oauth names ca, that file must hold the CA of the certificate; else install the "
	    "ca-certificates package. Set the clock; look for a firewall that opens TLS (name its CA with "
	    "oauth.ca if that is wanted)."}},

    /* The dialogue. */
    {AT(ROAD_NO_STARTTLS) | ANY_TEXT, "starttls is not offered",
	{"starttls-not-offered", OUTCOME_C, ACTOR_NETWORK, PROBE, "The upstream does not offer STARTTLS.",
	    "Microsoft always does: switch off the SMTP inspection of the firewall or mail filter in "
	    "between; check host and port."}},
    {AT(ROAD_NO_AUTH) | ANY_TEXT, "auth xoauth2 is not offered|auth login is not offered",
	{"mechanism-not-offered", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "The upstream does not offer the sign-in that this credential needs.",
	    "Check host and kind of this upstream; Microsoft offers XOAUTH2 and LOGIN at smtp.office365.com, "
	    "and none at an MX."}},
    {AT(ROAD_CUT) | ANY_TEXT, "the upstream closed the connection",
	{"connection-lost", OUTCOME_T, ACTOR_NOBODY, BY_RETRY, "The connection to the upstream was lost.",
	    "Nothing, it is tried again; if it is frequent, look at the firewall's time limits."}},
    {AT(ROAD_TIMEOUT), "banner: no answer in time",
	{"greeting-missing", OUTCOME_T, ACTOR_RELAY, BY_RETRY,
	    "The upstream takes the connection and then says nothing: mostly a port that begins with TLS, or "
	    "a firewall in between.",
	    "Check host, port and tls of this upstream: tls = \"implicit\" is for port 465, \"required\" "
	    "(STARTTLS) for 587 and 25. If they are right, look for a firewall that holds SMTP up; it is "
	    "tried again."}},
    {AT(ROAD_TIMEOUT) | ANY_TEXT, ": no answer in time",
	{"no-answer", OUTCOME_T, ACTOR_NOBODY, BY_RETRY, "The upstream did not answer in time.",
	    "Nothing, it is tried again; if it is frequent, look at the Internet line and the firewall."}},
    {AT(ROAD_PROXY), NULL,
	{"proxy-refused", OUTCOME_T, ACTOR_NETWORK, BY_RETRY, "The proxy does not connect to the upstream.",
	    "Let it connect to host and port of this upstream (mostly only port 443 is allowed), or correct "
	    "proxy."}},
    {AT(ROAD_PROXY_LOGIN), NULL,
	{"proxy-login-refused", OUTCOME_C, ACTOR_RELAY, PROBE, "The proxy wants a login, or refuses ours.",
	    "Correct proxy_user of this upstream, and the file of proxy_password."}},
    {AT(ROAD_GARBAGE) | ANY_TEXT, "the answer is not an smtp reply",
	{"not-smtp", OUTCOME_T, ACTOR_RELAY, BY_RETRY, "What the upstream answered is not SMTP.",
	    "Check host and port of this upstream, and what stands between it and this machine."}},

    /* Secrets, and the login host. */
    {AT(ROAD_SECRET) | ANY_TEXT, "a secret is one line of text",
	{"secret-unusable", OUTCOME_C, ACTOR_RELAY, PROBE, "The file of a secret cannot be used.",
	    "Do as the text says; the file should belong to root, its group be the daemon's, its mode "
	    "0640."}},
    {AT(ROAD_IDENTITY), NULL,
	{"identity-refused", OUTCOME_C, ACTOR_ENTRA, PROBE,
	    "The identity service of this machine gives no token.",
	    "Give the machine a managed identity (Azure portal > the VM > Identity > On; several: name one "
	    "as "
	    "oauth.client_id), and that identity the right to send; with Azure Arc the relay's user must be "
	    "in the group "
	    "himds."}},
    {AT(ROAD_IDENTITY_BUSY), NULL,
	{"identity-busy", OUTCOME_T, ACTOR_NOBODY, BY_RETRY,
	    "The identity service of this machine asks to come again "
	    "later.",
	    "Nothing, it is asked again; if it lasts, see that service's own log."}},
    {AT(ROAD_IDENTITY_SILENT), NULL,
	{"identity-silent", OUTCOME_T, ACTOR_RELAY, BY_RETRY,
	    "The identity service of this machine gave no answer, or the machine has none.",
	    "Nothing, it is asked again; if it lasts: grant = \"managed_identity\" needs a VM in Azure, and "
	    "\"azure_arc\" the agent of Azure Arc (azcmagent show); elsewhere use another grant."}},
    {AT(ROAD_IDENTITY_ANSWER), NULL,
	{"identity-answer-unusable", OUTCOME_C, ACTOR_RELAY, FIVE_MINUTES,
	    "What answered in place of this machine's identity service gave no token.",
	    "Leave out oauth.authority; see whether something else listens there (with \"azure_arc\" ss "
	    "-tlnp "
	    "names it, port 40342)."}},
    {AT(ROAD_SIGN_IN) | ANY_TEXT, "nobody has signed in",
	{"sign-in-missing", OUTCOME_C, ACTOR_RELAY, PROBE,
	    "Nobody has signed in for this upstream, or the refresh token can't be read.",
	    "Sign in: mfdrelay login UPSTREAM."}},
    {AT(ROAD_LOGIN_HOST) | ANY_TEXT, "gave no answer in time",
	{"login-host-silent", OUTCOME_T, ACTOR_NETWORK, BY_RETRY,
	    "The login host gave no answer, or none it could stand by.",
	    "Nothing, it is asked again; if it lasts, check that this machine may reach the host of "
	    "oauth.authority (login.microsoftonline.com) on port 443."}},
    {AT(ROAD_LOGIN_ANSWER) | ANY_TEXT, "body that is not a json object",
	{"login-answer-unusable", OUTCOME_C, ACTOR_NETWORK, FIVE_MINUTES,
	    "What the login host answered is not a token answer.",
	    "Check authority and tenant of oauth; look for a proxy or a sign-on page that answers in "
	    "Microsoft's place."}},

    /* The message. */
    {AT(ROAD_SPOOL), NULL,
	{"spool-unreadable", OUTCOME_T, ACTOR_RELAY, BY_RETRY,
	    "The message could not be read from the spool.",
	    "Look at the spool's disk, and at the message's file in queue/; it is tried again."}},
    {AT(ROAD_HEADER), NULL,
	{"from-unchecked", OUTCOME_P, ACTOR_DEVICE, BY_RETRY,
	    "Its header is too large, too broken or cut off, so that From cannot be held to the config's "
	    "sender rule (sender, sender_address): it was not sent.",
	    "Look at what the device writes into the header, of which the relay reads 256 KiB and 1,000 "
	    "fields; where the file in the spool is cut off, look at the spool's disk."}},
    {AT(ROAD_TOO_LARGE), NULL,
	{"message-too-large", OUTCOME_N, ACTOR_DEVICE, BY_RETRY,
	    "The message is larger than the SIZE that the upstream offers.",
	    "Scan at a lower resolution, or in several parts."}},
    {AT(ROAD_NO_ROUTE), NULL,
	{"no-route", OUTCOME_C, ACTOR_RELAY, PROBE, "No route of the config is for this recipient.",
	    "Add a route, for example { recipients = [ \"*\" ]; via = [ \"submission\" ]; }, and reload."}},
    {AT(ROAD_EXPIRED), NULL,
	{"expired", OUTCOME_P, ACTOR_RELAY, BY_RETRY,
	    "It could not be delivered within the time that retry.give_up allows.",
	    "See the last reply for what stood in the way; mfdrelay queue retry ID tries again."}},
};

const size_t trouble_row_count = sizeof trouble_rows / sizeof trouble_rows[0];
