package translate

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

const portMappings = "Device.NAT.PortMapping."

// add creates a port mapping as the agent does, while the CPE comes again and
// again.
func (r *bench) add(port string) agent.AddResult {
	r.t.Helper()
	m := r.model()
	table := m.Schema().Lookup(portMappings)
	done := make(chan agent.AddResult, 1)
	go func() {
		done <- m.Add(context.Background(), []agent.NewRow{{Table: dm.Ref{Node: table},
			Params: []agent.Assignment{{Param: table.Child("ExternalPort"), Value: port, Required: true}}}}, false)[0]
	}()
	for {
		select {
		case result := <-done:
			return result
		default:
			r.inform()
		}
	}
}

// rows returns the CPE's own port mappings, by their external ports.
func (r *bench) rows() (ports []string) {
	for _, n := range []string{"1", "2", "3", "4", "5", "6"} {
		if port, ok := r.cpe.Get(portMappings + n + ".ExternalPort"); ok {
			ports = append(ports, port)
		}
	}
	return ports
}

// Whatever gets lost between AddObject and the end of an Add, there is one row
// more, or none if it fails.
func TestAddSettles(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile cpesim.Profile
		adds    int
		code    usp.ErrorCode
	}{
		{"nothing lost", cpesim.Profile{}, 1, 0},
		{"answer lost", cpesim.Profile{DieAfter: "AddObject", DieOnce: true}, 1, 0},
		{"request lost", cpesim.Profile{DieAt: "AddObject", DieOnce: true}, 1, 0},
		{"values lost", cpesim.Profile{DieAt: "SetParameterValues", DieOnce: true}, 1, 0},
		{"refused", cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"AddObject": 9002}}, 1, usp.ErrObjectNotCreated},
		// Deviation: field CPE – AddObject fails inside a success, with the fault as Status and instance 0; it is a fault
		{"refused by a success", cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"AddObject": 9004}, FaultsAsStatus: true}, 1, usp.ErrResourcesExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, nil)
			r.behave(c.profile)
			before := r.rows()
			result := r.add("8088")
			if c.code != 0 {
				if result.Err == nil || result.Err.Code != c.code || !slices.Equal(r.rows(), before) {
					t.Errorf("got %v, rows %v", result.Err, r.rows())
				}
			} else if result.Err != nil || !slices.Equal(r.rows(), append(before, "8088")) {
				t.Errorf("got %v, rows %v", result.Err, r.rows())
			}
			if n := r.calls("AddObject"); n != c.adds {
				t.Errorf("AddObject was carried out %d times, want %d", n, c.adds)
			}
			r.inform()
			if rec := r.record(); len(rec.Adds)+len(rec.Orphans) != 0 {
				t.Errorf("left: %+v %v", rec.Adds, rec.Orphans)
			}
		})
	}
}

// The bridge dies in an Add: the controller got no answer, and the row goes.
func TestRestartInAdd(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile cpesim.Profile
		rows    int // that somebody else has added meanwhile
		want    int // rows more than before
	}{
		{"AddObject is not answered", cpesim.Profile{DieAfter: "AddObject", DieOnce: true}, 0, 0},
		{"AddObject has not arrived", cpesim.Profile{DieAt: "AddObject"}, 0, 0},
		{"the values are not written", cpesim.Profile{DieAt: "SetParameterValues"}, 0, 0},
		{"another's row has come too", cpesim.Profile{DieAt: "SetParameterValues"}, 1, 1},
		{"it cannot be told whose row is whose", cpesim.Profile{DieAfter: "AddObject", DieOnce: true}, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, nil)
			r.behave(c.profile)
			before := r.rows()
			m := r.model()
			table := m.Schema().Lookup(portMappings)
			over := make(chan agent.AddResult, 1)
			go func() {
				over <- m.Add(context.Background(), []agent.NewRow{{Table: dm.Ref{Node: table},
					Params: []agent.Assignment{{Param: table.Child("ExternalPort"), Value: "8088", Required: true}}}}, false)[0]
			}()
			broke := func() bool { return r.fleet.Stats().FailedSessions > 0 }
			r.until("the session breaks", broke)
			r.end()
			if result := <-over; result.Err == nil {
				t.Fatal("it was answered")
			}
			for range c.rows {
				if _, err := r.cpe.AddRow(portMappings); err != nil {
					t.Fatal(err)
				}
			}
			r.start()
			r.inform()
			r.inform()
			if n := len(r.rows()) - len(before); n != c.want {
				t.Errorf("%d rows more than before: %v", n, r.rows())
			}
			if rec := r.record(); len(rec.Adds)+len(rec.Orphans) != 0 {
				t.Errorf("left: %+v %v", rec.Adds, rec.Orphans)
			}
		})
	}
}

// Deviation: field CPE – AddObject answered without an instance number; the row is looked for
func TestAddObjectWithoutNumber(t *testing.T) {
	r := newBench(t, nil)
	dev, err := r.bridge.devices.acquire(t.Context(), r.cpe.Identity().Key())
	if err != nil {
		t.Fatal(err)
	}
	defer r.bridge.devices.release(dev)
	rows := []cwmp.ParameterInfo{{Name: portMappings + "1."}}
	c := &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
		if _, add := req.(*cwmp.AddObject); add {
			rows = append(rows, cwmp.ParameterInfo{Name: portMappings + "7."})
			return &cwmp.AddObjectResponse{}, nil
		}
		return &cwmp.GetParameterNamesResponse{Parameters: rows}, nil
	}}
	w := &creation{plan: mapping.Plan{AddObject: portMappings}, row: agent.NewRow{Table: dm.Ref{Node: r.model().Schema().Lookup(portMappings)}}}
	if err := r.bridge.addObject(t.Context(), c, dev, w); err != nil || w.number != 7 {
		t.Errorf("number %d, %v, %v", w.number, w.result.Err, err)
	}
	if adds := dev.state.Load().rec.Adds; len(adds) != 1 || adds[0].Number != 7 || !slices.Equal(adds[0].Before, []uint32{1}) {
		t.Errorf("pending %+v", adds)
	}
	if err := r.bridge.endAdds(t.Context(), dev, []*creation{w}); err != nil {
		t.Fatal(err)
	}
}

// A row is deleted once; after a broken session the CPE is looked at.
func TestDeleteSettles(t *testing.T) {
	for name, profile := range map[string]cpesim.Profile{
		"nothing lost": {},
		"answer lost":  {DieAfter: "DeleteObject", DieOnce: true},
		"request lost": {DieAt: "DeleteObject", DieOnce: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newBench(t, nil)
			r.behave(profile)
			added := r.add("8088")
			if added.Err != nil {
				t.Fatal(added.Err)
			}
			before := r.rows()
			done := make(chan error, 1)
			go func() { done <- r.model().Delete(context.Background(), []dm.Ref{added.Row}, false)[0] }()
			for waiting := true; waiting; {
				select {
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					waiting = false
				default:
					r.inform()
				}
			}
			if got := strings.Join(r.rows(), " "); got != strings.Join(before[:len(before)-1], " ") {
				t.Errorf("rows %v after %v", r.rows(), before)
			}
			if n := r.calls("DeleteObject"); n != 1 {
				t.Errorf("DeleteObject was carried out %d times", n)
			}
		})
	}
}

// A fault hides in the Status of an answer.
func TestStatusFault(t *testing.T) {
	for _, c := range []struct {
		answer cwmp.Message
		want   bool
	}{
		{&cwmp.AddObjectResponse{Status: 9005}, true},
		{&cwmp.DeleteObjectResponse{Status: 9005}, true},
		{&cwmp.SetParameterValuesResponse{Status: 9003}, true},
		{&cwmp.DownloadResponse{Status: 9010}, true},
		{&cwmp.UploadResponse{Status: 9011}, true},
		{&cwmp.AddObjectResponse{Status: 1, InstanceNumber: 1}, false},
		{&cwmp.SetParameterValuesResponse{Status: 1}, false},
		{&cwmp.RebootResponse{}, false},
	} {
		if err := statusFault(c.answer); isFault(err) != c.want {
			t.Errorf("%+v: %v", c.answer, err)
		}
	}
}
