#include "sender/credential.h"

#include <stddef.h>
#include <sys/stat.h>

#include "net/key.h"

static uint64_t mix(uint64_t stamp, uint64_t value)
{
	return (stamp ^ value) * UINT64_C(1099511628211);
}

/* A number that changes when the file is replaced or written. */
static uint64_t stamp_file(uint64_t stamp, const char *source)
{
	char path[4096];
	struct stat st;

	if (source == NULL || key_is_uri(source) || key_path(path, sizeof path, source, NULL) < 0)
		return stamp;
	if (stat(path, &st) < 0)
		return mix(stamp, 1);
	stamp = mix(mix(stamp, (uint64_t)st.st_ino), (uint64_t)st.st_size);
	return mix(mix(stamp, (uint64_t)st.st_mtim.tv_sec), (uint64_t)st.st_mtim.tv_nsec);
}

static uint64_t stamp_of(const struct app_credential *credential)
{
	uint64_t stamp = UINT64_C(14695981039346656037);

	stamp = stamp_file(stamp, credential->client_secret);
	stamp = stamp_file(stamp, credential->certificate);
	stamp = stamp_file(stamp, credential->key);
	return stamp_file(stamp, credential->federated_token);
}

const struct app_credential *credential_choose(struct credential_choice *choice)
{
	if (choice->on_next && stamp_of(&choice->oauth->credential) != choice->refused_stamp)
		choice->on_next = false;
	return choice->on_next ? choice->oauth->next : &choice->oauth->credential;
}

const struct app_credential *credential_turn(struct credential_choice *choice)
{
	if (choice->oauth->next == NULL)
		return NULL;
	choice->on_next = !choice->on_next;
	if (choice->on_next)
		choice->refused_stamp = stamp_of(&choice->oauth->credential);
	return choice->on_next ? choice->oauth->next : &choice->oauth->credential;
}
