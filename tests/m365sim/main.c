/* m365sim: a stand-in for Microsoft 365 on this machine, for tests, the demo, and an admin's rehearsal. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "faults.h"
#include "front.h"
#include "identity.h"
#include "log.h"
#include "login.h"
#include "options.h"
#include "play.h"
#include "sim_tls.h"
#include "smtp.h"
#include "stats.h"
#include "stop.h"
#include "store.h"

static const char usage[] =
    "usage: m365sim --dir DIR [options]\n"
    "\n"
    "Plays Microsoft 365 on 127.0.0.1, each server on a port of its own. What it receives stays in DIR.\n"
    "\n"
    "  smtp    the submission server: STARTTLS, AUTH LOGIN XOAUTH2; or that of HVE or ACS, see --play\n"
    "  mx      the tenant's MX host, no AUTH: Direct Send, and a connector by client certificate\n"
    "  login   the login host, HTTPS: tokens for a client secret, a certificate, a federated token, a "
    "sign-in\n"
    "          by device code or its refresh token\n"
    "  imds    an Azure VM's identity service (169.254.169.254), plain HTTP\n"
    "  arc     the identity service of a server that Azure Arc manages (localhost:40342), plain HTTP\n"
    "\n"
    "  --dir DIR               where it writes; made if missing\n"
    "  --smtp-port N           port of the submission server (else a free one)\n"
    "  --login-port N          port of the login host (else a free one)\n"
    "  --mx-port N             port of the MX host (else a free one)\n"
    "  --imds-port N           port of the Azure VM's identity service (else a free one)\n"
    "  --arc-port N            port of Azure Arc's identity service (else a free one)\n"
    "  --tenant T              tenant name or GUID           (contoso.onmicrosoft.com)\n"
    "  --client-id ID          the app's id                  (11111111-2222-3333-4444-555555555555)\n"
    "  --secret S              its client secret             (simulated-secret)\n"
    "  --mailbox M             mailbox the app may send as, * and ? allowed    (scanner@contoso.com)\n"
    "  --send-as A             address a user may send as beside its own, * and ? allowed    (none)\n"
    "  --play NAME             the submission server's kind: submission, hve, acs    (submission)\n"
    "  --domain D              the tenant's own domain, * and ? allowed; hve and the MX host relay to no\n"
    "                          other                         (none: every one is)\n"
    "  --connector-ca FILE     CA of client certificates for which the MX host relays to anybody\n"
    "  --basic-user U          user for AUTH LOGIN           (none: basic authentication is off)\n"
    "  --basic-password P      its password\n"
    "  --help                  this text\n";

static const char how_to[] =
    "\n"
    "A rehearsal: start it, and let the relay's config point to it:\n"
    "  { name = \"submission\"; kind = \"submission\"; mailbox = \"scanner@contoso.com\";\n"
    "    host = \"localhost\"; port = SMTP-PORT; ca = \"DIR/ca.pem\";\n"
    "    oauth = { authority = \"https://localhost:LOGIN-PORT\"; ca = \"DIR/ca.pem\";\n"
    "              tenant = \"contoso.onmicrosoft.com\";\n"
    "              client_id = \"11111111-2222-3333-4444-555555555555\";\n"
    "              client_secret = \"file:FILE-WITH-THE-SECRET\"; }; }\n"
    "\n"
    "In DIR: ports.json (ports and pid, there once it is ready), ca.pem (its CA), mail/NNNNNN.eml and\n"
    ".json (what was received), log (all that was said), stats.json (counts; also at SIGUSR1). SIGTERM\n"
    "ends it.\n"
    "\n"
    "Further credentials of the app, looked at for each request: DIR/app/secrets (one a line, in place of\n"
    "--secret; \" expired\" behind one that is over), DIR/app/NAME.crt (uploaded certificates),\n"
    "DIR/app/federated (assertions of a trusted issuer, one a line). Of a sign-in by device code "
    "DIR/app/sign-in\n"
    "says what the person does (pending, approved, declined, expired). The VM has the app's identity, or\n"
    "those whose client ids stand in DIR/app/identities, one a line; it may be empty.\n"
    "\n"
    "Arc's key files are in DIR/azcmagent/tokens and are named as in /var/opt. To have them there for one\n"
    "process and its children only:\n"
    "  unshare -m sh -c 'mount --bind DIR /var/opt && exec mfdrelay serve -c FILE'\n"
    "\n"
    "Faults: write rules into DIR/control, one a line; a change works at once; DIR/control.status tells of\n"
    "mistakes. A rule is\n"
    "  [FRONT:]STAGE[=PATTERN|!=PATTERN] ACTION [ARGUMENT] [times=N] [after=N] [delay=MS]\n"
    "or ACTION at STAGE. FRONT is smtp, login, mx, imds or arc. PATTERN is matched with the address, user\n"
    "or hello name; times: so often, then no more; after: let so many pass first; delay: wait before. The\n"
    "first rule that fits counts. Examples:\n"
    "  mail reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender times=1\n"
    "  rcpt=*@fabrikam.com reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found\n"
    "  content cut-after 25% times=2\n"
    "  throttle connections 3\n"
    "  login error 7000222\n"
    "\n"
    "Actions, and the stages where they can stand:\n";

static struct options options = {
    .tenant = "contoso.onmicrosoft.com",
    .client_id = "11111111-2222-3333-4444-555555555555",
    .secret = "simulated-secret",
    .mailbox = "scanner@contoso.com",
};

static int complain(const char *what, const char *value)
{
	fprintf(stderr, "m365sim: %s%s; see m365sim --help\n", what, value);
	return -1;
}

static int read_port(unsigned short *port, const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || n < 0 || n > 65535)
		return complain("not a port: ", text);
	*port = (unsigned short)n;
	return 0;
}

static int take_option(int option, const char *value)
{
	const char **const texts[] = {&options.dir, &options.tenant, &options.client_id, &options.secret,
	    &options.mailbox, &options.basic_user, &options.basic_password, &options.domain,
	    &options.connector_ca, &options.send_as};
	unsigned short *const ports[] = {
	    &options.smtp_port, &options.login_port, &options.mx_port, &options.imds_port, &options.arc_port};

	if (option >= 'a' && option <= 'j') {
		*texts[option - 'a'] = value;
		return 0;
	}
	if (option >= '1' && option <= '5')
		return read_port(ports[option - '1'], value);
	if (option == 'p') {
		options.play = play_named(value);
		return options.play ? 0 : complain("--play does not know ", value);
	}
	return complain("unknown option", "");
}

static int read_options(int argc, char **argv)
{
	static const struct option names[] = {{"dir", 1, NULL, 'a'}, {"tenant", 1, NULL, 'b'},
	    {"client-id", 1, NULL, 'c'}, {"secret", 1, NULL, 'd'}, {"mailbox", 1, NULL, 'e'},
	    {"basic-user", 1, NULL, 'f'}, {"basic-password", 1, NULL, 'g'}, {"domain", 1, NULL, 'h'},
	    {"connector-ca", 1, NULL, 'i'}, {"send-as", 1, NULL, 'j'}, {"play", 1, NULL, 'p'},
	    {"smtp-port", 1, NULL, '1'}, {"login-port", 1, NULL, '2'}, {"mx-port", 1, NULL, '3'},
	    {"imds-port", 1, NULL, '4'}, {"arc-port", 1, NULL, '5'}, {"help", 0, NULL, 'H'},
	    {NULL, 0, NULL, 0}};
	int option;

	options.play = play_named("submission");
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option == 'H') {
			fputs(usage, stdout);
			fputs(how_to, stdout);
			faults_help(stdout);
			exit(0);
		}
		if (take_option(option, optarg) < 0)
			return -1;
	}
	if (optind < argc)
		return complain("unexpected: ", argv[optind]);
	if (!options.dir)
		return complain("--dir is missing", "");
	if (!options.basic_user != !options.basic_password)
		return complain("--basic-user and --basic-password go together", "");
	return 0;
}

static int open_dir(void)
{
	if (mkdir(options.dir, 0755) < 0 && errno != EEXIST) {
		fprintf(stderr, "m365sim: can't make %s: %s\n", options.dir, strerror(errno));
		return -1;
	}
	if (store_open(options.dir) < 0 || log_open(options.dir) < 0 || stop_init() < 0) {
		fprintf(stderr, "m365sim: can't write in %s: %s\n", options.dir, strerror(errno));
		return -1;
	}
	return sim_tls_init(options.dir, options.connector_ca);
}

static int open_one(json_t *ports, enum front front, unsigned short wanted, serve_fn *serve)
{
	unsigned short port = front_open(front, wanted, serve, &options);

	if (!port) {
		fprintf(stderr, "m365sim: can't listen on 127.0.0.1:%u for %s: %s\n", wanted,
		    front_name(front), strerror(errno));
		return -1;
	}
	json_object_set_new(ports, front_name(front), json_integer(port));
	printf("%s 127.0.0.1:%u\n", front_name(front), port);
	return 0;
}

static int open_fronts(void)
{
	json_t *ports = json_object();
	int result = -1;

	if (open_one(ports, FRONT_SMTP, options.smtp_port, smtp_serve) == 0 &&
	    open_one(ports, FRONT_LOGIN, options.login_port, login_serve) == 0 &&
	    open_one(ports, FRONT_MX, options.mx_port, smtp_serve) == 0 &&
	    open_one(ports, FRONT_IMDS, options.imds_port, identity_serve) == 0 &&
	    open_one(ports, FRONT_ARC, options.arc_port, identity_serve) == 0) {
		json_object_set_new(ports, "pid", json_integer(getpid()));
		result = store_json("ports.json", ports);
	}
	json_decref(ports);
	fflush(stdout);
	return result;
}

/* Until SIGTERM or SIGINT. */
static void wait_for_the_end(const sigset_t *signals)
{
	const struct timespec second = {.tv_sec = 1};

	for (;;) {
		int got = sigtimedwait(signals, NULL, &second);

		if (got == SIGTERM || got == SIGINT)
			return;
		if (got == SIGUSR1)
			faults_refresh();
		stats_write(got == SIGUSR1);
	}
}

int main(int argc, char **argv)
{
	sigset_t signals;
	int status = 1;

	if (read_options(argc, argv) < 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if (open_dir() < 0)
		return 1;
	faults_open(options.dir);
	if (open_fronts() == 0) {
		stats_write(1);
		wait_for_the_end(&signals);
		status = 0;
	}
	stop_request();
	front_close_all();
	stats_write(1);
	faults_close();
	sim_tls_free();
	log_close();
	store_close();
	stop_close();
	return status;
}
