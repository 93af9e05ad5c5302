/* The subcommands: each takes its own name as argv[0] and returns the exit status. */
#ifndef MFDRELAY_CLI_COMMANDS_H
#define MFDRELAY_CLI_COMMANDS_H

int cmd_allow(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_login(int argc, char **argv);
int cmd_passwd(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_unknown(int argc, char **argv);
int cmd_test(int argc, char **argv);

#endif
