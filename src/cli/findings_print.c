#include "cli/findings_print.h"

#include <stdio.h>

#include "cli/terminal.h"
#include "config/config.h"
#include "online/findings.h"

static void print_behind(const char *what, const char *text)
{
	char safe[STEP_TEXT_MAX];

	if (text[0] != '\0')
		printf("%29s%-8s%s\n", "", what, terminal_text(safe, sizeof safe, text, sizeof safe));
}

static void print_step(const struct step *step)
{
	static const char *const words[] = {"-", "-", "ok", "WARNING", "FAILED"};
	const char *answer = step->status == STEP_FAILED      ? step->why.text
			     : step->status == STEP_NOT_TRIED ? "not tried"
							      : "";
	char time[24] = "", text[STEP_TEXT_MAX], said[STEP_TEXT_MAX];

	if (step->status >= STEP_PROVED)
		snprintf(time, sizeof time, "%lld ms", (long long)step->ms);
	terminal_text(text, sizeof text, step->text, sizeof text);
	terminal_text(said, sizeof said, answer, sizeof said);
	printf("  %-7s %-9s%9s  %s%s%s\n", words[step->status], step->name, time, text,
	    text[0] != '\0' && said[0] != '\0' ? ": " : "", said);
	if (step->status == STEP_WARNING)
		print_behind("advice:", step->advice);
	if (step->status != STEP_FAILED)
		return;
	print_behind("cause:", step->why.cause->cause);
	print_behind("acts:", actor_words(step->why.cause->actor));
	print_behind("remedy:", step->why.cause->remedy);
}

void findings_print(const struct findings *findings)
{
	const struct upstream_config *upstream = findings->upstream;

	const char *as = findings->mailbox != NULL ? " as " : "";
	const char *mailbox = findings->mailbox != NULL ? findings->mailbox : "";

	printf("%s%s%s (%s, %s:%u)\n", upstream->name, as, mailbox, upstream_kind_names[upstream->kind],
	    upstream_name(upstream), (unsigned)upstream->port);
	for (size_t i = 0; i < findings->count; i++)
		print_step(&findings->steps[i]);
	printf("%s%s%s: %s; nothing was sent\n", upstream->name, as, mailbox,
	    findings_good(findings) ? "good" : "FAILED");
}

static json_t *text_json(const char *text)
{
	char safe[STEP_TEXT_MAX];

	return json_string(terminal_text(safe, sizeof safe, text, sizeof safe));
}

static json_t *step_json(const struct step *step)
{
	static const char *const words[] = {"not-tried", "left-out", "ok", "warning", "failed"};
	json_t *object =
	    json_pack("{s:s, s:s, s:I, s:o, s:O}", "step", step->name, "status", words[step->status], "ms",
		(json_int_t)step->ms, "text", text_json(step->text), "facts", step->facts);

	if (step->status == STEP_WARNING)
		json_object_set_new(object, "advice", text_json(step->advice));
	if (step->status != STEP_FAILED)
		return object;
	json_object_set_new(object, "answer", text_json(step->why.text));
	json_object_set_new(object, "reason", json_string(step->why.cause->name));
	json_object_set_new(object, "class", json_string(outcome_name(step->why.cause->outcome)));
	json_object_set_new(object, "cause", json_string(step->why.cause->cause));
	json_object_set_new(object, "who_acts", json_string(actor_words(step->why.cause->actor)));
	json_object_set_new(object, "remedy", json_string(step->why.cause->remedy));
	return object;
}

json_t *findings_json(const struct findings *findings)
{
	const struct upstream_config *upstream = findings->upstream;
	json_t *steps = json_array();

	for (size_t i = 0; i < findings->count; i++)
		json_array_append_new(steps, step_json(&findings->steps[i]));
	return json_pack("{s:o, s:s?, s:s, s:o, s:i, s:b, s:o}", "name", text_json(upstream->name), "mailbox",
	    findings->mailbox, "kind", upstream_kind_names[upstream->kind], "host",
	    text_json(upstream_name(upstream)), "port", (int)upstream->port, "ok", findings_good(findings),
	    "steps", steps);
}
