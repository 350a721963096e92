package translate

import (
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
)

const (
	ping       = "Device.IP.Diagnostics.IPPing()"
	trace      = "Device.IP.Diagnostics.TraceRoute()"
	pingObject = "Device.IP.Diagnostics.IPPing."
	testHost   = "198.51.100.7"
)

// pingArgs are the mandatory arguments of IPPing(), for a number of repetitions.
func pingArgs(host, repetitions string) map[string]string {
	return map[string]string{"Host": host, "ProtocolVersion": "Any", "NumberOfRepetitions": repetitions, "Timeout": "1000", "DataBlockSize": "64"}
}

// However a CPE tells that a diagnostic has ended, its results come back once.
func TestDiagnostic(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile *cpesim.Profile
		polls   bool
	}{
		{"as the standard has it", nil, false},
		// Deviation: many CPE – no "8 DIAGNOSTICS COMPLETE"; the state is asked for
		{"told nothing", &cpesim.Profile{NoDiagnosticsComplete: true}, true},
		{"answer lost", &cpesim.Profile{DieAfter: "SetParameterValues", DieOnce: true}, false},
		{"request lost", &cpesim.Profile{DieAt: "SetParameterValues", DieOnce: true}, false},
		{"sessions later", &cpesim.Profile{DiagnosticsTime: 300 * time.Millisecond}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, nil)
			if c.profile != nil {
				r.behave(*c.profile)
			}
			request := r.detached(ping, pingArgs(testHost, "7"))
			if !c.polls {
				r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
			} else {
				r.until("the CPE is done", func() bool { s, _ := r.cpe.Get(pingObject + "DiagnosticsState"); return s == "Complete" })
				r.pass(firstPoll)
			}
			end := r.ended(request)
			if end.Err != nil || end.Args["Status"] != "Complete" || end.Args["SuccessCount"] != "7" {
				t.Fatalf("ended %v with %v", end.Err, end.Args)
			}
			for arg, got := range end.Args {
				if want, ok := r.cpe.Get(pingObject + arg); ok && got != want {
					t.Errorf("%s is %q, on the CPE %q", arg, got, want)
				}
			}
		})
	}
}

// A test that failed is no command that failed: its Status tells.
func TestDiagnosticWithErrorStatus(t *testing.T) {
	r := newBench(t, nil)
	if end := r.ended(r.detached(ping, pingArgs("nobody.invalid", "2"))); end.Err != nil || end.Args["Status"] != "Error_CannotResolveHostName" {
		t.Errorf("ended %v with %v", end.Err, end.Args)
	}
}

// Result tables have their rows numbered from 1, with the names that USP has for
// what TR-098 calls otherwise.
func TestDiagnosticTables(t *testing.T) {
	for _, model := range []*cpesim.Model{cpesim.TR181(), cpesim.TR098()} {
		r := newBenchOf(t, cpesim.Config{Model: model, Profile: &cpesim.Profile{}})
		for range 2 { // the second time the CPE numbers its rows otherwise
			end := r.ended(r.detached(trace, map[string]string{"Host": testHost, "ProtocolVersion": "Any"}))
			if end.Err != nil || end.Args["RouteHops.1.Host"] == "" || end.Args["RouteHops.3.Host"] != testHost || end.Args["RouteHops.4.Host"] != "" {
				t.Errorf("ended %v with %v", end.Err, end.Args)
			}
		}
	}
}

// What is left out is as the CPE has it by itself, not as the last one left it
// (TR-369 R-OPR.7).
func TestDiagnosticDefaults(t *testing.T) {
	r := newBench(t, nil)
	args := map[string]string{"Host": testHost, "ProtocolVersion": "IPv4", "NumberOfTries": "1", "Timeout": "250"}
	if end := r.ended(r.detached(trace, args)); end.Err != nil {
		t.Fatal(end.Err)
	}
	if v, _ := r.cpe.Get("Device.IP.Diagnostics.TraceRoute.Timeout"); v != "250" {
		t.Fatalf("Timeout was set to %s", v)
	}
	if end := r.ended(r.detached(trace, map[string]string{"Host": testHost, "ProtocolVersion": "Any"})); end.Err != nil {
		t.Fatal(end.Err)
	}
	for name, want := range map[string]string{"NumberOfTries": "3", "Timeout": "5000", "ProtocolVersion": "Any"} {
		if v, _ := r.cpe.Get("Device.IP.Diagnostics.TraceRoute." + name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
}

// Two that want the same object get it one after the other; one that wants
// another does not wait.
func TestDiagnosticsTakeTurns(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DiagnosticsTime: 100 * time.Millisecond})
	first := r.detached(ping, pingArgs(testHost, "1"))
	second := r.detached(ping, pingArgs("198.51.100.8", "2"))
	for i, request := range []uint32{first, second} {
		if end := r.ended(request); end.Err != nil || end.Args["SuccessCount"] != []string{"1", "2"}[i] {
			t.Errorf("%d: ended %v with %v", i+1, end.Err, end.Args)
		}
	}
}

// What ends a diagnostic without results is told as what it is.
func TestDiagnosticFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile cpesim.Profile
		then    func(r *bench) // when the CPE has it
		want    string
	}{
		{"the CPE reboots", cpesim.Profile{RebootInDiagnostics: true}, nil, "rebooted"},
		{"it never ends", cpesim.Profile{StuckDiagnostics: true}, func(r *bench) { r.pass(diagnosticTime + time.Minute) }, "called off"},
		{"another manager changes it", cpesim.Profile{StuckDiagnostics: true}, func(r *bench) {
			for name, v := range map[string]string{"Host": "203.0.113.9", "DiagnosticsState": "Complete"} {
				if err := r.cpe.Set(pingObject+name, v); err != nil {
					r.t.Fatal(err)
				}
			}
			r.inform()
		}, "changed " + pingObject + "Host"},
		{"another manager calls it off", cpesim.Profile{StuckDiagnostics: true}, func(r *bench) {
			if err := r.cpe.Set(pingObject+"DiagnosticsState", "None"); err != nil {
				r.t.Fatal(err)
			}
			r.inform()
		}, "called it off"},
		{"the CPE refuses", cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"SetParameterValues": cwmp.FaultRequestDenied}}, nil, "CWMP fault 9001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, nil)
			r.behave(c.profile)
			request := r.detached(ping, pingArgs(testHost, "1"))
			if c.then != nil {
				r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
				c.then(r)
			}
			if end := r.ended(request); end.Err == nil || !strings.Contains(end.Err.Error(), c.want) {
				t.Errorf("ended %v with %v, want %q", end.Err, end.Args, c.want)
			}
			r.behave(cpesim.Profile{})
			if end := r.ended(r.detached(ping, pingArgs(testHost, "3"))); end.Err != nil {
				t.Errorf("the next one ended %v", end.Err)
			}
		})
	}
}

// One that another manager has running is waited for.
func TestDiagnosticOfAnother(t *testing.T) {
	r := newBench(t, nil)
	if err := r.cpe.Set(pingObject+"DiagnosticsState", "Requested"); err != nil {
		t.Fatal(err)
	}
	request := r.detached(ping, pingArgs(testHost, "4"))
	r.until("it was seen", func() bool {
		wait := r.record().operation(request).NotBefore.Sub(r.clock.now())
		return 0 < wait && wait < 2*pollEvery && r.acs.Sessions() == 0 // which may look at it twice
	})
	if err := r.cpe.Set(pingObject+"DiagnosticsState", "Complete"); err != nil {
		t.Fatal(err)
	}
	r.pass(pollEvery)
	if end := r.ended(request); end.Err != nil || end.Args["SuccessCount"] != "4" {
		t.Errorf("ended %v with %v", end.Err, end.Args)
	}
}

// Wrong arguments are refused by name.
func TestDiagnosticArguments(t *testing.T) {
	r := newBench(t, nil)
	for name, value := range map[string]string{"NumberOfRepetitions": "0", "DataBlockSize": "a", "ProtocolVersion": "IPv5", "Interface": "Device.IP.Interface.99"} {
		args := pingArgs(testHost, "1")
		args[name] = value
		_, _, err := r.operate(ping, args)
		if e := usp.AsError(err, ""); e == nil || e.Code != usp.ErrInvalidCommandArguments || !strings.HasPrefix(e.Msg, name+": ") {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	args := pingArgs(testHost, "1")
	args["Interface"], args["Unheard"] = "Device.IP.Interface.1.", "of" // TR-369 R-OPR.6
	if end := r.ended(r.detached(ping, args)); end.Err != nil {
		t.Error(end.Err)
	}
	if v, _ := r.cpe.Get(pingObject + "Interface"); v != "Device.IP.Interface.1" {
		t.Errorf("Interface is %q", v)
	}
}

// Cancel() stops what the CPE has, and gives the next its turn.
func TestDiagnosticCanceled(t *testing.T) {
	r := newBench(t, nil)
	r.behave(cpesim.Profile{StuckDiagnostics: true})
	first := r.detached(ping, pingArgs(testHost, "1"))
	r.until("the CPE has it", func() bool { return r.record().operation(first).State == OperationAccepted })
	second := r.detached(ping, pingArgs(testHost, "2"))
	if err := r.model().Cancel(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	r.until("it is the next one's turn", func() bool { return r.record().operation(second).State == OperationAccepted })
	r.behave(cpesim.Profile{})
	r.inform()
	if end := r.ended(first); usp.AsError(end.Err, "").Code != usp.ErrCommandCanceled {
		t.Errorf("ended %v", end.Err)
	}
	if end := r.ended(second); end.Err != nil || end.Args["SuccessCount"] != "2" {
		t.Errorf("the next ended %v with %v", end.Err, end.Args)
	}
}

// A diagnostic outlives the bridge.
func TestDiagnosticOutlivesBridge(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DiagnosticsTime: 200 * time.Millisecond})
	request := r.detached(ping, pingArgs(testHost, "5"))
	r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
	r.restart()
	r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
	if end := r.ended(request); end.Err != nil || end.Args["SuccessCount"] != "5" {
		t.Errorf("ended %v with %v", end.Err, end.Args)
	}
}

// Neither the store nor the record has a diagnostic's arguments in the clear:
// there are passwords among them.
func TestDiagnosticArgumentsAreSealed(t *testing.T) {
	r := newBench(t, &cpesim.Profile{StuckDiagnostics: true})
	request := r.detached("Device.IP.Diagnostics.DownloadDiagnostics()", map[string]string{"DownloadURL": "http://u:secret-word@files.example.net/x", "ProtocolVersion": "Any"})
	r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
	if text := string(r.record().encode()); strings.Contains(text, "secret-word") {
		t.Error("the password is in the record")
	}
}
