#include "stats.h"

#include <jansson.h>
#include <pthread.h>
#include "faults.h"
#include "front.h"
#include "store.h"

static const char *const names[] = {
#define X(name) #name,
    STATS(X)
#undef X
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long values[STAT_COUNT];
static int changed;
static long serial;

void stats_add(enum stat_name what, long n)
{
	pthread_mutex_lock(&lock);
	values[what] += n;
	changed = 1;
	pthread_mutex_unlock(&lock);
}

void stats_raise(enum stat_name what, long n)
{
	pthread_mutex_lock(&lock);
	if (values[what] < n)
		values[what] = n;
	changed = 1;
	pthread_mutex_unlock(&lock);
}

long stats_get(enum stat_name what)
{
	long n;

	pthread_mutex_lock(&lock);
	n = values[what];
	pthread_mutex_unlock(&lock);
	return n;
}

void stats_write(int force)
{
	json_t *stats = json_object();
	int wanted, i;

	pthread_mutex_lock(&lock);
	wanted = changed || force;
	changed = 0;
	if (wanted)
		serial++;
	json_object_set_new(stats, "serial", json_integer(serial));
	for (i = 0; i < STAT_COUNT; i++)
		json_object_set_new(stats, names[i], json_integer(values[i]));
	pthread_mutex_unlock(&lock);
	if (wanted) {
		json_object_set_new(stats, "connections", front_stats());
		json_object_set_new(stats, "rules", faults_stats());
		store_json("stats.json", stats);
	}
	json_decref(stats);
}
