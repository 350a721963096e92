package translate

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// known returns the values in a tree by their CPE paths.
func known(t *tree.Tree) map[cwmp.Path]string {
	all := make(map[cwmp.Path]string)
	t.ForEach(func(p tree.ParamID, inst dm.Instance, v tree.Value) bool {
		if v.State == tree.Known {
			all[tree.Join(t.Template().Param(p).Path, inst)] = v.Text
		}
		return true
	})
	return all
}

// Whatever a CPE does wrong when it is asked for its names and values, its whole
// tree is found, in few calls, and the next of its model is asked only in ways
// that go well.
func TestCPEAreDiscoveredWhateverTheyDoWrong(t *testing.T) {
	r := newRig(t, nil)
	whole := r.add(cpesim.Config{})
	want := whole.values()
	if len(want) < 800 || whole.record().Rediscover {
		t.Fatalf("a CPE that keeps to the standard has %d values; rediscover %v", len(want), whole.record().Rediscover)
	}
	const crashed = "InternetGatewayDevice.DeviceInfo.SpecVersion"
	const hosts = "InternetGatewayDevice.LANDevice.1.Hosts."
	for _, c := range []struct {
		name     string
		profile  cpesim.Profile
		sessions int // beside the first
		calls    int // names and values, in all of them
		learnt   []string
		without  string // names with this prefix cannot be had
	}{
		// Deviation: Sagemcom – the empty path is refused; others are asked for.
		{"empty path refused, tree kills it", cpesim.Profile{RefuseEmptyPath: true, Answers: cpesim.Answers{DieOnTree: true}}, 3, 50,
			[]string{"names are found by way branches"}, ""},
		// Deviation: some CPE – the empty path is answered with nothing, the tree with nothing; objects are listed one by one.
		{"empty path empty, no subtrees", cpesim.Profile{Answers: cpesim.Answers{EmptyPathIsNothing: true, NoSubtrees: true}}, 0, 400,
			[]string{"names are found by way levels"}, ""},
		// Deviation: Yeacomm – NextLevel 0 is answered with no names; objects are listed one by one.
		{"no subtrees", cpesim.Profile{Answers: cpesim.Answers{NoSubtrees: true}}, 0, 400, []string{"names are found by way levels"}, ""},
		// Deviation: some CPE – asked for the whole tree they loop until the session times out; its objects are asked for one by one in the next session.
		{"tree kills it", cpesim.Profile{Answers: cpesim.Answers{DieOnTree: true}}, 3, 50, []string{"names are found by way branches"}, ""},
		// Deviation: 6 of 138 messages – only parameters are named, no objects; these are made up from them.
		{"leaves only", cpesim.Profile{Answers: cpesim.Answers{LeavesOnly: true}}, 0, 10, nil, ""},
		// Deviation: some CPE – NextLevel 1 is answered with the whole subtree; nothing is asked for again.
		{"whole subtrees", cpesim.Profile{Answers: cpesim.Answers{WholeSubtrees: true, DieOnTree: true}}, 3, 10, []string{"names are found by way branches"}, ""},
		// Deviation: Grandstream – 32 names in a GetParameterValues give 9002; the size is halved and kept.
		{"9002 at 32 names", cpesim.Profile{MaxValueNames: 31, Answers: cpesim.Answers{ManyNamesFault: cwmp.FaultInternalError}}, 0, 60,
			[]string{"at most 25 names in a GetParameterValues"}, ""},
		// Deviation: CPE with small buffers – 9003 or 9004 for many names; the size is halved and kept.
		{"9003 at 9 names", cpesim.Profile{MaxValueNames: 8, Answers: cpesim.Answers{ManyNamesFault: cwmp.FaultInvalidArguments}}, 0, 200,
			[]string{"at most 6 names in a GetParameterValues"}, ""},
		// Deviation: some CPE – too many names break the session; after the second time fewer are asked for.
		{"crashes above 60 names", cpesim.Profile{Answers: cpesim.Answers{DieAboveNames: 60}}, 3, 60, []string{"at most 50 names in a GetParameterValues"}, ""},
		// Deviation: Huawei – fewer values than asked for are answered; those missing are asked for again.
		{"leaves values out", cpesim.Profile{Answers: cpesim.Answers{LeaveOut: 3}}, 0, 60, nil, ""},
		// Deviation: some CPE – one parameter breaks the session whenever it is read; it is found by halving and left out.
		{"crashes on one parameter", cpesim.Profile{Answers: cpesim.Answers{DieOn: []cwmp.Path{crashed}}}, 8, 60, []string{"breaks its session on " + crashed}, crashed},
		// Deviation: some CPE – one object breaks the session whenever it is listed; it is asked for last, then left out.
		{"crashes on one object", cpesim.Profile{Answers: cpesim.Answers{DieOnTree: true, NoSubtrees: true, DieOn: []cwmp.Path{hosts}}}, 8, 500,
			[]string{"breaks its session on " + hosts}, hosts},
		// Deviation: some CPE – a partial path in GetParameterValues breaks the session; none is ever asked for unless a profile allows it.
		{"crashes on partial paths and unknown names", cpesim.Profile{Answers: cpesim.Answers{DieOnPartialPath: true, DieOnUnknown: true}}, 0, 10, nil, ""},
		// Deviation: slow or fragile CPE – the session breaks half-way each time; the next goes on from there.
		{"dies after four calls", cpesim.Profile{MaxValueNames: 100, Answers: cpesim.Answers{DieAfterRPCs: 4}}, 8, 60, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			class := "P" + strings.ReplaceAll(c.name, " ", "-")
			u := r.add(cpesim.Config{Profile: &c.profile, Identity: cwmp.DeviceID{ProductClass: class}})
			u.discover(c.sessions)
			expected := maps.Clone(want)
			maps.DeleteFunc(expected, func(n cwmp.Path, _ string) bool { return c.without != "" && strings.HasPrefix(string(n), c.without) })
			got := u.values()
			if diff := cmp.Diff(slices.Sorted(maps.Keys(expected)), slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("parameters (-want +got):\n%s", diff)
			}
			if calls := u.Called("GetParameterNames") + u.Called("GetParameterValues"); calls > c.calls {
				t.Errorf("%d calls, want at most %d", calls, c.calls)
			}
			facts := u.record().Describe()
			for _, fact := range c.learnt {
				if !slices.Contains(facts, fact) {
					t.Errorf("%q is not among what was learnt: %q", fact, facts)
				}
			}
			sibling := r.add(cpesim.Config{Profile: &c.profile, Identity: cwmp.DeviceID{ProductClass: class}})
			if c.profile.DieAfterRPCs == 0 && sibling.record().Rediscover {
				t.Errorf("the next of the model is not discovered in its first session: %s", sibling.record().Discovery())
			}
			if c.profile.DieAfterRPCs == 0 && c.profile.LeaveOut == 0 {
				for _, e := range sibling.Journal() {
					if e.Fault != nil && strings.HasPrefix(e.RPC, "GetParameter") {
						t.Errorf("the next of the model is asked again what fails: %s, %v", e.RPC, e.Fault)
					}
				}
			}
		})
	}
}
