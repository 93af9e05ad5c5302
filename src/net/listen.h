/* Listening sockets: bound by the supervisor, or handed over by systemd; accepted from by the listener. */
#ifndef MFDRELAY_NET_LISTEN_H
#define MFDRELAY_NET_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include "base/err.h"

/* Bind and listen on address ("*": every IPv4 and IPv6 address, one dual-stack socket, or IPv4 alone where the
 * machine has no IPv6; else an IPv4 or IPv6 literal) and port (0: any free one). Non-blocking, close-on-exec,
 * SO_REUSEADDR, backlog 4096. Returns the descriptor, or -1 with err saying address, port, cause and remedy. */
int listen_open(const char *address, unsigned short port, struct err *err);

/* The port a socket is bound to, and "address:port" ("[v6]:port") for the log. */
unsigned short listen_port(int fd);
const char *sockaddr_text(char *dst, size_t size, const struct sockaddr *address);

/* The address alone; a v4-mapped IPv6 address is shown as IPv4. size is at least 46 (INET6_ADDRSTRLEN). */
const char *sockaddr_host(char *dst, size_t size, const struct sockaddr *address);

#endif
