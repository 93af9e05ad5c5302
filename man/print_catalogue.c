/* Prints mfdrelay-catalogue(7) from the tables: make runs it. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "catalogue/explain.h"

#define WIDTH 78

static const char head[] = ".\\\" Made from the tables in src/catalogue/ by man/print_catalogue.c.\n"
			   ".Dd November 25, 2026\n"
			   ".Dt MFDRELAY-CATALOGUE 7\n"
			   ".Os\n"
			   ".Sh NAME\n"
			   ".Nm mfdrelay-catalogue\n"
			   ".Nd what Microsoft 365 answers to the relay, what it means, what to do\n"
			   ".Sh DESCRIPTION\n"
			   "Whatever an upstream, the login host or the network refuses is looked up in\n"
			   "this catalogue.\n"
			   "What the relay itself answers to devices is in it too.\n"
			   "Its words are those of the log, of\n"
			   ".Cm mfdrelay status ,\n"
			   "of the reports of non-delivery, and of\n"
			   ".Cm mfdrelay explain ,\n"
			   "which finds the entries that a text speaks of.\n"
			   ".Pp\n"
			   "An entry has its name, its class, the codes and words by which it is told,\n"
			   "the cause, who must act, and the remedy.\n"
			   "Where one code means two things, the first entry that fits counts; entries\n"
			   "that are told by one kind of upstream only name it.\n"
			   "The classes are:\n"
			   ".Bl -tag -width Ds\n";

/* A line that begins with a dot or an apostrophe would be a request. */
static void begin_line(const char *word)
{
	if (*word == '.' || *word == '\'')
		fputs("\\&", stdout);
}

/* Filled lines; each sentence begins one. */
static void print_text(const char *text)
{
	int column = 0;
	bool is_end = false;

	while (*text != '\0') {
		int n = (int)strcspn(text, " ");
		if (column > 0 && (is_end || column + 1 + n > WIDTH)) {
			putchar('\n');
			column = 0;
		}
		if (column == 0)
			begin_line(text);
		column += printf("%s%.*s", column > 0 ? " " : "", n, text);
		is_end = strchr(".?!", text[n - 1]) != NULL;
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

static void print_labelled(const char *label, const char *text)
{
	printf(".br\n.Em %s :\n", label);
	print_text(text);
}

struct page {
	const char *subject;
};

static void print_entry(void *arg, const char *subject, const struct cause *cause, const char *told_as)
{
	struct page *page = arg;

	if (page->subject == NULL || strcmp(page->subject, subject) != 0) {
		if (page->subject != NULL)
			puts(".El");
		printf(".Sh %s\n.Bl -tag -width Ds\n", subject);
		page->subject = subject;
	}
	printf(".It Li %s", cause->name);
	if (catalogue_no_class(cause) == NULL)
		printf(" Pq %s", outcome_name(cause->outcome));
	putchar('\n');
	print_text(cause->cause);
	if (told_as[0] != '\0')
		print_labelled("Told as", told_as);
	print_labelled("Who acts", actor_words(cause->actor));
	print_labelled("Remedy", cause->remedy);
}

int main(void)
{
	struct page page = {NULL};

	fputs(head, stdout);
	for (int outcome = OUTCOME_T; outcome <= OUTCOME_P; outcome++) {
		printf(".It %s\n", outcome_name((enum outcome)outcome));
		print_text(outcome_words((enum outcome)outcome));
	}
	puts(".El");
	catalogue_each(print_entry, &page);
	puts(".El\n.Sh SEE ALSO\n.Xr mfdrelay.conf 5 ,\n.Xr mfdrelay 8");
	return ferror(stdout) != 0;
}
