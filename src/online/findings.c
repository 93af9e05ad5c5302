#include "online/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct step *findings_add(struct findings *findings, const char *name, int kind)
{
	struct step *step;

	findings->steps = xrealloc(findings->steps, (findings->count + 1) * sizeof *findings->steps);
	step = &findings->steps[findings->count++];
	*step = (struct step){.name = name, .kind = kind, .facts = json_object()};
	return step;
}

struct step *findings_next(struct findings *findings, int kind)
{
	for (size_t i = 0; i < findings->count; i++)
		if (findings->steps[i].kind == kind && findings->steps[i].status == STEP_NOT_TRIED)
			return &findings->steps[i];
	return NULL;
}

void step_fail(struct step *step, const struct failure *why)
{
	step->status = STEP_FAILED;
	step->why = *why;
}

void step_warn(struct step *step, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(step->advice, sizeof step->advice, format, args);
	va_end(args);
	step->status = STEP_WARNING;
}

bool findings_good(const struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++)
		if (findings->steps[i].status == STEP_FAILED)
			return false;
	return true;
}

void findings_free(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++)
		json_decref(findings->steps[i].facts);
	free(findings->steps);
	*findings = (struct findings){.upstream = NULL};
}
