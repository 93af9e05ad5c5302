/* Faults on demand, from DIR/control: one rule a line, read again whenever the file changes. After each
 * reading, DIR/control.status says {"tag": .., "rules": n, "errors": [..]}; tag is what follows "#" in the
 * file's first line. The syntax: m365sim --help. */
#ifndef M365SIM_FAULTS_H
#define M365SIM_FAULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "front.h"

enum stage {
	STAGE_CONNECT, STAGE_BANNER, STAGE_EHLO, STAGE_STARTTLS, STAGE_HANDSHAKE, STAGE_AUTH, STAGE_MAIL, STAGE_RCPT,
	STAGE_DATA, STAGE_BDAT, STAGE_CONTENT, STAGE_FINAL_DOT, STAGE_RSET, STAGE_QUIT, STAGE_LOGIN, STAGE_IDENTITY,
	STAGE_TOKENS, STAGE_THROTTLE, STAGE_COUNT
};

enum action {
	/* steps: instead of, or before, the normal answer */
	ACTION_REPLY, ACTION_DELAY, ACTION_CUT, ACTION_RESET, ACTION_STALL, ACTION_GARBAGE, ACTION_HUGE_LINE,
	ACTION_HALF, ACTION_ENDLESS,
	/* content and its end */
	ACTION_KEEP_CUT, ACTION_CUT_AFTER, ACTION_STALL_AFTER, ACTION_SLOW,
	/* switches */
	ACTION_REFUSE, ACTION_WITHOUT, ACTION_WITH, ACTION_JSON_334, ACTION_CERT, ACTION_TLS_MAX,
	/* login host and identity services */
	ACTION_STATUS, ACTION_HTML, ACTION_EMPTY, ACTION_RETRY_AFTER, ACTION_ERROR, ACTION_HUGE_BODY,
	ACTION_REDIRECT, ACTION_STRINGS, ACTION_CUT_JSON, ACTION_CHALLENGE,
	/* tokens, throttle */
	ACTION_EXPIRE_IN, ACTION_VALID_FOR, ACTION_REVOKE_ALL, ACTION_LENGTH, ACTION_CONNECTIONS, ACTION_PER_MINUTE,
	ACTION_PER_DAY,
	/* a step too: behind the normal answer */
	ACTION_EXTRA,
	ACTION_COUNT
};

#define ACTION_BIT(action) (UINT64_C(1) << (action))
#define ACTION_STEPS (ACTION_BIT(ACTION_EXTRA) |                                                               \
	(ACTION_BIT(ACTION_REPLY) | ACTION_BIT(ACTION_DELAY) | ACTION_BIT(ACTION_CUT) | ACTION_BIT(ACTION_RESET) |  \
	    ACTION_BIT(ACTION_STALL) | ACTION_BIT(ACTION_GARBAGE) | ACTION_BIT(ACTION_HUGE_LINE) |                 \
	    ACTION_BIT(ACTION_HALF) | ACTION_BIT(ACTION_ENDLESS)))

#define FAULT_TEXT_MAX 1024

struct fault {
	enum action action;
	long number;			/* ms, bytes, seconds, a count: as the action says */
	bool percent;			/* number is per cent of the message's size */
	long delay_ms;			/* to wait before it */
	unsigned reading;		/* of the rules it is from */
	char text[FAULT_TEXT_MAX];	/* reply, keywords, ... ; of a reply, lines are parted by CRLF */
};

/* Name DIR/control and read it if it is there. */
void faults_open(const char *dir);
void faults_close(void);

/* Read the file again if it has changed. */
void faults_refresh(void);

/* The first rule for that stage with one of those actions (bits), about subject (address, user, EHLO name;
 * NULL: none), into *out, counted as used. Looks for a changed file first. */
bool faults_take(enum front front, enum stage stage, const char *subject, uint64_t actions, struct fault *out);

/* Wait as long as the fault says, at most until other rules are read: so a test has all the time that it needs, and no
 * more. */
void faults_wait(const struct fault *fault);

/* All rules of one switch, their texts joined by blanks; "" when there is none. */
void faults_texts(enum front front, enum stage stage, enum action action, char *dst, size_t size);

/* The stage at which a front's connections are taken: of those that speak HTTP it is their only one. */
enum stage faults_connect_stage(enum front front);

/* Whether nobody shall listen now (`refuse` at that stage, without times= and after=). */
bool faults_refusing(enum front front);

json_t *faults_stats(void);		/* [{"rule": "...", "used": n}, ...] */
void faults_help(FILE *out);

#endif
