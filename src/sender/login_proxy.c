#include "sender/login_proxy.h"

#include "config/config.h"

int login_proxy_load(struct login_proxy *out, const struct oauth_config *oauth, struct err *err)
{
	*out = (struct login_proxy){.password = {NULL, 0}};
	if (oauth->proxy == NULL || !proxy_parse(oauth->proxy, &out->place))
		return 0;
	if (oauth->proxy_password != NULL && secret_read(&out->password, oauth->proxy_password, err) < 0)
		return -1;
	out->http = (struct http_proxy){.host = out->place.host, .port = out->place.port};
	if (oauth->proxy_password != NULL) {
		out->http.user = oauth->proxy_user;
		out->http.password = &out->password;
	}
	return 0;
}

const struct http_proxy *login_proxy_http(const struct login_proxy *proxy)
{
	return proxy->http.host != NULL ? &proxy->http : NULL;
}

void login_proxy_free(struct login_proxy *proxy)
{
	secret_free(&proxy->password);
}
