#include "config/check_proxy.h"

#include <stdio.h>

#include "config/files.h"
#include "config/source.h"
#include "net/proxy.h"

static const config_setting_t *at(const struct source *source, const struct proxy_keys *keys, const char *key)
{
	return source_at(source, "%s.%s", keys->path, key);
}

static void check_place(const struct source *source, const struct proxy_keys *keys)
{
	struct proxy_place place;

	if (keys->proxy == NULL)
		return;
	if (!proxy_parse(keys->proxy, &place))
		source_error(source, at(source, keys, "proxy"),
		    "%s.proxy = \"%.64s\": no proxy; write it as \"http://proxy.contoso.local:3128\"%s",
		    keys->name, keys->proxy, keys->takes_socks ? ", or with socks5://" : "");
	else if (place.kind == PROXY_SOCKS5 && !keys->takes_socks)
		source_error(source, at(source, keys, "proxy"),
		    "%s.proxy: the login host is reached by an HTTP proxy only; write http://", keys->name);
}

void check_proxy(const struct source *source, const struct proxy_keys *keys, const struct reader *reader)
{
	const char *login = keys->user != NULL ? "proxy_user" : "proxy_password";
	char name[96];

	check_place(source, keys);
	if (keys->proxy == NULL && (keys->user != NULL || keys->password != NULL))
		source_error(source, at(source, keys, login), "%s.%s needs proxy; add it", keys->name, login);
	else if ((keys->user == NULL) != (keys->password == NULL))
		source_error(source, at(source, keys, login),
		    "%s: proxy_user and proxy_password go together; add the other", keys->name);
	snprintf(name, sizeof name, "%s.proxy_password", keys->name);
	check_secret(source, at(source, keys, "proxy_password"), name, keys->password, reader);
}
