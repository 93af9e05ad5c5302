#include "base/ration.h"

#include <stddef.h>

int64_t ration_take(
    struct ration *ration, const struct ration_rate *rate, int64_t wait_max_ms, int64_t now_ms)
{
	int64_t now_us = now_ms * 1000;
	int64_t due_us = ration->due_us > now_us ? ration->due_us : now_us;
	int64_t wait_us = due_us - now_us - (int64_t)(rate->burst - 1) * rate->every_us;

	if (wait_us > wait_max_ms * 1000)
		return -1;
	ration->due_us = due_us + rate->every_us;
	return wait_us > 0 ? (wait_us + 999) / 1000 : 0;
}

bool quiet_lets(struct quiet *quiet, uint64_t *withheld, int64_t now_ms)
{
	static const struct ration_rate lines = {.every_us = 1000000, .burst = 60};

	if (ration_take(&quiet->ration, &lines, 0, now_ms) < 0) {
		quiet->withheld++;
		return false;
	}
	*withheld = quiet->withheld;
	quiet->withheld = 0;
	return true;
}
