#include "net/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int refuse(const char *address, unsigned short port, struct err *err)
{
	switch (errno) {
	case EADDRINUSE:
		return err_set(err,
		    "port %u on %s is in use by another program; stop it (often postfix or exim4) or set "
		    "another port",
		    port, address);
	case EACCES:
	case EPERM:
		return err_set(
		    err, "binding port %u on %s needs root or CAP_NET_BIND_SERVICE", port, address);
	case EADDRNOTAVAIL:
		return err_set(err,
		    "this machine has no address %s; listen on one it has (ip address), or on \"*\"",
		    address);
	default:
		return err_sys(err, "can't listen on port %u of %s", port, address);
	}
}

/* Returns the descriptor, or -1 with errno. */
static int open_socket(const union address *address, socklen_t length, int v6only)
{
	static const int on = 1;
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (address->any.sa_family != AF_INET6 ||
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) == 0) &&
	    bind(fd, &address->any, length) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return -1;
}

static int open_every(unsigned short port)
{
	union address v6 = {
	    .v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT}};
	union address v4 = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
	int fd = open_socket(&v6, sizeof v6.v6, 0);

	if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
		fd = open_socket(&v4, sizeof v4.v4, 0);
	return fd;
}

int listen_open(const char *address, unsigned short port, struct err *err)
{
	union address v4 = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
	union address v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
	int fd;

	if (strcmp(address, "*") == 0)
		fd = open_every(port);
	else if (inet_pton(AF_INET, address, &v4.v4.sin_addr) == 1)
		fd = open_socket(&v4, sizeof v4.v4, 0);
	else if (inet_pton(AF_INET6, address, &v6.v6.sin6_addr) == 1)
		fd = open_socket(&v6, sizeof v6.v6, 1);
	else
		return err_set(err,
		    "\"%s\" is not an address to listen on; give an IPv4 or IPv6 address, or \"*\"", address);
	return fd >= 0 ? fd : refuse(address, port, err);
}

unsigned short listen_port(int fd)
{
	union address address = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t length = sizeof address;

	if (getsockname(fd, &address.any, &length) < 0)
		return 0;
	if (address.any.sa_family == AF_INET)
		return ntohs(address.v4.sin_port);
	return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : 0;
}

const char *sockaddr_host(char *dst, size_t size, const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
	const char *text = NULL;

	if (address->sa_family == AF_INET)
		text = inet_ntop(AF_INET, &v4->sin_addr, dst, (socklen_t)size);
	else if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		text = inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], dst, (socklen_t)size);
	else if (address->sa_family == AF_INET6)
		text = inet_ntop(AF_INET6, &v6->sin6_addr, dst, (socklen_t)size);
	if (text == NULL)
		snprintf(dst, size, "%s", address->sa_family == AF_UNIX ? "local" : "unknown");
	return dst;
}

const char *sockaddr_text(char *dst, size_t size, const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
	char host[INET6_ADDRSTRLEN];

	sockaddr_host(host, sizeof host, address);
	if (address->sa_family == AF_INET)
		snprintf(dst, size, "%s:%u", host, ntohs(v4->sin_port));
	else if (address->sa_family == AF_INET6)
		snprintf(
		    dst, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, ntohs(v6->sin6_port));
	else
		snprintf(dst, size, "%s", host);
	return dst;
}
