/* What the command line said. Filled once in main.c, const for everyone else. */
#ifndef M365SIM_OPTIONS_H
#define M365SIM_OPTIONS_H

struct options {
	const char *dir;
	unsigned short smtp_port, login_port, mx_port, imds_port, arc_port;
	const char *tenant, *client_id, *secret;
	const char *mailbox;		/* glob, ASCII case ignored: those that the app may send as */
	const char *send_as;		/* glob: whom a user may send as beside itself; NULL: nobody */
	const struct play *play;	/* what the submission server is */
	const char *domain;		/* glob: the tenant's own domain; NULL: every one is */
	const char *connector_ca;	/* PEM file: the connector's client certificates lead to it; NULL: there is no connector */
	const char *basic_user, *basic_password;	/* NULL: basic authentication is off */
};

#endif
