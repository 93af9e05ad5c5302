#include "config/check_identity.h"

#include <stdio.h>
#include <string.h>

#include "base/charset.h"
#include "config/check_pattern.h"
#include "config/config.h"
#include "config/source.h"
#include "config/values.h"

static const config_setting_t *at(
    const struct source *source, const char *list, size_t index, const char *key)
{
	return source_at(source, "%s.[%zu].%s", list, index, key);
}

static void check_address(
    const struct source *source, const char *list, size_t index, const struct identity_config *identity)
{
	if (identity->address == NULL && identity->rule != SENDER_KEEP)
		source_error(source, at(source, list, index, "sender"),
		    "%s.sender = \"%s\" needs an address to send as; add sender_address = "
		    "\"scanner@contoso.com\";",
		    list, sender_rule_names[identity->rule - SENDER_KEEP]);
	else if (identity->address != NULL && !value_is_mail_address(identity->address))
		source_error(source, at(source, list, index, "sender_address"),
		    "%s.sender_address = \"%.64s\": no mail address; write it as \"scanner@contoso.com\"",
		    list, identity->address);
}

static void check_send_as(
    const struct source *source, const char *list, size_t index, const struct identity_config *identity)
{
	char key[40];

	snprintf(key, sizeof key, "%s.send_as", list);
	for (size_t i = 0; i < identity->send_as_count; i++)
		check_pattern(source, at(source, list, index, "send_as"), key, identity->send_as[i]);
	if (identity->send_as_count > 0 && identity->rule != SENDER_MAP)
		source_warn(source, at(source, list, index, "send_as"),
		    "%s has no effect with sender = \"%s\"; set sender = \"map\", or remove it", key,
		    sender_rule_names[identity->rule - SENDER_KEEP]);
}

static void check_display_name(const struct source *source, const char *list, size_t index, const char *name)
{
	while (name != NULL && (name = strpbrk(name, "{}")) != NULL) {
		if (strncmp(name, "{device}", 8) != 0) {
			source_error(source, at(source, list, index, "display_name"),
			    "%s.display_name: \"{device}\" is all that may stand in braces; remove the "
			    "others",
			    list);
			return;
		}
		name += 8;
	}
}

void check_identity(
    const struct source *source, const char *list, size_t index, const struct identity_config *identity)
{
	/* Loaded in vain, which has been said already. */
	if (identity->rule == SENDER_UNSET)
		return;
	check_address(source, list, index, identity);
	check_send_as(source, list, index, identity);
	check_display_name(source, list, index, identity->display_name);
}

void check_charset(const struct source *source, const char *path, const char *charset)
{
	if (charset != NULL && !charset_is_known(charset))
		source_error(source, source_at(source, "%s", path),
		    "charset = \"%.60s\": this system has no such character set; iconv -l lists those it has",
		    charset);
}
