/* The daemon's first process: binds the sockets, holds the spool's lock, starts listener and sender and starts them again,
 * carries a reload out. It reads the config and never a secret's contents, never mail. */
#ifndef MFDRELAY_SUPERVISOR_SUPERVISOR_H
#define MFDRELAY_SUPERVISOR_SUPERVISOR_H

struct config;

/* Run the daemon on config (taken over) until SIGTERM or SIGINT. Returns the exit status: 0 after a clean stop, 1 when it could
 * not start; the reason is in the log. */
int supervisor_run(struct config *config);

#endif
