package translate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// cpe is a Caller that answers as a function says, and counts the calls.
type cpe struct {
	calls  int
	answer func(req cwmp.Message) (cwmp.Message, error)
}

func (c *cpe) Call(_ context.Context, req cwmp.Message) (cwmp.Message, error) {
	c.calls++
	return c.answer(req)
}

// holding answers GetParameterValues from a set of names, with the name's last
// segment as the value; refuse may turn a call down.
func holding(has map[cwmp.Path]bool, refuse func(names []cwmp.Path) error) *cpe {
	return &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
		names := req.(*cwmp.GetParameterValues).Names
		if refuse != nil {
			if err := refuse(names); err != nil {
				return nil, err
			}
		}
		out := &cwmp.GetParameterValuesResponse{}
		for _, n := range names {
			if !has[n] {
				return nil, cwmp.NewFault(cwmp.FaultInvalidParameterName)
			}
			out.Values = append(out.Values, cwmp.ParameterValue{Name: n, Value: cwmp.Value{Text: string(n)}})
		}
		return out, nil
	}}
}

func names(n int) (list []cwmp.Path, set map[cwmp.Path]bool) {
	set = make(map[cwmp.Path]bool, n)
	for i := range n {
		p := cwmp.Path("Device.P" + strconv.Itoa(i))
		list, set[p] = append(list, p), true
	}
	return list, set
}

func TestReadValues(t *testing.T) {
	list, all := names(100)
	without := func(gone ...cwmp.Path) map[cwmp.Path]bool {
		has := make(map[cwmp.Path]bool)
		for p := range all {
			has[p] = true
		}
		for _, g := range gone {
			delete(has, g)
		}
		return has
	}
	for _, c := range []struct {
		name     string
		cpe      *cpe
		max      int
		absent   []cwmp.Path
		learnt   int
		maxCalls int
	}{
		{"all in one call", holding(all, nil), 200, nil, 200, 1},
		{"calls of a known size", holding(all, nil), 30, nil, 30, 4},
		// Deviation: most CPE – refuse a whole GetParameterValues with an unnamed 9005 for one bad name; it is found by bisection, and the others are read
		{"one bad name fails a batch: found by bisection", holding(without("Device.P61"), nil), 200, []cwmp.Path{"Device.P61"}, 200, 15},
		{"two bad names", holding(without("Device.P0", "Device.P99"), nil), 200, []cwmp.Path{"Device.P0", "Device.P99"}, 200, 28},
		// Deviation: Grandstream – answers 9002 to 32 names in one GetParameterValues; the number that it bears is learnt
		{"32 names give 9002: the limit is learnt", holding(all, func(names []cwmp.Path) error {
			if len(names) >= 32 {
				return cwmp.NewFault(cwmp.FaultInternalError)
			}
			return nil
		}), 200, nil, 25, 8},
		{"resources exceeded above 10", holding(all, func(names []cwmp.Path) error {
			if len(names) > 10 {
				return cwmp.NewFault(cwmp.FaultResourcesExceeded)
			}
			return nil
		}), 200, nil, 6, 35},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := readValues(context.Background(), c.cpe, list, c.max)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.absent, r.absent, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("absent (-want +got):\n%s", diff)
			}
			if len(r.values)+len(r.absent) != len(list) {
				t.Errorf("%d values and %d absent of %d", len(r.values), len(r.absent), len(list))
			}
			if r.max != c.learnt {
				t.Errorf("learnt %d names a call, want %d", r.max, c.learnt)
			}
			if c.cpe.calls > c.maxCalls {
				t.Errorf("%d calls, want at most %d", c.cpe.calls, c.maxCalls)
			}
		})
	}
}

// A CPE that leaves names out of its answer is asked for those again for as long
// as that brings any; what it still leaves out is absent.
//
// Deviation: Huawei – answers with fewer values than were asked for; what is missing is asked for again
func TestReadValuesAsksForWhatWasLeftOut(t *testing.T) {
	list, _ := names(10)
	first := true
	c := &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
		out := &cwmp.GetParameterValuesResponse{}
		for i, n := range req.(*cwmp.GetParameterValues).Names {
			if n == "Device.P9" || first && i%2 == 1 {
				continue
			}
			out.Values = append(out.Values, cwmp.ParameterValue{Name: n})
		}
		first = false
		return out, nil
	}}
	r, err := readValues(context.Background(), c, list, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.values) != 9 || len(r.absent) != 1 || r.absent[0] != "Device.P9" || c.calls != 3 {
		t.Errorf("%d values, absent %v, %d calls; want 9, [Device.P9], 3", len(r.values), r.absent, c.calls)
	}
}

func TestReadValuesEndsWithTheSession(t *testing.T) {
	list, _ := names(10)
	c := &cpe{answer: func(cwmp.Message) (cwmp.Message, error) { return nil, fmt.Errorf("x: %w", acs.ErrSessionLost) }}
	if _, err := readValues(context.Background(), c, list, 0); !errors.Is(err, acs.ErrSessionLost) || c.calls != 1 {
		t.Errorf("got %v after %d calls, want ErrSessionLost after one", err, c.calls)
	}
}

// tree answers GetParameterNames from a list of names.
func treeOf(list []cwmp.Path, refuse func(req *cwmp.GetParameterNames) error) *cpe {
	return &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
		if get, ok := req.(*cwmp.GetParameterValues); ok {
			out := &cwmp.GetParameterValuesResponse{}
			for _, n := range get.Names {
				out.Values = append(out.Values, cwmp.ParameterValue{Name: n, Value: cwmp.Value{Type: cwmp.TypeString}})
			}
			return out, nil
		}
		get := req.(*cwmp.GetParameterNames)
		if err := refuse(get); err != nil {
			return nil, err
		}
		out := &cwmp.GetParameterNamesResponse{}
		level := map[cwmp.Path]bool{}
		for _, n := range list {
			rest, under := strings.CutPrefix(string(n), string(get.Path))
			if !under {
				continue
			}
			if get.NextLevel {
				if i := strings.IndexByte(rest, '.'); i >= 0 {
					n = get.Path + cwmp.Path(rest[:i+1])
				}
			}
			if !level[n] {
				level[n] = true
				out.Parameters = append(out.Parameters, cwmp.ParameterInfo{Name: n})
			}
		}
		return out, nil
	}}
}

func TestDiscoverCopesWithHowCPEListTheirNames(t *testing.T) {
	igd := []cwmp.Path{"InternetGatewayDevice.DeviceInfo.UpTime", "InternetGatewayDevice.LANDevice.1.Hosts.HostNumberOfEntries", "InternetGatewayDevice.LANDevice.1.Hosts.Host.1.Active"}
	dev := []cwmp.Path{"Device.DeviceInfo.UpTime", "Device.Hosts.Host.1.Active"}
	refused := cwmp.NewFault(cwmp.FaultInvalidParameterName)
	for _, c := range []struct {
		name    string
		informs cwmp.Path
		has     []cwmp.Path
		refuse  func(*cwmp.GetParameterNames) error
		root    cwmp.Path
		leaves  int
	}{
		{"whole tree under the root", "InternetGatewayDevice.", igd, func(*cwmp.GetParameterNames) error { return nil }, "InternetGatewayDevice.", 3},
		// Deviation: several CPE – refuse GetParameterNames of their root; the empty path is tried
		{"root refused, empty path taken", "InternetGatewayDevice.", igd, func(g *cwmp.GetParameterNames) error {
			if g.Path != "" {
				return refused
			}
			return nil
		}, "InternetGatewayDevice.", 3},
		// Deviation: Google Fiber – informs with InternetGatewayDevice and answers with Device; the root that answers is taken
		{"informs with one root, has the other", "InternetGatewayDevice.", dev, func(g *cwmp.GetParameterNames) error {
			if g.Path == "" || g.Path == "InternetGatewayDevice." {
				return refused
			}
			return nil
		}, "Device.", 2},
		// Deviation: several CPE – refuse to list their whole tree at once; it is listed level by level
		{"only level by level", "InternetGatewayDevice.", igd, func(g *cwmp.GetParameterNames) error {
			if !g.NextLevel {
				return cwmp.NewFault(cwmp.FaultResourcesExceeded)
			}
			return nil
		}, "InternetGatewayDevice.", 3},
		// Deviation: several CPE – refuse to list an object that they name; the others are listed
		{"level by level, one object cannot be listed", "InternetGatewayDevice.", igd, func(g *cwmp.GetParameterNames) error {
			if !g.NextLevel || strings.HasSuffix(string(g.Path), "Host.") {
				return refused
			}
			return nil
		}, "InternetGatewayDevice.", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := discover(context.Background(), treeOf(c.has, c.refuse), plan{root: c.informs, ways: mapping.Ways()})
			if err != nil {
				t.Fatal(err)
			}
			if d.root != c.root || len(d.values) != c.leaves {
				t.Errorf("root %s with %d values, want %s with %d", d.root, len(d.values), c.root, c.leaves)
			}
		})
	}
	nothing := treeOf(nil, func(*cwmp.GetParameterNames) error { return nil })
	if _, err := discover(context.Background(), nothing, plan{root: "Device.", ways: mapping.Ways()}); err == nil {
		t.Error("a CPE that names nothing was discovered")
	}
}
