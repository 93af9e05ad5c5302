/* What the config leaves out and the schema cannot say, as it hangs on other keys: on an upstream's kind and cloud, on the host's
 * name, on whether there is a certificate. */
#ifndef MFDRELAY_CONFIG_DEFAULTS_H
#define MFDRELAY_CONFIG_DEFAULTS_H

struct config;

/* Fill in what is unset. What has been set stays. */
void defaults_fill(struct config *config);

#endif
