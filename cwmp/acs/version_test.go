package acs_test

import (
	"context"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// TestRPCOfALaterVersion: what the fleet wants of a CPE is sent in the CPE's
// namespace, which need not have it, and what a CPE has sent in its namespace is
// answered in it.
func TestRPCOfALaterVersion(t *testing.T) {
	f := newFleet()
	f.request = func(cwmp.Message) (cwmp.Message, error) { return &cwmp.AutonomousTransferCompleteResponse{}, nil }
	f.serve = f.calling(&cwmp.GetAllQueuedTransfers{})
	_, url := listen(t, acs.Config{Fleet: f})
	c := newCPE(t, url)
	c.post(envelope("1", informOf("A")))
	if got, text := c.post(envelope("2", `<c:AutonomousTransferComplete/>`)); got != "AutonomousTransferCompleteResponse" || !strings.Contains(text, "cwmp-1-0") {
		t.Errorf("a request of CWMP 1.1 in the namespace of 1.0 is answered with %s", text)
	}
	if got, text := c.post(""); got != "GetAllQueuedTransfers" || !strings.Contains(text, "cwmp-1-0") {
		t.Errorf("a CPE of CWMP 1.0 is asked for %s", text)
	}
}

// TestSpeaks: a CPE says in its Inform what it speaks besides what its namespace
// tells.
func TestSpeaks(t *testing.T) {
	for _, tt := range []struct {
		namespace, supported string
		speaks               cwmp.Version
	}{
		{"cwmp-1-0", "", cwmp.Version1_0},
		{"cwmp-1-1", "", cwmp.Version1_1},
		{"cwmp-1-2", "1.0,1.1,1.2,1.3,1.4", cwmp.Version1_4},
		{"cwmp-1-0", "1.0, 1.2", cwmp.Version1_2},
		{"cwmp-1-2", "1.0", cwmp.Version1_2},
		{"cwmp-1-0", "1.9,2.0,,x", cwmp.Version1_0},
	} {
		f := newFleet()
		speaks := make(chan cwmp.Version, 1)
		f.serve = func(_ context.Context, s *acs.Session) error {
			speaks <- s.Through(nil).Speaks()
			return nil
		}
		_, url := listen(t, acs.Config{Fleet: f})
		c := newCPE(t, url)
		inform := strings.Replace(envelope("1", informOf("A")), "cwmp-1-0", tt.namespace, 1)
		c.post(strings.Replace(inform, "</E:Header>", "<c:SupportedCWMPVersions>"+tt.supported+"</c:SupportedCWMPVersions></E:Header>", 1))
		if got, _ := c.post(""); got != "204" {
			t.Fatalf("%+v: the session ends with %s", tt, got)
		}
		if got := <-speaks; got != tt.speaks {
			t.Errorf("%+v: it speaks %v", tt, got)
		}
	}
}

// TestAnswerInAnotherNamespace: the session keeps to the version of its Inform.
//
// Deviation: easycwmp – answers a cwmp-1-0 request in cwmp-1-2; the answer is read, and what follows is written in the namespace of the Inform
func TestAnswerInAnotherNamespace(t *testing.T) {
	f := newFleet()
	f.serve = f.calling(gpv, gpv)
	_, url := listen(t, acs.Config{Fleet: f})
	c := newCPE(t, url)
	c.post(envelope("1", informOf("A")))
	c.post("")
	if got, text := c.post(strings.Replace(envelope("", getValues), "cwmp-1-0", "cwmp-1-2", 1)); got != "GetParameterValues" || !strings.Contains(text, "cwmp-1-0") {
		t.Errorf("after an answer in cwmp-1-2 the ACS goes on with %s", text)
	}
	c.say("GetParameterValuesResponse")
}
