#include "sender/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

#define CLIENTS_MAX    16
#define CLIENT_IDLE_MS 10000
#define ASK_TIMEOUT_S  10

struct caller {
	struct control *control;
	struct conn *conn;
	LIST_ENTRY(caller) next;
};

struct control {
	struct event_base *base;
	control_fn *fn;
	void *arg;
	int fd;
	struct event *accept;
	char path[sizeof((struct sockaddr_un *)0)->sun_path];
	LIST_HEAD(, caller) callers;
	unsigned count;
};

static void drop(struct caller *caller)
{
	LIST_REMOVE(caller, next);
	caller->control->count--;
	conn_free(caller->conn);
	free(caller);
}

static void answer(struct caller *caller, struct str line)
{
	json_t *request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	const char *command = json_string_value(json_object_get(request, "command"));
	json_t *reply = command != NULL ? caller->control->fn(caller->control->arg, command, request)
					: json_pack("{s:b, s:s}", "ok", 0, "error", "not a request");
	char *text = json_dumps(reply, JSON_COMPACT);

	/* Text that is no UTF-8, of a path perhaps, is no JSON. */
	if (text == NULL)
		text = xstrdup("{\"ok\":false,\"error\":\"a path or name in the config is not UTF-8\"}");
	conn_write(caller->conn, text, strlen(text));
	conn_write(caller->conn, "\n", 1);
	free(text);
	json_decref(reply);
	json_decref(request);
}

static void on_caller(void *arg, enum conn_event event)
{
	struct caller *caller = arg;
	struct str line;
	enum conn_line got;

	if (event == CONN_DRAINED)
		return;
	if (event != CONN_DATA) {
		drop(caller);
		return;
	}
	while ((got = conn_read_line(caller->conn, CONTROL_LINE_MAX, &line)) == CONN_LINE)
		answer(caller, line);
	if (got == CONN_LINE_TOO_LONG)
		drop(caller);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *cookie)
{
	struct control *control = cookie;
	int fd = accept4((int)listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (fd < 0)
		return;
	if (control->count >= CLIENTS_MAX) {
		close(fd);
		return;
	}
	struct caller *caller = xcalloc(1, sizeof *caller);
	caller->control = control;
	caller->conn = conn_accept(control->base, fd, on_caller, caller);
	if (caller->conn == NULL) {
		free(caller);
		return;
	}
	conn_set_timeout(caller->conn, CLIENT_IDLE_MS);
	LIST_INSERT_HEAD(&control->callers, caller, next);
	control->count++;
}

static int fill_address(struct sockaddr_un *address, const char *spool_dir, struct err *err)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(address->sun_path, sizeof address->sun_path, "%s/control", spool_dir);
	if (n < 0 || (size_t)n >= sizeof address->sun_path)
		return err_set(err,
		    "%s/control: a socket's path has at most %zu characters: choose a shorter spool path",
		    spool_dir, sizeof address->sun_path - 1);
	return 0;
}

static int open_socket(struct control *control, const char *spool_dir, struct err *err)
{
	struct sockaddr_un address;

	if (fill_address(&address, spool_dir, err) < 0)
		return -1;
	memcpy(control->path, address.sun_path, sizeof control->path);
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (control->fd < 0)
		return err_sys(err, "%s", control->path);
	/* The spool's lock is ours: what lies there is an earlier sender's. */
	unlink(control->path);
	mode_t old_mask = umask(0177);
	int bound = bind(control->fd, (struct sockaddr *)&address, sizeof address);
	umask(old_mask);
	if (bound < 0 || listen(control->fd, CLIENTS_MAX) < 0)
		return err_sys(err, "%s", control->path);
	return 0;
}

struct control *control_new(
    struct event_base *base, const char *spool_dir, control_fn *fn, void *arg, struct err *err)
{
	struct control *control = xcalloc(1, sizeof *control);

	*control = (struct control){.base = base, .fn = fn, .arg = arg, .fd = -1};
	LIST_INIT(&control->callers);
	if (open_socket(control, spool_dir, err) < 0) {
		control_free(control);
		return NULL;
	}
	control->accept = event_new(base, control->fd, EV_READ | EV_PERSIST, on_accept, control);
	event_add(control->accept, NULL);
	return control;
}

void control_free(struct control *control)
{
	struct caller *caller;

	if (control == NULL)
		return;
	while ((caller = LIST_FIRST(&control->callers)) != NULL)
		drop(caller);
	if (control->accept != NULL) {
		event_free(control->accept);
		unlink(control->path);
	}
	if (control->fd >= 0)
		close(control->fd);
	free(control);
}

/* --- the other end --- */

static int send_request(int fd, const json_t *request, struct err *err)
{
	char *text = json_dumps(request, JSON_COMPACT);
	char *line = xasprintf("%s\n", text);
	ssize_t sent = send(fd, line, strlen(line), MSG_NOSIGNAL);
	bool complete = sent == (ssize_t)strlen(line);

	free(text);
	free(line);
	return complete ? 0 : err_sys(err, "the daemon does not take the request");
}

static json_t *receive_answer(int fd, struct err *err)
{
	FILE *stream = fdopen(fd, "r");
	json_error_t error;

	if (stream == NULL) {
		err_sys(err, "reading the answer");
		close(fd);
		return NULL;
	}
	json_t *answer = json_loadf(stream, JSON_DISABLE_EOF_CHECK, &error);
	if (answer == NULL)
		err_set(err, "the daemon gave no answer within %d s: see its log", ASK_TIMEOUT_S);
	fclose(stream);
	return answer;
}

json_t *control_ask(const char *spool_dir, json_t *request, struct err *err)
{
	struct timeval timeout = {.tv_sec = ASK_TIMEOUT_S};
	struct sockaddr_un address;
	json_t *result = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err_sys(err, "making a socket");
	else if (fill_address(&address, spool_dir, err) < 0)
		close(fd);
	else if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		err_sys(err, "%s", address.sun_path);
		int saved_errno = errno;
		close(fd);
		errno = saved_errno;
	} else {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
		if (send_request(fd, request, err) < 0)
			close(fd);
		else
			result = receive_answer(fd, err);
	}
	json_decref(request);
	return result;
}
