#include "config/config.h"
#include "net/tls.h"
#include "sender/client.h"
#include "sender/token.h"

int client_settings_init(struct client_settings *settings, const struct client_means *means,
    const struct upstream_config *upstream, struct err *err)
{
	*settings = (struct client_settings){
	    .base = means->base,
	    .resolver = means->resolver,
	    .upstream = upstream,
	    .config = means->config,
	};
	if (upstream->tls != UPSTREAM_TLS_NONE) {
		settings->tls = tls_client_context(upstream->ca, err);
		if (settings->tls == NULL)
			return -1;
		if (upstream->certificate != NULL &&
		    tls_show_certificate(settings->tls, upstream->certificate, upstream->key, err) < 0)
			return -1;
	}
	if (upstream->oauth != NULL) {
		const struct token_setup setup = {.base = means->base,
		    .http = means->http,
		    .oauth = upstream->oauth,
		    .upstream_name = upstream->name,
		    .spool = means->config->spool,
		    .counters = means->counters};
		settings->tokens = token_source_new(&setup);
		token_cap_wait(settings->tokens, means->config->retry.max_ms);
	}
	return 0;
}

void client_settings_free(struct client_settings *settings)
{
	token_source_free(settings->tokens);
	SSL_CTX_free(settings->tls);
	*settings = (struct client_settings){.base = NULL};
}
