#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <event2/event.h>

#include "base/log.h"
#include "cli/ask.h"
#include "cli/become.h"
#include "cli/commands.h"
#include "cli/open.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "config/config.h"
#include "net/http.h"
#include "net/resolver.h"
#include "sender/config_resolver.h"
#include "sender/device_answer.h"
#include "sender/device_login.h"
#include "sender/refresh_store.h"
#include "spool/spool.h"

static const char usage[] =
    "usage: mfdrelay login UPSTREAM [-c FILE]\n"
    "\n"
    "Sign in for an upstream whose oauth has grant = \"device_code\": shows a code and where to type it, "
    "waits "
    "until that\n"
    "is done, and keeps the refresh token in the spool, where only the relay's user can read it. The daemon "
    "must\n"
    "have been started once; one that runs uses it at once. Sign in as the mailbox, or as an account that "
    "may "
    "send\n"
    "as it.\n"
    "exit status: 0 signed in; 1 not; 77 run as somebody who can't read the config, or write to the spool;\n"
    "78 the config has errors\n";

/* One sign-in, and what has become of it. */
struct login {
	const struct config *config;
	const struct upstream_config *upstream;
	struct event_base *base;
	int status;
};

static void show(void *arg, const struct device_code *code)
{
	const struct login *login = arg;

	printf("Open %s in any browser, type the code\n\n    %s\n\nand sign in as %s, or as an account that "
	       "may send "
	       "as it. The code is good for %ld minutes.\n",
	    code->url, code->user_code, login->upstream->mailbox, code->expires_s / 60);
	fflush(stdout);
}

static void print_failure(const struct failure *why)
{
	char text[700];

	fprintf(stderr, "mfdrelay: not signed in. %s\n  remedy: %s\n  answer: %s\n", why->cause->cause,
	    why->cause->remedy, terminal_text(text, sizeof text, why->text, sizeof text));
}

/* Without a daemon there is nobody to tell. */
static void tell_daemon(const struct login *login)
{
	struct err err;

	if (!spool_is_locked(login->config->spool)) {
		puts("The daemon does not run; it will use this once it is started.");
		return;
	}
	json_t *answer = ask_daemon(login->config,
	    json_pack("{s:s, s:s}", "command", "signed-in", "upstream", login->upstream->name), &err);
	if (!json_is_true(json_object_get(answer, "ok")))
		puts("The daemon does not know this upstream yet: reload it.");
	json_decref(answer);
}

static void on_done(void *arg, const struct secret *refresh_token, const struct failure *why)
{
	struct login *login = arg;
	struct err err;

	login->status = 1;
	event_base_loopexit(login->base, NULL);
	if (why != NULL) {
		print_failure(why);
	} else if (refresh_write(login->config->spool, login->upstream->name, NULL, refresh_token, &err) <
		   0) {
		fprintf(stderr, "mfdrelay: signed in, but that can't be kept: %s\n", err.text);
	} else {
		printf("Signed in for upstream %s.\n", login->upstream->name);
		tell_daemon(login);
		login->status = 0;
	}
}

static int run(struct login *login)
{
	const struct device_login_fns fns = {show, on_done, login};
	struct err err = {"there is no event loop"};
	struct resolver *resolver =
	    login->base != NULL ? config_resolver(login->base, login->config, &err) : NULL;
	struct http *http = resolver != NULL ? http_new(login->base, resolver, &err) : NULL;

	if (http != NULL) {
		struct device_login *device =
		    device_login_new(login->base, http, login->upstream->oauth, &fns);
		event_base_dispatch(login->base);
		device_login_free(device);
	} else {
		fprintf(stderr, "mfdrelay: %s\n", err.text);
	}
	http_free(http);
	resolver_free(resolver);
	if (login->base != NULL)
		event_base_free(login->base);
	return login->status;
}

static const struct upstream_config *find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->upstream_count; i++) {
		const struct upstream_config *upstream = &config->upstreams[i];
		if (strcmp(upstream->name, name) != 0)
			continue;
		if (upstream->oauth != NULL && upstream->oauth->grant == GRANT_DEVICE_CODE)
			return upstream;
		fprintf(stderr,
		    "mfdrelay: upstream %s needs no sign-in: that is for oauth = { grant = \"device_code\"; "
		    "... }\n",
		    name);
		return NULL;
	}
	fprintf(stderr, "mfdrelay: there is no upstream \"%s\" in the config\n", name);
	return NULL;
}

/* Whether the token can be kept, before a person is troubled: whoever can read what is there, or that nothing is, can. */
static int become_writer(const struct config *config, const struct upstream_config *upstream)
{
	struct err err = {""};
	int status = 0;

	if (become_relay_user(config, &err) < 0)
		status = EX_NOPERM;
	else if (refresh_check(config->spool, upstream->name, &err) < 0)
		status = errno == ENOENT ? 1 : EX_NOPERM;
	if (status != 0)
		fprintf(stderr, "mfdrelay: %s\n", err.text);
	return status;
}

static int login_to(const struct config *config, const char *name)
{
	struct login login = {.config = config, .status = 1};
	int status;

	login.upstream = find(config, name);
	if (login.upstream == NULL)
		return EX_USAGE;
	status = become_writer(config, login.upstream);
	if (status != 0)
		return status;
	login.base = event_base_new();
	return run(&login);
}

int cmd_login(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "c+", usage, &options);

	if (status >= 0)
		return status;
	if (options.argc != 1) {
		fprintf(stderr, "mfdrelay: login needs the name of one UPSTREAM\n\n%s", usage);
		return EX_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	log_init("login");
	log_set_level(LOG_LEVEL_ERR);
	struct config *config = load_or_tell(options.file, NULL, &status);
	if (config != NULL)
		status = login_to(config, options.argv[0]);
	config_free(config);
	return status;
}
