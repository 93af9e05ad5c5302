#include "supervisor/disk_wait.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "PID (name) STATE ...": a name has 63 bytes at most. */
#define HEAD_MAX 128

int disk_wait_open(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

bool disk_waits(int fd)
{
	char head[HEAD_MAX + 1];
	ssize_t n = fd >= 0 ? pread(fd, head, HEAD_MAX, 0) : -1;

	if (n <= 0)
		return false;
	head[n] = '\0';
	/* The name may have brackets of its own; numbers follow. */
	const char *end = strrchr(head, ')');
	return end != NULL && strncmp(end, ") D ", 4) == 0;
}
