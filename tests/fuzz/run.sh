#!/bin/sh
# Builds the fuzz targets (clang's libFuzzer, AddressSanitizer, UndefinedBehaviorSanitizer) and runs each for a bounded
# time on a copy of its seeds, as many at once as there are processors.
#
#   sh tests/fuzz/run.sh                 all of them
#   sh tests/fuzz/run.sh data reply      these
#   sh tests/fuzz/run.sh --list          their names
#
# From the environment: BUILD (default build), SECONDS_EACH (default 6), SEED (a number: the same inputs in the same order
# each time; default: others each time), CLANG (default clang). Inputs that reached new code are kept in
# $BUILD/fuzz/corpus/TARGET and tried first the next time; nothing is written into tests/. The last line is
# "N passed, M failed"; exit 1 when one failed.
set -eu

cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-6}
seed=${SEED:-0}
out=${BUILD:-build}/fuzz
case "$out" in /*) ;; *) out=$PWD/$out ;; esac
clang=${CLANG:-clang}

all=$(for file in tests/fuzz/fuzz_*.c; do basename "$file" .c; done | sed 's/^fuzz_//')

case "${1-}" in
--list)
	echo "$all"
	exit 0
	;;
-h | --help)
	sed -n '2,13s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

fail()
{
	echo "tests/fuzz/run.sh: $*" >&2
	exit 1
}

[ "${1-}" != --one ] || one=$2
for target; do
	[ -n "${one-}" ] || [ -f "tests/fuzz/fuzz_$target.c" ] || fail "no target \"$target\"; see: sh tests/fuzz/run.sh --list"
done
case "$seconds" in
'' | *[!0-9]* | 0) fail "SECONDS_EACH=$seconds is not a number of seconds above 0" ;;
esac
case "$seed" in
'' | *[!0-9]*) fail "SEED=$seed is not a number" ;;
esac

# The library of the daemon's code, once for all targets.
prepare()
{
	command -v "$clang" >/dev/null 2>&1 || fail "clang is missing; run sh contrib/setup.sh --fuzz"
	mkdir -p "$out/bin" "$out/crashes"
	echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' >"$out/probe.c"
	"$clang" -fsanitize=fuzzer,address,undefined -o "$out/probe" "$out/probe.c" 2>"$out/build.log" || {
		cat "$out/build.log" >&2
		fail "clang cannot link a fuzz target; its libraries (libclang-rt-14-dev) are missing; run sh contrib/setup.sh --fuzz"
	}

	sanitize="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
	# clang says in another way than gcc that ASan is there; src/config/source.c asks for gcc's.
	env -u MAKEFLAGS -u MAKELEVEL "${MAKE:-make}" --no-print-directory -j "$(nproc)" BUILD="$out/objects" CC="$clang" CFLAGS="-O1 -g -fno-omit-frame-pointer" \
		CPPFLAGS=-D__SANITIZE_ADDRESS__=1 SANITIZE="$sanitize" "$out/objects/libmfdrelay.a" >"$out/build.log" 2>&1 || {
		tail -n 30 "$out/build.log" >&2
		fail "the daemon's code does not build with clang; its last words are above"
	}
}

# Where it is installed (llvm-14), reports name functions and lines.
ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer || command -v llvm-symbolizer-14 || :)
[ -z "$ASAN_SYMBOLIZER_PATH" ] || export ASAN_SYMBOLIZER_PATH

libraries=$(pkg-config --libs openssl libevent libevent_openssl libcurl libconfig jansson libcares libcrypt libsystemd libseccomp)

# build NAME
build()
{
	# shellcheck disable=SC2086 # a list of words
	"$clang" -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -Itests/fuzz -Wall -Wextra -Wshadow -Wconversion -O1 -g \
		-fno-omit-frame-pointer -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -pthread \
		-o "$out/bin/fuzz_$1" "tests/fuzz/fuzz_$1.c" "$out/objects/libmfdrelay.a" $libraries >"$out/$1.log" 2>&1 &&
		return 0
	cat "$out/$1.log"
	echo "$1: does not build"
	return 1
}

# try NAME: one target on its seeds, copied, and on what earlier runs found.
try()
{
	corpus=$out/corpus/$1
	log=$out/$1.log
	mkdir -p "$corpus"
	cp "tests/fuzz/seeds/$1"/* "$corpus/"
	status=0
	# A short quarantine: what is freed must not look like memory that grows.
	ASAN_OPTIONS=quarantine_size_mb=16 \
		"$out/bin/fuzz_$1" -max_total_time="$seconds" -seed="$seed" -timeout=10 -rss_limit_mb=1024 -max_len=16384 \
		-print_final_stats=1 -artifact_prefix="$out/crashes/$1-" "$corpus" >"$log" 2>&1 || status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	cov=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	echo "$1: runs ${runs:-0}, cov ${cov:-0}"
	if [ "$status" = 0 ] && [ "${runs:-0}" -gt 0 ]; then
		: >"$out/passed/$1"
		return 0
	fi
	grep -E 'broken promise|ERROR|runtime error|Assertion|SUMMARY' "$log" || tail -n 15 "$log"
	input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
	echo "$1: FAILED; all it said: $log"
	if [ -n "$input" ]; then
		echo "    input:     $input"
		echo "    reproduce: $out/bin/fuzz_$1 $input"
		echo "    smaller:   $out/bin/fuzz_$1 -minimize_crash=1 -max_total_time=30 $input"
	fi
	return 1
}

if [ -n "${one-}" ]; then
	build "$one" && try "$one"
	exit
fi
prepare
# shellcheck disable=SC2086 # a list of words
[ "$#" -gt 0 ] || set -- $all
rm -rf "$out/passed"
mkdir "$out/passed"
printf '%s\n' "$@" | xargs -n 1 -P "$(nproc)" sh tests/fuzz/run.sh --one || :
passed=$(find "$out/passed" -type f | wc -l)
failed=$(($# - passed))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
