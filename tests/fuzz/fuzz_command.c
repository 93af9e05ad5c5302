/* A command line of a device, read as MAIL and as RCPT: what comes out can be written into a line of SMTP,
 * and is read as the same address there. */
#include <strings.h>

#include "check_address.h"
#include "smtp/command.h"

#define RECIPIENTS 8

static void check_rcpt(const struct address *address)
{
	char line[ADDRESS_MAX + 8];
	struct address again;
	size_t count;

	PROMISE(address_domain(address)[0] != '\0' || strcasecmp(address->text, "postmaster") == 0);
	snprintf(line, sizeof line, "TO:<%s>", address->text);
	PROMISE(command_rcpt(str_of(line), &again, 1, &count) == ARGS_OK && count == 1);
	PROMISE(strcmp(again.text, address->text) == 0 && again.at == address->at);
}

static void check_mail(const struct mail_args *mail)
{
	char line[ADDRESS_MAX + 48];
	struct mail_args again;

	snprintf(line, sizeof line, "FROM:<%s> SIZE=%llu", mail->sender.text, (unsigned long long)mail->size);
	PROMISE(command_mail(str_of(line), &again) == ARGS_OK);
	PROMISE(again.has_size && again.size == mail->size);
	/* "'a'" and "\"a@b\"" without a domain are once more quotes around an address. */
	if (address_domain(&mail->sender)[0] != '\0')
		PROMISE(strcmp(again.sender.text, mail->sender.text) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct command command = command_split((struct str){(const char *)bytes, n});
	struct address recipients[RECIPIENTS];
	struct mail_args mail;
	size_t count;

	PROMISE(memchr(command.verb.p, ' ', command.verb.n) == NULL);
	PROMISE(command.verb.n + command.args.n <= n);
	if (command_mail(command.args, &mail) == ARGS_OK) {
		PROMISE(mail.has_size || mail.size == 0);
		if (mail.sender.text[0] != '\0')
			check_address(&mail.sender);
		check_mail(&mail);
	}
	if (command_rcpt(command.args, recipients, RECIPIENTS, &count) == ARGS_OK) {
		PROMISE(count > 0 && count <= RECIPIENTS);
		for (size_t i = 0; i < count; i++) {
			check_address(&recipients[i]);
			check_rcpt(&recipients[i]);
		}
	}
	return 0;
}
