# Prints the output of `go test -bench` as one table: a line a benchmark, the
# usual columns first, then the benchmark's own metrics by name.
BEGIN {
	format = "%-22s %-44s %12s %14s %12s %10s  %s\n"
	printf format, "package", "benchmark", "runs", "ns/op", "B/op", "allocs/op", "more"
}
$1 == "pkg:" { package = $2; sub(/^.*\/uspbridge\//, "", package) }
/^Benchmark/ && NF >= 4 {
	name = $1
	sub(/^Benchmark/, "", name)
	ns = bytes = allocs = "-"
	more = ""
	for (i = 3; i < NF; i += 2) {
		if ($(i + 1) == "ns/op") ns = $i
		else if ($(i + 1) == "B/op") bytes = $i
		else if ($(i + 1) == "allocs/op") allocs = $i
		else more = more $i " " $(i + 1) "  "
	}
	printf format, package, name, $2, ns, bytes, allocs, more
}
/^(FAIL|---)/ { print; failed = 1 }
END { exit failed }
