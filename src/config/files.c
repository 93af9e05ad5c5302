#include "config/files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/clock.h"
#include "base/privileges.h"
#include "base/secret.h"
#include "config/config.h"
#include "config/problems.h"
#include "config/source.h"
#include "net/key.h"
#include "net/tls.h"

#define PATH_ROOM     4096
#define TRIAL_S	      5
#define CANNOT_TRY    255 /* no errno has this number */
#define PEM_FILE_MAX  (8 * 1024 * 1024)
#define EXPIRY_WARN_S (14 * DAY_S)

struct reader reader_of(const struct config *config)
{
	struct reader reader = {.is_other = false, .name = config->user, .uid = geteuid(), .gid = getegid()};
	const struct passwd *entry = config->user != NULL ? getpwnam(config->user) : NULL;

	if (entry == NULL || entry->pw_uid == 0)
		return reader;
	reader.is_other = geteuid() == 0;
	reader.uid = entry->pw_uid;
	reader.gid = entry->pw_gid;
	return reader;
}

/* 0, or the errno of opening path. */
static int try_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* 0, or the errno of looking at what is in the folder path. */
static int try_enter(const char *path)
{
	return chdir(path) == 0 ? 0 : errno;
}

static void give_up_becoming(int number)
{
	(void)number;
	_exit(CANNOT_TRY);
}

/* For a child: become the reader, the way a worker does; where that cannot be, or takes longer than TRIAL_S (the groups may come
 * from a directory that is away), it ends with CANNOT_TRY. From then on it has TRIAL_S for what it is to try. */
static void become_reader(const struct reader *reader)
{
	signal(SIGALRM, give_up_becoming);
	alarm(TRIAL_S);
	if (reader->is_other && privileges_become(reader->uid, reader->gid) < 0)
		_exit(CANNOT_TRY);
	signal(SIGALRM, SIG_DFL);
	alarm(TRIAL_S);
}

/* Only the kernel knows what a user may do (folders on the way, ACLs): ask it, in a child that becomes that user. Returns what
 * try(path) does there; 0 where that cannot be found out. */
static int try_as(const struct reader *reader, int (*try)(const char *path), const char *path)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		return 0;
	if (child == 0) {
		become_reader(reader);
		_exit(try(path));
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return WIFEXITED(status) && WEXITSTATUS(status) != CANNOT_TRY ? WEXITSTATUS(status) : 0;
}

const char *reader_group(const struct reader *reader, char number[READER_GROUP_ROOM])
{
	const struct group *group = getgrgid(reader->gid);

	snprintf(number, READER_GROUP_ROOM, "%u", (unsigned)reader->gid);
	return group != NULL ? group->gr_name : number;
}

int reader_try(const struct reader *reader, const char *path)
{
	return reader->is_other ? try_as(reader, try_open, path) : try_open(path);
}

/* Whether the workers will be able to open path; else says so, with the remedy. */
static bool can_open(const struct source *source, const config_setting_t *at, const char *key,
    const char *path, const struct reader *reader)
{
	char number[READER_GROUP_ROOM];
	int error = try_open(path);

	if (error == 0 && reader->is_other) {
		error = try_as(reader, try_open, path);
		if (error != 0)
			source_error(source, at,
			    "%s: user %s cannot read %s: %s; let its group read it: chgrp %s %s && chmod g+r "
			    "%s, and let it enter the folders on the way",
			    key, reader->name, path, strerror(error), reader_group(reader, number), path,
			    path);
	} else if (error == ENOENT) {
		source_error(source, at, "%s: %s: %s; correct the path", key, path, strerror(error));
	} else if (error != 0) {
		source_error(source, at,
		    "%s: %s cannot be read by this user: %s; correct the path, or give this user the right",
		    key, path, strerror(error));
	}
	return error == 0;
}

static void check_secret_file(const struct source *source, const config_setting_t *at, const char *key,
    const char *path, const struct reader *reader)
{
	struct stat st;

	if (stat(path, &st) < 0)
		source_error(source, at,
		    "%s: %s: %s; put the secret's value into this file, or correct the path", key, path,
		    strerror(errno));
	else if (!S_ISREG(st.st_mode))
		source_error(source, at,
		    "%s: %s is not a plain file; put the secret's value into a file of its own", key, path);
	else if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		source_error(
		    source, at, "%s: others can read or change %s; run: chmod o= %s", key, path, path);
	else if (st.st_size == 0)
		source_error(source, at, "%s: %s is empty; put the secret's value into it", key, path);
	else if (st.st_size > SECRET_MAX)
		source_error(source, at, "%s: %s is larger than %d bytes, not a secret; correct the path",
		    key, path, SECRET_MAX);
	else
		can_open(source, at, key, path, reader);
}

void check_secret(const struct source *source, const config_setting_t *at, const char *key, const char *value,
    const struct reader *reader)
{
	char path[PATH_ROOM];
	struct err err = {""};

	if (value == NULL)
		return;
	if (secret_path(path, sizeof path, value, &err) == 0)
		check_secret_file(source, at, key, path, reader);
	else if (strncmp(value, "credential:", 11) == 0 && getenv("CREDENTIALS_DIRECTORY") == NULL)
		/* systemd hands it to the service, not to whoever runs `check`. */
		source_warn(source, at, "%s: %s", key, err.text);
	else
		source_error(source, at, "%s: %s", key, err.text);
}

/* How many certificates a PEM file holds; -1 when one of them cannot be parsed. */
static int count_certificates(const char *path)
{
	BIO *bio = BIO_new_file(path, "r");
	X509 *certificate;
	int n = 0;

	if (bio == NULL)
		return 0;
	while ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		X509_free(certificate);
		n++;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		n = -1;
	ERR_clear_error();
	BIO_free(bio);
	return n;
}

void check_ca(const struct source *source, const config_setting_t *at, const char *key, const char *path,
    const struct reader *reader)
{
	struct stat st;

	if (path == NULL)
		return;
	if (path[0] != '/') {
		source_error(source, at, "%s = \"%s\": give the whole path, from / on", key, path);
		return;
	}
	if (stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_size > PEM_FILE_MAX)) {
		source_error(
		    source, at, "%s: %s is not a plain file of certificates; name a PEM file", key, path);
		return;
	}
	if (!can_open(source, at, key, path, reader))
		return;
	int n = count_certificates(path);
	if (n < 0)
		source_error(source, at,
		    "%s: a certificate in %s cannot be parsed; export it again in PEM form", key, path);
	else if (n == 0)
		source_error(source, at,
		    "%s: no certificate in %s; it takes PEM form (-----BEGIN CERTIFICATE-----)", key, path);
}

/* What a trial tries: whoever is going to read a pair loads it as a worker does, and says what is wrong in err. */
typedef void trial_fn(const char *certificate, const char *key, struct err *err);

static void try_listener_pair(const char *certificate, const char *key, struct err *err)
{
	SSL_CTX_free(tls_server_context(certificate, key, err));
}

static void try_signing(const char *certificate, const char *key, bool pss, struct err *err)
{
	unsigned char signature[KEY_SIGNATURE_MAX];
	struct key_pair pair;
	size_t n;

	if (key_pair_load(&pair, certificate, key, err) == 0)
		key_pair_sign(&pair, pss, str_of("test"), signature, &n, err);
	key_pair_free(&pair);
}

static void try_client_pair(const char *certificate, const char *key, struct err *err)
{
	SSL_CTX *ctx = tls_client_context(certificate, err);

	if (ctx != NULL)
		tls_show_certificate(ctx, certificate, key, err);
	SSL_CTX_free(ctx);
}

static void try_pss_pair(const char *certificate, const char *key, struct err *err)
{
	try_signing(certificate, key, true, err);
}

static void try_pkcs1_pair(const char *certificate, const char *key, struct err *err)
{
	try_signing(certificate, key, false, err);
}

/* In a child that has become the reader: what is wrong is written to fd. */
static void run_trial(
    trial_fn *trial, const struct reader *reader, const char *certificate, const char *key, int fd)
{
	struct err err = {""};

	become_reader(reader);
	trial(certificate, key, &err);
	if (err.text[0] != '\0' && write(fd, err.text, strlen(err.text)) < 0)
		return;
}

/* The key's contents are nothing for this process, which may be the supervisor, and must not wait for hardware for ever.
 * Returns false with err when the trial found something wrong. */
static bool try_pair(
    trial_fn *trial, const struct reader *reader, const char *certificate, const char *key, struct err *err)
{
	size_t n = 0;
	ssize_t got;
	int fds[2], status = 0;

	err->text[0] = '\0';
	if (pipe2(fds, O_CLOEXEC) < 0)
		return true;
	pid_t child = fork();
	if (child == 0) {
		run_trial(trial, reader, certificate, key, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	while (child > 0 && (got = read(fds[0], err->text + n, sizeof err->text - 1 - n)) > 0)
		n += (size_t)got;
	err->text[n] = '\0';
	close(fds[0]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		n = err_set(err, "%.300s gave no answer within %d s; look at the hardware it is in", key,
			TRIAL_S) != 0;
	return n == 0;
}

/* The first certificate of the file path; the caller frees it. NULL: there is none, which is told elsewhere. Why stands in OpenSSL's
 * list of errors. */
static X509 *read_certificate(const char *path)
{
	BIO *bio = BIO_new_file(path, "r");
	X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return certificate;
}

/* A renewal that has failed shows early. */
static void check_dates(
    const struct source *source, const config_setting_t *at, const char *name, const char *path)
{
	X509 *certificate = read_certificate(path);
	time_t soon = time(NULL) + EXPIRY_WARN_S;

	if (certificate != NULL && X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		source_warn(source, at, "%s: %s has expired; renew it, then reload", name, path);
	else if (certificate != NULL && X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0)
		source_warn(source, at, "%s: %s expires within %d days; renew it, then reload", name, path,
		    EXPIRY_WARN_S / DAY_S);
	ERR_clear_error();
	X509_free(certificate);
}

void check_rsa(const struct source *source, const config_setting_t *at, const char *name, const char *path)
{
	X509 *certificate = path != NULL ? read_certificate(path) : NULL;

	if (certificate != NULL && !EVP_PKEY_is_a(X509_get0_pubkey(certificate), "RSA"))
		source_warn(source, at,
		    "%s: %s has no RSA key, and many devices know no other; add one with an RSA key, and "
		    "name "
		    "this one as ecdsa_certificate",
		    name, path);
	ERR_clear_error();
	X509_free(certificate);
}

static bool check_key_file(
    const struct source *source, const config_setting_t *at, const char *name, const char *path)
{
	struct stat st;

	if (path[0] != '/')
		source_error(source, at, "%s = \"%s\": give the whole path, from / on", name, path);
	else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		source_error(source, at, "%s: %s is not a plain file; name a PEM file", name, path);
	else if (stat(path, &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		source_error(
		    source, at, "%s: others can read or change %s; run: chmod o= %s", name, path, path);
	else
		return true;
	return false;
}

/* Both or none. Returns whether there is a pair. */
static bool is_whole_pair(
    const struct source *source, const struct pair_place *place, const char *certificate, const char *key)
{
	if ((certificate == NULL) == (key == NULL))
		return certificate != NULL;
	source_error(source, certificate != NULL ? place->certificate_at : place->key_at,
	    "%s needs %s too; add it", certificate != NULL ? place->certificate_key : place->key_key,
	    certificate != NULL ? place->key_key : place->certificate_key);
	return false;
}

/* Whether the key can be tried: its file is there, or it has none. */
static bool check_key_source(
    const struct source *source, const struct pair_place *place, const char *key, const struct reader *reader)
{
	char path[PATH_ROOM];
	struct err err;

	if (key_is_uri(key))
		return true;
	if (strncmp(key, "credential:", 11) == 0 && getenv("CREDENTIALS_DIRECTORY") == NULL) {
		/* systemd hands it to the service, not to whoever runs `check`. */
		secret_path(path, sizeof path, key, &err);
		source_warn(source, place->key_at, "%s: %s", place->key_key, err.text);
		return false;
	}
	if (key[0] != '/' && strchr(key, ':') == NULL) {
		source_error(source, place->key_at, "%s = \"%.64s\": give the whole path, from / on",
		    place->key_key, key);
		return false;
	}
	if (key_path(path, sizeof path, key, &err) < 0) {
		source_error(source, place->key_at, "%s: %s", place->key_key, err.text);
		return false;
	}
	return check_key_file(source, place->key_at, place->key_key, path) &&
	       can_open(source, place->key_at, place->key_key, path, reader);
}

/* Returns whether there is a pair that can be used. */
static bool check_pair(const struct source *source, const struct pair_place *place, const char *certificate,
    const char *key, const struct reader *reader, trial_fn *trial)
{
	size_t errors = source->problems->errors;
	struct err err;

	if (!is_whole_pair(source, place, certificate, key))
		return false;
	check_ca(source, place->certificate_at, place->certificate_key, certificate, reader);
	if (source->problems->errors > errors || !check_key_source(source, place, key, reader))
		return false;
	if (try_pair(trial, reader, certificate, key, &err))
		return true;
	source_error(source, place->key_at, "%s: %s", place->key_key, err.text);
	return false;
}

void check_signing_pair(const struct source *source, const struct pair_place *place, const char *certificate,
    const char *key, enum assertion_alg alg, const struct reader *reader)
{
	check_pair(
	    source, place, certificate, key, reader, alg == ASSERTION_PS256 ? try_pss_pair : try_pkcs1_pair);
}

/* The verification's error for the certificates of a PEM file, the first of them by the others. */
static int verify_chain(const char *path)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *others = sk_X509_new_null();
	BIO *bio = BIO_new_file(path, "r");
	X509 *first = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	X509 *next;
	int result = X509_V_OK;

	while (first != NULL && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		sk_X509_push(others, next);
	if (first != NULL && X509_STORE_set_default_paths(store) == 1 &&
	    X509_STORE_CTX_init(ctx, store, first, others) == 1 && X509_verify_cert(ctx) != 1)
		result = X509_STORE_CTX_get_error(ctx);
	ERR_clear_error();
	X509_STORE_CTX_free(ctx);
	sk_X509_pop_free(others, X509_free);
	X509_STORE_free(store);
	X509_free(first);
	BIO_free(bio);
	return result;
}

static void check_chain(const struct source *source, const struct pair_place *place, const char *certificate)
{
	int error = verify_chain(certificate);

	if (error == X509_V_OK || error == X509_V_ERR_CERT_HAS_EXPIRED ||
	    error == X509_V_ERR_CERT_NOT_YET_VALID)
		return;
	source_warn(source, place->certificate_at,
	    "%s: the certificates in %s do not lead to a CA that this system trusts (%s); Microsoft takes "
	    "those of "
	    "public CAs only, with the whole chain: append the CA's intermediate certificates",
	    place->certificate_key, certificate, X509_verify_cert_error_string(error));
}

/* A pair for TLS, whose key is a file. Returns whether it can be used. */
static bool check_tls_pair(const struct source *source, const struct pair_place *place,
    const char *certificate, const char *key, const struct reader *reader, trial_fn *trial)
{
	if (key != NULL && key_is_uri(key)) {
		source_error(source, place->key_at, "%s: a key for TLS is a file; name it by its path",
		    place->key_key);
		return false;
	}
	if (!check_pair(source, place, certificate, key, reader, trial))
		return false;
	check_dates(source, place->certificate_at, place->certificate_key, certificate);
	return true;
}

void check_certificate(const struct source *source, const char *certificate_key, const char *certificate,
    const char *key_key, const char *key, const struct reader *reader)
{
	const struct pair_place place = {.certificate_at = source_at(source, "%s", certificate_key),
	    .key_at = source_at(source, "%s", key_key),
	    .certificate_key = certificate_key,
	    .key_key = key_key};

	check_tls_pair(source, &place, certificate, key, reader, try_listener_pair);
}

void check_client_pair(const struct source *source, const struct pair_place *place, const char *certificate,
    const char *key, const struct reader *reader)
{
	if (check_tls_pair(source, place, certificate, key, reader, try_client_pair))
		check_chain(source, place, certificate);
}

static bool copy_parent(char *dst, size_t size, const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	while (n > 1 && path[n - 1] == '/')
		n--;
	return n > 0 && str_copy(dst, size, (struct str){path, n});
}

void check_spool_folder(
    const struct source *source, const config_setting_t *at, const char *path, const struct reader *reader)
{
	char parent[PATH_ROOM];
	struct stat st;

	if (!copy_parent(parent, sizeof parent, path))
		return;
	if (stat(parent, &st) < 0) {
		source_error(source, at, "spool: %s: %s; make that folder first, or correct the path", parent,
		    strerror(errno));
		return;
	}
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
		source_error(source, at, "spool: %s is not a folder; correct the path", path);
		return;
	}
	int error = reader->is_other ? try_as(reader, try_enter, parent) : 0;
	if (error != 0)
		source_error(source, at,
		    "spool: user %s cannot enter %s: %s; let it (chmod o+x %s), or choose another place",
		    reader->name, parent, strerror(error), parent);
}
