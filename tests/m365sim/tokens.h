/* Access tokens as the login host issues and the SMTP front checks them: signed, so a restart forgets none. */
#ifndef M365SIM_TOKENS_H
#define M365SIM_TOKENS_H

#include <stddef.h>

struct options;

enum token_check { TOKEN_GOOD, TOKEN_NOT_OURS, TOKEN_EXPIRED, TOKEN_REVOKED, TOKEN_AUDIENCE };

/* A new token, good for lifetime_s, to be freed. length: about how many characters it has (never shorter
 * than needed). */
char *token_issue(const struct options *options, const char *audience, long lifetime_s, size_t length);

/* audience: glob (FNM_EXTMATCH) of those that the server takes. valid_for_s: from its issue, whatever it says itself; 0: as it
 * says. */
enum token_check token_check(const char *token, size_t n, const char *audience, long valid_for_s);
const char *token_check_text(enum token_check result);

/* Those issued up to now are refused from now on. */
void token_revoke_all(void);

#endif
