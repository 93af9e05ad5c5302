/* The upstreams that routes name. */
#ifndef MFDRELAY_CONFIG_ROUTES_H
#define MFDRELAY_CONFIG_ROUTES_H

struct config;
struct source;

/* Find those of each route by their names, which may stand behind the routes in the file. Names that no upstream has are noted
 * and left out. */
void routes_resolve(const struct source *source, struct config *config);

#endif
