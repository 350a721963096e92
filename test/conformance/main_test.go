package conformance

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/uspbridge/uspbridge/test/testenv"
)

var (
	update    = flag.Bool("update", false, "write docs/conformance.md anew")
	planTimes = flag.Bool("plan-times", false, "use the intervals that the plan names in place of shorter ones")
)

// sideBySide is how many cases are played at once. They wait far more than they
// compute: for timers, and for brokers.
const sideBySide = 24

// program is bin/uspbridge, for all tests.
var program *testenv.Program

func TestMain(m *testing.M) {
	flag.Parse()
	err := flag.Set("test.parallel", strconv.Itoa(sideBySide))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if program, err = testenv.NewProgram(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := program.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
