#!/bin/sh
# Runs every fuzz target of the project for FUZZTIME, one after another, and
# names those that failed at the end.
set -u

go=${GO:-go}
time=${FUZZTIME:-1m}
failed=""
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# fuzz runs one target. When its time ends while a worker is busy, the go command
# now and then reports that deadline as a failure; such a run has found nothing:
# a finding always names the input or the stack that failed.
fuzz() {
	if "$go" test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 5x "$1" > "$output" 2>&1; then
		cat "$output"
		return 0
	fi
	cat "$output"
	grep -q '^ *context deadline exceeded$' "$output" && ! grep -qE 'Failing input|panic:|goroutine |_test\.go:[0-9]+' "$output"
}

for file in $(grep -rl --include='*_test.go' '^func Fuzz' .); do
	package=$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		echo "== $package $target"
		fuzz "$package" "$target" || failed="$failed $package:$target"
	done
done
if [ -n "$failed" ]; then
	echo "failed:$failed" >&2
	exit 1
fi
