/* What smtp/address.h promises of every address that any of the parsers lets through. */
#ifndef MFDRELAY_TESTS_CHECK_ADDRESS_H
#define MFDRELAY_TESTS_CHECK_ADDRESS_H

#include <string.h>

#include "fuzz.h"
#include "smtp/address.h"

static inline void check_address(const struct address *address)
{
	size_t n = strnlen(address->text, sizeof address->text);
	struct address again;

	PROMISE(n > 0 && n <= ADDRESS_MAX);
	PROMISE(address->at == n || address->text[address->at] == '@');
	for (size_t i = 0; i < n; i++) {
		char c = address->text[i];
		PROMISE(c >= ' ' && c <= '~');
		if (address->text[0] != '"' || i > address->at)
			PROMISE(strchr(" <>\"\\,;()", c) == NULL);
	}
	if (address->text[0] == '"')
		PROMISE(address->at > 2 && address->text[address->at - 1] == '"');
	PROMISE(address_parse((struct str){address->text, n}, &again));
	PROMISE(strcmp(again.text, address->text) == 0 && again.at == address->at);
}

#endif
