#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>

#include <crypt.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "smtp/sasl.h"

static const char usage[] =
    "usage: mfdrelay passwd [--generate]\n"
    "\n"
    "Make the hash of a device's password and print the line for its entry in devices. The password is asked "
    "for\n"
    "twice, or read as one line from standard input where that is no terminal.\n"
    "  --generate   make up a password that can be typed at any panel, and print it too\n";

#define PASSWORD_ROOM	 (SASL_PASSWORD_MAX + 2) /* its line's end, and NUL */
#define GENERATED_LENGTH 14

/* One case only, as panels make the other hard to reach, and of what looks alike (o 0, i l 1, s 5, z 2, b 6,
 * u v, g q 9) one at most. 14 of 25 are 65 bits. */
static const char alphabet[] = "abcdefghjkmnprstuwxyz3478";

/* Read a line without its end. Returns false, with nothing in line, at the end of input and where it is too
 * long. */
static bool read_line(char line[PASSWORD_ROOM])
{
	size_t n = 0;
	int c;

	while ((c = getchar()) != EOF && c != '\n')
		if (n < PASSWORD_ROOM - 1)
			line[n++] = (char)c;
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	if ((c == EOF && n == 0) || n > SASL_PASSWORD_MAX || strlen(line) != n) {
		explicit_bzero(line, PASSWORD_ROOM);
		return false;
	}
	return true;
}

static bool ask(const char *prompt, char line[PASSWORD_ROOM])
{
	struct termios old, quiet;
	bool is_terminal = tcgetattr(STDIN_FILENO, &old) == 0;

	if (!is_terminal)
		return read_line(line);
	fputs(prompt, stderr);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	bool result = read_line(line);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return result;
}

static int complain(const char *text)
{
	fprintf(stderr, "mfdrelay passwd: %s\n", text);
	return 1;
}

static int read_password(char password[PASSWORD_ROOM])
{
	char again[PASSWORD_ROOM] = "";
	bool is_same = true;

	if (!ask("Password: ", password))
		return complain("no password, or longer than 255 characters");
	if (password[0] == '\0')
		return complain("an empty password is none");
	if (isatty(STDIN_FILENO))
		is_same = ask("Again: ", again) && strcmp(password, again) == 0;
	explicit_bzero(again, sizeof again);
	return is_same ? 0 : complain("the two are not the same; try again");
}

/* Each letter as likely as any other: bytes beyond the last whole multiple of the alphabet are thrown away.
 */
static int generate(char password[PASSWORD_ROOM])
{
	const unsigned letters = sizeof alphabet - 1;
	size_t n = 0;
	unsigned char byte;

	while (n < GENERATED_LENGTH) {
		if (getrandom(&byte, 1, 0) != 1) {
			if (errno == EINTR)
				continue;
			return complain(strerror(errno));
		}
		if (byte < 256 / letters * letters)
			password[n++] = alphabet[byte % letters];
	}
	password[n] = '\0';
	return 0;
}

static int print_hash(const char *password)
{
	char *setting = crypt_gensalt_ra("$y$", 0, NULL, 0);
	void *room = NULL;
	int size = 0, result = 1;
	const char *hash = setting != NULL ? crypt_ra(password, setting, &room, &size) : NULL;

	if (hash != NULL) {
		printf("password = \"%s\";\n", hash);
		result = 0;
	} else {
		complain(strerror(errno));
	}
	if (room != NULL)
		explicit_bzero(room, (size_t)size);
	free(room);
	free(setting);
	return result;
}

static int make(bool is_generated)
{
	char password[PASSWORD_ROOM] = "";
	int result = is_generated ? generate(password) : read_password(password);

	if (result == 0 && is_generated)
		printf("# type this at the device: %s\n", password);
	if (result == 0)
		result = print_hash(password);
	explicit_bzero(password, sizeof password);
	return result;
}

int cmd_passwd(int argc, char **argv)
{
	struct options options;
	int status = options_parse(argc, argv, "g", usage, &options);

	return status >= 0 ? status : make(options.generate);
}
