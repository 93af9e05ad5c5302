/* The identity services of a machine, by plain HTTP: GET /metadata/identity/oauth2/token. FRONT_IMDS is an Azure VM's (Microsoft's
 * page how-to-use-vm-token), FRONT_ARC the agent's of a server that Azure Arc manages (managed-identity-authentication). */
#ifndef M365SIM_IDENTITY_H
#define M365SIM_IDENTITY_H

struct connection;

void identity_serve(struct connection *connection);

#endif
