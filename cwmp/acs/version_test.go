package acs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// TestRPCOfALaterVersion: what a CPE's version does not have is refused here, and
// the session goes on; what a CPE has itself sent in its version is answered in it.
func TestRPCOfALaterVersion(t *testing.T) {
	f := newFleet()
	f.request = func(cwmp.Message) (cwmp.Message, error) { return &cwmp.AutonomousTransferCompleteResponse{}, nil }
	f.serve = f.calling(&cwmp.ScheduleDownload{}, gpv)
	_, url := listen(t, acs.Config{Fleet: f})
	c := newCPE(t, url)
	c.post(envelope("1", informOf("A")))
	if got, text := c.post(envelope("2", `<c:AutonomousTransferComplete/>`)); got != "AutonomousTransferCompleteResponse" || !strings.Contains(text, "cwmp-1-0") {
		t.Errorf("a request of CWMP 1.1 in the namespace of 1.0 is answered with %s", text)
	}
	if got, _ := c.post(""); got != "GetParameterValues" {
		t.Errorf("a CPE of CWMP 1.0 is asked for %s", got)
	}
	if !slices.Contains(f.notes(), "ScheduleDownload: fault 9000") {
		t.Errorf("ScheduleDownload is not refused: %q", f.notes())
	}
	c.say("GetParameterValuesResponse")
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
