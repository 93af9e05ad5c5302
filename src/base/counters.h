/* Counters on one page that supervisor and workers share (anonymous mapping, made before fork). Relaxed atomics: they
 * are for people, and nothing is decided by them but how large a message may be, which is put aside, and who is not
 * greeted first. They outlive a worker's restart, not the daemon's. */
#ifndef MFDRELAY_BASE_COUNTERS_H
#define MFDRELAY_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define COUNTERS_ID_SIZE   32	/* more than an id has */
#define COUNTERS_LISTENERS 8	/* that live at the same time: one, and those that drain after a reload */
#define COUNTERS_UPSTREAMS 64	/* as many as a config may hold */
#define COUNTERS_TLS_FIRST 64	/* addresses */

struct counters {
	/* listener */
	_Atomic uint64_t sessions;		/* connections accepted */
	_Atomic uint64_t sessions_refused;	/* 421: too many, or draining; handshakes beyond their limit */
	_Atomic uint64_t tls_sessions;		/* handshakes done */
	_Atomic uint64_t tls_failures;		/* handshakes failed */
	_Atomic uint64_t messages_accepted;	/* 250 given */
	_Atomic uint64_t bytes_accepted;
	_Atomic uint64_t messages_refused;	/* 4xx or 5xx after DATA */
	_Atomic uint64_t recipients_refused;	/* 4xx or 5xx to RCPT */
	_Atomic uint64_t logins;		/* 235 given */
	_Atomic uint64_t auth_failures;		/* 535 given */
	_Atomic uint64_t auth_slowed;		/* of these, those held back for longer than usual */
	_Atomic uint64_t storm_deferrals;	/* 452 to MAIL: messages_per_hour */
	_Atomic uint64_t sessions_now[COUNTERS_LISTENERS];	/* each counts its own, which go with it: counted_all() */
	_Atomic uint64_t tls_first[COUNTERS_TLS_FIRST][2], tls_first_count;	/* a ring of addresses: listener/tls_first.h */
	_Atomic int32_t storage_error;		/* errno with which the last message could not be stored; 0: it was */
	/* sender */
	_Atomic uint64_t messages_delivered;	/* all recipients of a message delivered */
	_Atomic uint64_t recipients_delivered;
	_Atomic uint64_t recipients_failed;
	_Atomic uint64_t reports;
	_Atomic uint64_t deferrals;
	_Atomic uint64_t upstream_connections;
	_Atomic uint64_t tokens_fetched;
	struct {
		_Atomic uint64_t bytes, keyed;	/* what upstreams have said they take, and that ^ whose it is:
						   config/upstream_size.h */
	} upstream_sizes[COUNTERS_UPSTREAMS];
	/* What the sender works at, and what it has died of by a fault: sender/suspect.h. Ids; its own until it dies. */
	char in_hand[COUNTERS_ID_SIZE], suspect[COUNTERS_ID_SIZE];
	uint32_t suspect_deaths;
	/* supervisor */
	_Atomic int32_t sender_fault;		/* the signal that the sender has died of by itself; 0: none */
	_Atomic uint64_t listener_restarts;
	_Atomic uint64_t sender_restarts;
	_Atomic int64_t started_ms;		/* wall clock */
	_Atomic int32_t listener_pid, sender_pid;
	_Atomic int64_t config_loaded_ms;
	_Atomic int64_t config_refused_ms;	/* when a reload was last refused; 0: never */
};

/* Map the page. Returns NULL with errno. It stays mapped to the process's end. */
struct counters *counters_new(void);

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The sum of n of them. */
static inline uint64_t counted_all(const _Atomic uint64_t *counters, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += counted(&counters[i]);
	return sum;
}

#endif
