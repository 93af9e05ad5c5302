/* Why something failed, in words for an admin: the thing, the cause, the remedy. Filled where the error is
 * first known; passed up by functions that return -1 or NULL. */
#ifndef MFDRELAY_BASE_ERR_H
#define MFDRELAY_BASE_ERR_H

struct err {
	char text[512];
};

/* Fill err (which may be NULL) and return -1, so that `return err_set(...)` reads well. The text is cut to
 * fit. err_sys appends ": " and the text of errno. Both leave errno as it was. */
int err_set(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
int err_sys(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
