/* What the app registration has to prove itself by: DIR/app/secrets (a secret a line, " expired" behind one that is over; without
 * the file that of --secret), DIR/app/NAME.crt (the uploaded certificates) and DIR/app/federated (the assertions of another
 * issuer that it trusts, one a line). Looked at anew for each request. */
#ifndef M365SIM_APP_H
#define M365SIM_APP_H

struct options;

/* Each returns 0, or the AADSTS number that it earns. */
long app_check_secret(const struct options *options, const char *secret);

/* A client assertion (JWT) for the token endpoint of tenant: by one of the certificates, or a federated one. */
long app_check_assertion(const struct options *options, const char *tenant, const char *assertion);

#endif
