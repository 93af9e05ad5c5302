/* The SMTP fronts: submission like smtp.office365.com, and MX like a tenant's mail.protection.outlook.com. */
#ifndef M365SIM_SMTP_H
#define M365SIM_SMTP_H

struct connection;

void smtp_serve(struct connection *connection);

#endif
