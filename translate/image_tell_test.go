package translate

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// values returns the values that controllers were told of a parameter.
func (r *bench) values(path string) (told []string) {
	for _, e := range r.heard.all(agent.ValueChanged, "") {
		if e.Ref.Path() == path {
			told = append(told, e.Value)
		}
	}
	return told
}

// Each state that an image goes through is told once, in order, before the end of
// what it goes through them for.
func TestImageStatusIsTold(t *testing.T) {
	for _, c := range []struct {
		name  string
		model *cpesim.Model
		want  []string
	}{
		{"TR-098", cpesim.TR098(), []string{"Downloading", "Validating", "Available", "Active"}},
		{"TR-181", cpesim.TR181(), []string{"Downloading", "Available", "Active"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, m, want := newBenchOf(t, cpesim.Config{Model: c.model, Profile: &cpesim.Profile{}}), newMirror(t), c.want
			if end := r.ended(r.detached(images+"2.Download()", m.args(false))); end.Err != nil {
				t.Fatal(end.Err)
			}
			if told := r.values(images + "2.Status"); !slices.Equal(told, want[:len(want)-1]) {
				t.Errorf("told %v when it was downloaded, want %v", told, want[:len(want)-1])
			}
			if end := r.ended(r.detached(images+"2.Activate()", nil)); end.Err != nil {
				t.Fatal(end.Err)
			}
			r.upgraded("6.1.0")
			r.until("it is told to be active", func() bool { return slices.Contains(r.values(images+"2.Status"), "Active") })
			if told := r.values(images + "2.Status"); !slices.Equal(told, want) {
				t.Errorf("told %v, want %v", told, want)
			}
			if got := r.value(images + "2.Status"); got != "Active" {
				t.Errorf("Status is %s", got)
			}
		})
	}
}

// What could not be told is told later, once, after a restart too.
func TestImageStatusIsToldAgain(t *testing.T) {
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{}}), newMirror(t)
	r.heard.failWith(errors.New("the store is full"))
	args := m.args(false)
	args["CheckSum"] = strings.Repeat("00", 32)
	r.detached(images+"2.Download()", args)
	r.until("it has failed", func() bool { return r.value(images+"2.Status") == "ValidationFailed" })
	r.restart()
	if told := r.values(images + "2.Status"); len(told) > 0 {
		t.Fatalf("told %v", told)
	}
	r.heard.failWith(nil)
	r.pass(fetchAgain)
	r.until("all is told", func() bool { return len(r.record().ImageChanges) == 0 })
	if told, want := r.values(images+"2.Status"), []string{"Downloading", "ValidationFailed"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}
