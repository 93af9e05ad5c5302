#!/bin/sh
# Installs from Debian's packages what mfdrelay needs and this machine lacks; does nothing, at once, when all is there.
#
#   sh contrib/setup.sh             to build the daemon and run every test
#   sh contrib/setup.sh --fuzz      the same, and clang for `make fuzz` and `make lint`
#   sh contrib/setup.sh --runtime   to run a daemon that was built elsewhere
#
# It installs as root or through sudo; else it prints the one line to run. Made for Debian 12.
set -eu

runtime="ca-certificates libc-ares2 libconfig9 libcrypt1 libcurl4 libevent-2.1-7 libevent-openssl-2.1-7 libjansson4 libssl3
	libseccomp2 libsystemd0"

build="gcc libc6-dev make pkg-config libssl-dev libevent-dev libcurl4-openssl-dev libconfig-dev libjansson-dev
	libc-ares-dev libcrypt-dev libseccomp-dev libsystemd-dev"

# The tests: unit (cmocka), system (pytest and real clients; swaks does TLS by Net::SSLeay; a TPM in software, swtpm, where
# tpm2-tools make a key that tpm2-openssl uses), file systems of a test's own, manual pages, the unit file's score. The last
# four are what smtp-source needs, see below, and Postfix in `make bench`.
tests="ca-certificates curl e2fsprogs iproute2 libcmocka-dev libnet-ssleay-perl mandoc mount msmtp openssl procps python3
	python3-pytest python3-pytest-xdist strace swaks swtpm systemd tpm2-openssl tpm2-tools libdb5.3 libicu72 libnsl2
	libsasl2-modules"

fuzz="clang clang-tidy libclang-rt-14-dev"

folder=$(cd "$(dirname "$0")/.." && pwd)
postfix=$folder/.tools/postfix

case "${1-}" in
"") wanted="$build $tests" ;;
--fuzz) wanted="$build $tests $fuzz" ;;
--runtime) wanted=$runtime ;;
-h | --help)
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 0
	;;
*)
	echo "setup.sh: unknown option $1; see: sh contrib/setup.sh --help" >&2
	exit 2
	;;
esac

fail()
{
	echo "setup.sh: $*" >&2
	exit 1
}

# Prints the packages among its arguments that are not installed.
missing_of()
{
	# dpkg-query fails, and still prints the others, where it knows one of them not at all.
	installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || :
	for package; do
		case "
$installed
" in
		*"
$package
"*) ;;
		*) printf ' %s' "$package" ;;
		esac
	done
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

install_packages()
{
	line="apt-get update && apt-get install -y --no-install-recommends$1"
	if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
		echo "setup.sh: packages are missing, and this user cannot install them. Run as root:" >&2
		echo "    $line" >&2
		exit 1
	fi
	echo "setup.sh: installing$1"
	log=$(mktemp)
	# env: sudo drops the environment.
	if ! as_root env DEBIAN_FRONTEND=noninteractive sh -c "$line" </dev/null >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		fail "apt-get failed, its last words are above. Check the network and /etc/apt, then try again, or run as root:
    $line"
	fi
	rm -f "$log"
}

# smtp-source, a client that loads a mail server with many messages at a time, is part of Debian's postfix. That package would
# make this machine a mail server, so its files are only unpacked, into the checkout. Run it as .tools/bin/smtp-source.
fetch_postfix()
{
	echo "setup.sh: unpacking smtp-source and smtp-sink into .tools"
	rm -rf "$postfix.new"
	mkdir -p "$postfix.new/deb" "$folder/.tools/bin"
	(cd "$postfix.new/deb" && apt-get download postfix >/dev/null 2>&1) || {
		as_root apt-get update >/dev/null 2>&1 || :
		(cd "$postfix.new/deb" && apt-get download postfix >/dev/null) ||
			fail "postfix could not be downloaded; check the network and /etc/apt (deb lines of main), then try again"
	}
	dpkg-deb -x "$postfix.new"/deb/*.deb "$postfix.new"
	rm -rf "$postfix.new/deb" "$postfix"
	mv "$postfix.new" "$postfix"
	for tool in smtp-source smtp-sink; do
		{
			echo '#!/bin/sh'
			echo 'here=$(cd "$(dirname "$0")/../postfix/usr" && pwd)'
			echo 'LD_LIBRARY_PATH=$here/lib/postfix exec "$here/sbin/'$tool'" "$@"'
		} >"$folder/.tools/bin/$tool"
		chmod 755 "$folder/.tools/bin/$tool"
	done
}

command -v dpkg-query >/dev/null 2>&1 || fail "this is not Debian; install by hand what stands for: $wanted"
release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME-}") || release=

# shellcheck disable=SC2086 # a list of words
missing=$(missing_of $wanted)
if [ -n "$missing" ]; then
	[ "$release" = bookworm ] ||
		fail "made for Debian 12 (bookworm), whose packages ${release:-this system} may not have; install by hand what stands
    for:$missing"
	install_packages "$missing"
fi
if [ "${1-}" != --runtime ] && ! [ -x "$folder/.tools/bin/smtp-sink" ]; then
	fetch_postfix
fi
