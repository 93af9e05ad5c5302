#include "sender/credential.h"

#include <stddef.h>
#include <sys/stat.h>

#include "net/key.h"

static uint64_t mix(uint64_t stamp, uint64_t value)
{
	return (stamp ^ value) * UINT64_C(1099511628211);
}

/* A number that changes when the file is replaced or written, or its owner or mode changes. */
static uint64_t stamp_file(uint64_t stamp, const char *source)
{
	char path[4096];
	struct stat st;

	if (source == NULL || key_is_uri(source) || key_path(path, sizeof path, source, NULL) < 0)
		return stamp;
	if (stat(path, &st) < 0)
		return mix(stamp, 1);
	stamp = mix(mix(stamp, (uint64_t)st.st_ino), (uint64_t)st.st_size);
	return mix(mix(stamp, (uint64_t)st.st_ctim.tv_sec), (uint64_t)st.st_ctim.tv_nsec);
}

static uint64_t stamp_of(const struct app_credential *credential)
{
	uint64_t stamp = UINT64_C(14695981039346656037);

	stamp = stamp_file(stamp, credential->client_secret);
	stamp = stamp_file(stamp, credential->certificate);
	stamp = stamp_file(stamp, credential->key);
	return stamp_file(stamp, credential->federated_token);
}

/* The stamp is taken before the files are read: what is written after that is tried again. */
static const struct app_credential *current(struct credential_choice *choice)
{
	if (choice->on_next)
		return choice->oauth->next;
	choice->first_stamp = stamp_of(&choice->oauth->credential);
	return &choice->oauth->credential;
}

static struct failure *why_of_current(struct credential_choice *choice)
{
	return choice->on_next ? &choice->next_why : &choice->first_why;
}

const struct app_credential *credential_choose(struct credential_choice *choice)
{
	choice->turned = false;
	if (choice->first_again ||
	    (choice->on_next && stamp_of(&choice->oauth->credential) != choice->first_stamp))
		choice->on_next = false;
	choice->first_again = false;
	return current(choice);
}

const struct app_credential *credential_refused(struct credential_choice *choice, struct failure *why)
{
	bool was_turned = choice->turned;

	if (choice->oauth->next == NULL)
		return NULL;
	*why_of_current(choice) = *why;
	choice->on_next = !choice->on_next;
	choice->turned = !was_turned;
	if (!was_turned)
		return current(choice);
	*why = *why_of_current(choice);
	return NULL;
}

void credential_accepted(struct credential_choice *choice)
{
	why_of_current(choice)->cause = NULL;
}

void credential_try_first(struct credential_choice *choice)
{
	choice->first_again = true;
}

const struct failure *credential_first_refused(const struct credential_choice *choice)
{
	bool stands_in = choice->on_next && choice->next_why.cause == NULL;

	return stands_in && choice->first_why.cause != NULL ? &choice->first_why : NULL;
}

const char *credential_name(const struct credential_choice *choice)
{
	return choice->on_next ? "oauth.next" : "oauth";
}
