/* DIR/log: one line an event, protocol lines both ways. Credentials and content do not come here. */
#ifndef M365SIM_LOG_H
#define M365SIM_LOG_H

#include <stddef.h>

/* Open DIR/log for appending. Returns 0, or -1 with errno. */
int log_open(const char *dir);
void log_close(void);

/* who names the front ("smtp", "login", "mx") or part ("control"); connection 0: none. */
void log_event(const char *who, unsigned long connection, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A protocol line: '<' received, '>' sent. Control characters are escaped, long lines are cut. */
void log_wire(const char *who, unsigned long connection, char way, const char *line, size_t n);

#endif
