/* The login host: HTTPS, POST /TENANT/oauth2/v2.0/token. */
#ifndef M365SIM_LOGIN_H
#define M365SIM_LOGIN_H

struct connection;

void login_serve(struct connection *connection);

#endif
