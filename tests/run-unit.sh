#!/bin/sh
# Run the cmocka programs given as arguments, as many at once as there are processors, go on after a failure, count over all
# of them.
#   sh tests/run-unit.sh build/tests/unit/test_*
# The last line is "N passed, M failed"; exit 1 when a test failed, a program broke off or had no end within UNIT_TIMEOUT
# (300 s), or no test ran.
passed=0
failed=0
outputs=$(mktemp -d) || exit 1
trap 'rm -rf "$outputs"' EXIT
trap 'exit 1' HUP INT TERM

# The sum of the numbers on cmocka's lines "[  WORD  ] N test(s)".
count()
{
	sed -n "s/^\[  $1  \] \([0-9][0-9]*\) test.*/\1/p" "$output" | awk '{ n += $1 } END { print n + 0 }'
}

# What was skipped, each with the line that the test printed before.
skipped()
{
	sed -n '/test(s) run\./q;/^\[  SKIPPED \] /{s///;G;s/^\([^\n]*\)\n\(.*\)/    skipped \1: \2/p;};h' "$output"
}

printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c \
	'output=$1/${2##*/}; CMOCKA_MESSAGE_OUTPUT=stdout timeout "${UNIT_TIMEOUT:-300}" "$2" >"$output" 2>&1; echo $? >"$output.status"' run-one "$outputs" {}

for program in "$@"; do
	output=$outputs/${program##*/}
	status=$(cat "$output.status" || echo 1)
	good=$(count PASSED)
	bad=$(count FAILED)
	note=
	# A crash or a sanitizer's report after the last line of cmocka counts as one failure more.
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		note=" (exit status $status)"
		[ "$status" -ne 124 ] || note=" (it had no end)"
	fi
	if [ "$status" -eq 0 ] && [ "$good" -eq 0 ]; then
		bad=1
		note=" (no test ran)"
	fi
	passed=$((passed + good))
	failed=$((failed + bad))
	if [ "$bad" -gt 0 ]; then
		cat "$output"
		printf '%-24s %s passed, %s FAILED%s\n' "${program##*/}" "$good" "$bad" "$note"
	else
		printf '%-24s %s passed\n' "${program##*/}" "$good"
		skipped
	fi
done

if [ "$((passed + failed))" -eq 0 ]; then
	echo "no unit test ran: tests/unit/test_*.c is where they belong" >&2
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
