/* Checks of the files that the config names: looked at, opened, but no secret is read. */
#ifndef MFDRELAY_CONFIG_FILES_H
#define MFDRELAY_CONFIG_FILES_H

#include <libconfig.h>
#include <stdbool.h>
#include <sys/types.h>
#include "config/config.h"

struct source;

/* Who is going to read them: the config's user where there is one of that name, else ourselves. */
struct reader {
	bool is_other;		/* we are root, and it is not: what it may do can be tried */
	const char *name;	/* as the config has it, and borrowed from there; NULL: it has none */
	uid_t uid;
	gid_t gid;
};

struct reader reader_of(const struct config *config);

/* 0, or the errno that the reader meets who opens path. */
int reader_try(const struct reader *reader, const char *path);

/* The reader's group, by name where it has one; number is room for that of one without. */
#define READER_GROUP_ROOM 16
const char *reader_group(const struct reader *reader, char number[READER_GROUP_ROOM]);

/* Note, at the setting at, what is wrong with the secret that value names ("file:PATH", "credential:NAME"), or with the
 * PEM file of CA certificates at path. key is what the message calls it. NULL for value or path is fine. */
void check_secret(const struct source *source, const config_setting_t *at, const char *key, const char *value,
    const struct reader *reader);
void check_ca(const struct source *source, const config_setting_t *at, const char *key, const char *path,
    const struct reader *reader);

/* Note what is wrong with a listener's certificate and its key, given by their keys in the config, the key as net/key.h takes that
 * of a file (NULL is fine; both or none): whoever is going to read them loads them as a listener does, in a process of its own. */
void check_certificate(const struct source *source, const char *certificate_key, const char *certificate, const char *key_key,
    const char *key, const struct reader *reader);

/* Warn where the certificate in the file path (NULL is fine) has another key than RSA; one that cannot be read is for
 * check_certificate to tell. */
void check_rsa(const struct source *source, const config_setting_t *at, const char *key, const char *path);

/* Where a certificate and its key stand in the config, and what messages call them. */
struct pair_place {
	const config_setting_t *certificate_at, *key_at;
	const char *certificate_key, *key_key;
};

/* The same for a pair that the relay proves itself by to Microsoft's login host: key as net/key.h takes it. It signs once. */
void check_signing_pair(const struct source *source, const struct pair_place *place, const char *certificate, const char *key,
    enum assertion_alg alg, const struct reader *reader);

/* The same for a pair that the relay shows to a server in the TLS handshake, key a file. Warns where the certificates do not
 * lead to a CA that this system trusts: Microsoft wants the whole chain, of a public CA. */
void check_client_pair(const struct source *source, const struct pair_place *place, const char *certificate, const char *key,
    const struct reader *reader);

/* Note whether the spool at path can be made or used by whoever is going to: its folder must exist, and be one that reader can
 * enter. */
void check_spool_folder(const struct source *source, const config_setting_t *at, const char *path, const struct reader *reader);

#endif
