#!/bin/sh
# Installs what the tests need besides Go: a C compiler for the race detector,
# brokers, an XMPP server, a NAT and a schema validator. It asks for nothing that is there already, and
# installs only where it can: on Debian, as root.
set -eu

wanted="gcc:gcc libc6-dev:/usr/include/stdlib.h mosquitto:/usr/sbin/mosquitto rabbitmq-server:/usr/sbin/rabbitmq-server activemq:/usr/bin/activemq libxml2-utils:xmllint prosody:prosody iproute2:ip iptables:iptables procps:sysctl"
missing=""
for entry in $wanted; do
	package=${entry%%:*}
	probe=${entry#*:}
	case $probe in
	/*) [ -e "$probe" ] || missing="$missing $package" ;;
	*) PATH="$PATH:/usr/sbin:/sbin" command -v "$probe" >/dev/null 2>&1 || missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "test/setup.sh: not installed:$missing" >&2
	echo "test/setup.sh: install them, or run as root on Debian; tests that need them are skipped, and go test -race needs gcc" >&2
	exit 0
fi

# The brokers are started by the tests, on ports of their own: their packages
# must not start them as services.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
	trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
apt-get install -y -qq --no-install-recommends $missing
