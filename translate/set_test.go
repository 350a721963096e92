package translate

import (
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
)

const (
	one = "Device.NAT.PortMapping.1."
	two = "Device.NAT.PortMapping.2."
)

// What CPE have against a SetParameterValues is found out, and what can be set
// is set, or nothing where the request wants all or nothing.
func TestSetCopesWithWhatCPERefuse(t *testing.T) {
	six := []assignment{{one + "Description", "d", false}, {one + "ExternalPort", "1", false}, {one + "InternalPort", "2", false},
		{one + "LeaseDuration", "3", false}, {one + "Protocol", "UDP", false}, {one + "InternalClient", "192.0.2.1", false}}
	all := map[string]string{one + "Description": "d", one + "ExternalPort": "1", one + "InternalClient": "192.0.2.1"}
	nothing := map[string]string{one + "Description": "nas web", one + "ExternalPort": "8443", one + "InternalClient": "192.168.1.20"}
	for _, c := range []struct {
		name    string
		profile cpesim.Profile
		with    string // a device profile
		partial bool
		set     []assignment
		after   map[string]string // on the CPE
		failed  string            // what fails, in a word of its error
		calls   int               // SetParameterValues
		learnt  string
	}{
		// Deviation: TP-Link TD-W9970 – booleans are taken as 1 and 0 only; the other spelling is tried once and kept.
		{"digits only", cpesim.Profile{Answers: cpesim.Answers{OnlyDigits: true}}, "", false,
			[]assignment{{one + "Enable", "false", false}}, map[string]string{one + "Enable": "false"}, "", 2, "booleans are taken as digits only"},
		// Deviation: some CPE – booleans are taken as true and false only, though they are reported as 1 and 0; the other spelling is tried once and kept.
		{"words only", cpesim.Profile{BooleansAsDigits: true, Answers: cpesim.Answers{OnlyWords: true}}, "", false,
			[]assignment{{one + "Enable", "false", false}}, map[string]string{one + "Enable": "false"}, "", 2, "booleans are taken as words only"},
		{"digits only, by profile", cpesim.Profile{Answers: cpesim.Answers{OnlyDigits: true}}, "booleans: digits", false,
			[]assignment{{one + "Enable", "false", false}}, map[string]string{one + "Enable": "false"}, "", 1, ""},
		// Deviation: CPE with small buffers – 9004 for many values; they are set in several calls.
		{"9004 above 3 values", cpesim.Profile{Answers: cpesim.Answers{MaxSetValues: 3}}, "", false, six, all, "", 3, "at most 3 values in a SetParameterValues"},
		// Deviation: some CPE – 9002 or 9003 without a reason for many values; fewer are tried, as long as all could be set back.
		{"9003 above 3 values", cpesim.Profile{Answers: cpesim.Answers{MaxSetValues: 3, ManyValuesFault: cwmp.FaultInvalidArguments}}, "", false,
			append(slices.Clone(six), assignment{two + "Description", "e", false}, assignment{two + "InternalPort", "4", false}, assignment{two + "Protocol", "TCP", false}),
			all, "", 7, "at most 2 values in a SetParameterValues"},
		{"4 values by profile", cpesim.Profile{Answers: cpesim.Answers{MaxSetValues: 4}}, "max_values: 4", false, six, all, "", 2, ""},
		{"9004 above 3 values, one of the last refused", cpesim.Profile{Answers: cpesim.Answers{MaxSetValues: 3,
			RefuseToSet: map[cwmp.Path]cwmp.FaultCode{one + "InternalClient": cwmp.FaultInvalidParameterValue}}}, "", false, six, nothing, "InternalClient", 4, ""},
		// Deviation: some CPE – only the outer 9003 without details; of what may fail alone the culprits are found by halving.
		{"unnamed fault, of objects that may fail alone", cpesim.Profile{UnnamedFaults: true, Answers: cpesim.Answers{
			RefuseToSet: map[cwmp.Path]cwmp.FaultCode{one + "Protocol": cwmp.FaultInvalidParameterValue}}}, "", true,
			append(slices.Clone(six), assignment{two + "Description", "e", false}), map[string]string{two + "Description": "e", one + "Description": "nas web"}, "9003", 3, ""},
		{"unnamed fault, of parameters that may fail alone", cpesim.Profile{UnnamedFaults: true, Answers: cpesim.Answers{
			RefuseToSet: map[cwmp.Path]cwmp.FaultCode{one + "Protocol": cwmp.FaultInvalidParameterValue}}}, "", false,
			[]assignment{{one + "Description", "d", false}, {one + "Protocol", "UDP", true}, {one + "InternalPort", "7", true}, {one + "ExternalPort", "8", true}},
			map[string]string{one + "Description": "d", one + "Protocol": "TCP", one + "InternalPort": "7", one + "ExternalPort": "8"}, "9003", 5, ""},
		{"unnamed fault, all or nothing", cpesim.Profile{UnnamedFaults: true, Answers: cpesim.Answers{
			RefuseToSet: map[cwmp.Path]cwmp.FaultCode{one + "InternalClient": cwmp.FaultInvalidParameterValue}}}, "", false, six, nothing, "9003", 1, ""},
		// Deviation: some CPE – a number is reported as a string and refused as one; a profile names the type to send.
		{"types by profile", cpesim.Profile{Answers: cpesim.Answers{ReportsStrings: true}}, `types: {"Device.NAT.PortMapping.{i}.ExternalPort": unsignedInt}`, false,
			[]assignment{{one + "ExternalPort", "9", false}}, map[string]string{one + "ExternalPort": "9"}, "", 1, ""},
		// Deviation: some CPE – what can be set is called read-only; a profile has it tried all the same.
		{"wrong writable flags", cpesim.Profile{Answers: cpesim.Answers{NothingWritable: true}}, "trust_writable: no", false,
			[]assignment{{one + "Description", "d", false}}, map[string]string{one + "Description": "d"}, "", 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var profiles []string
			if c.with != "" {
				profiles = []string{"profile: test\n" + c.with + "\n"}
			}
			r := newRig(t, nil, profiles...)
			u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: &c.profile})
			before := u.Called("SetParameterValues")
			failure := ""
			for _, result := range u.set(c.partial, c.set...) {
				if result.Err != nil {
					failure += result.Err.Error()
				}
				for _, err := range result.Failed {
					failure += err.Error()
				}
			}
			if c.failed == "" && failure != "" || !strings.Contains(failure, c.failed) {
				t.Errorf("failed with %q, want %q", failure, c.failed)
			}
			for path, want := range c.after {
				if got, _ := u.Get(path); got != want {
					t.Errorf("%s is %q on the CPE, want %q", path, got, want)
				}
			}
			if calls := u.Called("SetParameterValues") - before; calls != c.calls {
				t.Errorf("%d calls, want %d", calls, c.calls)
			}
			if facts := u.record().Describe(); c.learnt != "" && !slices.Contains(facts, c.learnt) {
				t.Errorf("%q is not among what was learnt: %q", c.learnt, facts)
			}
		})
	}
}

// Deviation: easycwmp – Status 1, not yet applied, is answered to everything; its profile takes it for 0, so that what was set is known.
func TestStatusThatIsALie(t *testing.T) {
	for _, c := range []struct {
		class  string
		unsure bool
	}{{"easycwmp", false}, {"other", true}} {
		r := newRig(t, nil)
		u := r.add(cpesim.Config{Model: cpesim.TR181(), Identity: cwmp.DeviceID{ProductClass: c.class}, Profile: &cpesim.Profile{Status1Always: true}})
		if result := u.set(false, assignment{one + "Description", "d", false})[0]; result.Err != nil {
			t.Fatal(result.Err)
		}
		if _, known := u.values()[one+"Description"]; known == c.unsure {
			t.Errorf("%s: the value is known: %v", c.class, known)
		}
	}
}

// A parameter that comes into force with a reboot is followed by one.
func TestRebootAfterSet(t *testing.T) {
	r := newRig(t, nil, "profile: test\nreboot_after: [\"Device.NAT.PortMapping.{i}.Description\"]\n")
	u := r.add(cpesim.Config{Model: cpesim.TR181()})
	for _, c := range []struct {
		param   string
		reboots int
	}{{"ExternalPort", 0}, {"Description", 1}} {
		if result := u.set(false, assignment{one + c.param, "7", false})[0]; result.Err != nil {
			t.Fatal(result.Err)
		}
		if n := u.Called("Reboot"); n != c.reboots {
			t.Errorf("%d reboots after %s was set, want %d", n, c.param, c.reboots)
		}
	}
}

// What one device has taught after its discovery holds for the next of its model
// too.
func TestTheNextOfTheModelBeginsWithWhatWasLearnt(t *testing.T) {
	r := newRig(t, nil)
	profile := &cpesim.Profile{Answers: cpesim.Answers{OnlyDigits: true}}
	for i, calls := range []int{2, 1} {
		u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: profile})
		before := u.Called("SetParameterValues")
		if result := u.set(false, assignment{one + "Enable", "false", false})[0]; result.Err != nil {
			t.Fatal(result.Err)
		}
		if n := u.Called("SetParameterValues") - before; n != calls {
			t.Errorf("device %d was sent %d SetParameterValues, want %d", i+1, n, calls)
		}
	}
}
