#include "device.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "options.h"
#include "text.h"

#define PENDING	 70016
#define DECLINED 70017
#define BAD_CODE 70018
#define EXPIRED	 70019
#define REVOKED	 50173
#define CODE_N	 40

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char current[CODE_N + 1]; /* the last code given out */

static FILE *open_file(const struct options *options, const char *name, const char *mode)
{
	char *folder = text_format("%s/app", options->dir), *path = text_format("%s/%s", folder, name);
	FILE *file;

	mkdir(folder, 0755);
	file = fopen(path, mode);
	free(folder);
	free(path);
	return file;
}

/* The first word of a file, or fallback. */
static void read_word(const struct options *options, const char *name, char *dst, const char *fallback)
{
	FILE *file = open_file(options, name, "r");

	if (!file || fscanf(file, "%31s", dst) != 1)
		snprintf(dst, 32, "%s", fallback);
	if (file)
		fclose(file);
}

char *device_code(const struct options *options)
{
	char interval[32], user_code[10], code[CODE_N + 1];

	read_word(options, "interval", interval, "5");
	text_random_hex(user_code, 9);
	text_random_hex(code, CODE_N);
	pthread_mutex_lock(&lock);
	memcpy(current, code, sizeof(current));
	pthread_mutex_unlock(&lock);
	return text_format(
	    "{\"user_code\":\"%s\",\"device_code\":\"%s\",\"verification_uri\":"
	    "\"https://microsoft.com/devicelogin\",\"expires_in\":900,\"interval\":%ld,\"message\":"
	    "\"To sign in, use a web browser to open the page https://microsoft.com/devicelogin and "
	    "enter the code %s to authenticate.\"}",
	    user_code, code, strtol(interval, NULL, 10), user_code);
}

long device_poll(const struct options *options, const char *code)
{
	char word[32];
	bool known;

	pthread_mutex_lock(&lock);
	known = !strcmp(code, current);
	pthread_mutex_unlock(&lock);
	if (!known)
		return BAD_CODE;
	read_word(options, "sign-in", word, "pending");
	return !strcmp(word, "approved")   ? 0
	       : !strcmp(word, "declined") ? DECLINED
	       : !strcmp(word, "expired")  ? EXPIRED
					   : PENDING;
}

char *device_issue_refresh(const struct options *options)
{
	FILE *file = open_file(options, "refresh-tokens", "a");
	char random[61], *token;

	text_random_hex(random, 60);
	token = text_format("0.AX.%s", random);
	if (file) {
		fprintf(file, "%s\n", token);
		fclose(file);
	}
	return token;
}

long device_check_refresh(const struct options *options, const char *token)
{
	FILE *file = open_file(options, "refresh-tokens", "r");
	char line[256];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		found = !strcmp(line, token);
	}
	if (file)
		fclose(file);
	return found ? 0 : REVOKED;
}
