#include "cli/check_online.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/log.h"
#include "cli/become.h"
#include "cli/findings_print.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "config/config.h"
#include "net/conn.h"
#include "net/http.h"
#include "net/resolver.h"
#include "online/findings.h"
#include "online/probe.h"
#include "online/senders.h"
#include "sender/client.h"
#include "sender/config_resolver.h"

static bool is_wanted(const struct upstream_config *upstream, const struct options *options)
{
	return options->argc == 0 || strcmp(upstream->name, options->argv[0]) == 0;
}

static bool has_wanted(const struct config *config, const struct options *options)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (is_wanted(&config->upstreams[i], options))
			return true;
	fprintf(stderr, "mfdrelay: there is no upstream \"%s\"; the config has:", options->argv[0]);
	for (size_t i = 0; i < config->upstream_count; i++)
		fprintf(stderr, " %s", config->upstreams[i].name);
	fputc('\n', stderr);
	return false;
}

struct trial {
	const struct client_means *means;
	const struct options *options;
	json_t *objects; /* NULL: print */
	bool all_good;
};

/* Each is printed as soon as it is known, or kept for the one object. */
static void try_one(struct trial *trial, const struct upstream_config *upstream, const char *mailbox)
{
	const struct options *options = trial->options;
	const struct config *config = trial->means->config;
	struct senders senders = {.addresses = {options->from}, .count = 1};
	struct findings findings;

	if (options->from == NULL)
		senders_of(config, upstream, mailbox, &senders);
	const struct probe probe = {
	    .means = trial->means,
	    .upstream = upstream,
	    .mailbox = mailbox,
	    .senders = &senders,
	    .recipient = options->to != NULL ? options->to : config->report_to,
	};
	probe_run(&probe, &findings);
	trial->all_good = trial->all_good && findings_good(&findings);
	if (trial->objects != NULL)
		json_array_append_new(trial->objects, findings_json(&findings));
	else
		findings_print(&findings);
	fflush(stdout);
	findings_free(&findings);
}

/* Mailboxes that share an upstream's load have rights, and troubles, of their own. */
static void try_each(struct trial *trial)
{
	const struct config *config = trial->means->config;

	for (size_t i = 0; i < config->upstream_count; i++) {
		const struct upstream_config *upstream = &config->upstreams[i];
		if (!is_wanted(upstream, trial->options))
			continue;
		if (upstream->mailbox_count == 0)
			try_one(trial, upstream, NULL);
		for (size_t j = 0; j < upstream->mailbox_count; j++)
			try_one(trial, upstream, upstream->mailboxes[j]);
	}
}

static int try_all(const struct client_means *means, const struct options *options)
{
	struct trial trial = {.means = means,
	    .options = options,
	    .objects = options->json ? json_array() : NULL,
	    .all_good = true};
	char now[40];

	try_each(&trial);
	if (trial.objects != NULL) {
		json_t *all = json_pack("{s:b, s:s, s:s, s:o}", "ok", trial.all_good, "version",
		    MFDRELAY_VERSION, "checked", clock_rfc3339(now, sizeof now, clock_wall_ms()), "upstreams",
		    trial.objects);
		terminal_json(all);
		json_decref(all);
	}
	return trial.all_good ? 0 : 1;
}

static int run(const struct config *config, const struct options *options)
{
	struct err err = {"there is no event loop"};
	struct client_means means = {.base = event_base_new(), .counters = counters_new(), .config = config};
	int status = 1;

	if (means.base != NULL && means.counters != NULL)
		means.resolver = config_resolver(means.base, config, &err);
	if (means.resolver != NULL)
		means.http = http_new(means.base, means.resolver, &err);
	if (means.http != NULL)
		status = try_all(&means, options);
	else
		fprintf(stderr, "mfdrelay: %s\n", err.text);
	http_free(means.http);
	resolver_free(means.resolver);
	conn_drop_finishing();
	if (means.base != NULL)
		event_base_free(means.base);
	return status;
}

int check_online(const struct config *config, const struct options *options)
{
	struct err err = {""};

	if (!has_wanted(config, options))
		return EX_USAGE;
	if (become_relay_user(config, &err) < 0) {
		fprintf(stderr, "mfdrelay: %s\n", err.text);
		return EX_NOPERM;
	}
	signal(SIGPIPE, SIG_IGN);
	log_init("check");
	/* The findings say it all, in better words. */
	log_set_level(options->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERR);
	return run(config, options);
}
