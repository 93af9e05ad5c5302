/* The part of `check` that goes out: each upstream tried by the sender's own code. */
#ifndef MFDRELAY_CLI_CHECK_ONLINE_H
#define MFDRELAY_CLI_CHECK_ONLINE_H

struct config;
struct options;

/* Try the upstream that options name, or all, as the relay's user (root becomes it, for good), and print the findings. Returns
 * the exit status: 0 all is good, 1 a step has failed, EX_USAGE no such upstream, EX_NOPERM the user can't be had. */
int check_online(const struct config *config, const struct options *options);

#endif
