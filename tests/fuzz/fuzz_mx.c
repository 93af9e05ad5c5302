/* The answer of a name server about the mail hosts of a domain. */
#include <string.h>

#include "fuzz.h"
#include "net/mx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mx_list list;

	if (!mx_parse(data, size, &list))
		return 0;
	PROMISE(list.n <= MX_HOSTS_MAX && list.ttl_s <= 7 * 86400);
	for (size_t i = 0; i < list.n; i++) {
		PROMISE(strnlen(list.hosts[i].name, sizeof list.hosts[i].name) <= MX_NAME_MAX);
		PROMISE(i == 0 || list.hosts[i - 1].preference <= list.hosts[i].preference);
	}
	return 0;
}
