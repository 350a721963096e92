package acs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// fate is what becomes of one POST of the CPE.
type fate string

const (
	arrives     fate = "arrives"     // and so does its answer
	neverLeft   fate = "never left"  // lost on the way to the ACS
	answerLost  fate = "answer lost" // the ACS has it; the connection breaks before the answer
	tooPatient  fate = "too patient" // the CPE waits no longer than the ACS needs
	rebootFirst fate = "reboot"      // the CPE loses its power instead
	repeats     fate = "repeats"     // the CPE says the same twice, each on a connection
	emptyFirst  fate = "empty first" // an empty POST comes before it
	tellsFirst  fate = "tells first" // a TransferComplete comes before it
)

var fates = []fate{arrives, arrives, arrives, arrives, neverLeft, answerLost, tooPatient, rebootFirst, repeats, emptyFirst, tellsFirst}

// script is one run of TestNothingIsDoneTwice: the jobs, and what becomes of the
// CPE's POSTs, one after another; those beyond arrive.
type script struct {
	jobs    []string // kinds
	fates   []fate
	cookie  bool          // the CPE returns it
	resumes bool          // after a break it goes on with the session, rather than begin anew
	thinks  time.Duration // the ACS, before each RPC
}

func drawScript(r *rapid.T) script {
	return script{
		jobs:    rapid.SliceOfN(rapid.SampledFrom([]string{"AddObject", "Download", "Reboot", "GetParameterValues"}), 1, 5).Draw(r, "jobs"),
		fates:   rapid.SliceOfN(rapid.SampledFrom(fates), 0, 20).Draw(r, "fates"),
		cookie:  rapid.Bool().Draw(r, "cookie"),
		resumes: rapid.Bool().Draw(r, "resumes"),
		thinks:  time.Duration(rapid.IntRange(0, 2).Draw(r, "thinks")) * time.Second,
	}
}

// TestNothingIsDoneTwice: whatever breaks, each AddObject, Download and Reboot
// reaches the CPE once at most, each job ends, with what the CPE has answered or
// with an error that says what happened, and nothing is left of the sessions.
func TestNothingIsDoneTwice(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := drawScript(r)
		var outcome run
		synctest.Test(t, func(t *testing.T) { outcome = s.play(t) })
		if wrong := outcome.wrong(s); len(wrong) > 0 {
			r.Fatalf("%s\n%s", strings.Join(wrong, "\n"), strings.Join(outcome.said, "\n"))
		}
	})
}

// run is what came of a script.
type run struct {
	reached  []int   // how often each job's RPC reached the CPE
	errs     []error // of each job
	sessions int     // open at the end
	entries  int
	said     []string // the dialogue
}

func (o *run) wrong(s script) (wrong []string) {
	for i, kind := range s.jobs {
		err := o.errs[i]
		switch n := o.reached[i]; {
		case kind != "GetParameterValues" && n > 1:
			wrong = append(wrong, fmt.Sprintf("%s of job %d reached the CPE %d times", kind, i, n))
		case err == nil && n == 0:
			wrong = append(wrong, fmt.Sprintf("%s of job %d was answered and never reached the CPE", kind, i))
		case err != nil && !errors.Is(err, acs.ErrSessionLost) && !errors.Is(err, acs.ErrNoContact):
			wrong = append(wrong, fmt.Sprintf("%s of job %d ended with %v", kind, i, err))
		}
	}
	if o.sessions != 0 || o.entries != 0 {
		wrong = append(wrong, fmt.Sprintf("%d sessions and %d entries are left", o.sessions, o.entries))
	}
	return wrong
}

// rpc is the RPC of a job, which its CommandKey or its object tells.
func rpc(kind string, job int) cwmp.Message {
	key := fmt.Sprint("job", job)
	switch kind {
	case "AddObject":
		return &cwmp.AddObject{Object: cwmp.Path("Device." + key + ".")}
	case "Download":
		return &cwmp.Download{CommandKey: key, FileType: "1 Firmware Upgrade Image", URL: "http://files.example/"}
	case "Reboot":
		return &cwmp.Reboot{CommandKey: key}
	}
	return &cwmp.GetParameterValues{Names: []cwmp.Path{cwmp.Path("Device." + key + ".X")}}
}

// play runs the jobs against the CPE until all have ended.
func (s script) play(t *testing.T) (o run) {
	f := newFleet()
	server, err := acs.New(acs.Config{Fleet: f, SessionTimeout: 30 * time.Second, RPCTimeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	o.reached, o.errs = make([]int, len(s.jobs)), make([]error, len(s.jobs))
	c := &scripted{direct: direct{s: server, cpe: cpe{t: t}}, script: s, run: &o}
	come := make(chan struct{}, 1)
	f.wake = func(context.Context, cwmp.DeviceKey) error {
		select {
		case come <- struct{}{}:
		default: // it is about to come
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var jobs, device sync.WaitGroup
	for i, kind := range s.jobs {
		jobs.Go(func() {
			o.errs[i] = server.Do(ctx, keyOf("A"), func(ctx context.Context, x *acs.Session) error {
				pass(s.thinks)
				_, err := x.Call(ctx, rpc(kind, i))
				return err
			})
		})
	}
	device.Go(func() {
		for range come {
			c.visit(t.Context())
		}
	})
	jobs.Wait()
	close(come)
	device.Wait()
	pass(time.Minute) // sessions that the CPE has left behind run out
	synctest.Wait()
	o.sessions, o.entries = server.Sessions(), server.Entries()
	if err := server.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return o
}

// scripted is the CPE of a script.
type scripted struct {
	direct
	script
	run *run

	posts int
	tries int // RetryCount

	connection context.Context // nil: to be opened
}

// next is what becomes of the next POST.
func (c *scripted) next() fate {
	c.posts++
	if c.posts > len(c.fates) {
		return arrives
	}
	return c.fates[c.posts-1]
}

// visit is the CPE coming: session after session until one ends in order.
func (c *scripted) visit(ctx context.Context) {
	for c.tries = 0; c.tries < 30; c.tries++ {
		if c.session(ctx) {
			return
		}
		pass(time.Second)
	}
}

// session reports whether it ended in order.
func (c *scripted) session(ctx context.Context) bool {
	c.direct.cookie, c.connection = "", nil
	body := retried("A", c.tries)
	for range 40 {
		got, ok := c.say(ctx, body)
		if !ok {
			return false
		}
		switch {
		case got == "204":
			return true
		case got == "InformResponse", got == "TransferCompleteResponse":
			body = ""
		case rpcs[got] != "":
			body = envelope(c.lastID, rpcs[got])
		default: // refused: begin anew
			return false
		}
	}
	return false
}

// say posts a body as its fate has it, again and again where the CPE goes on with
// its session. ok is false where it does not.
func (c *scripted) say(ctx context.Context, body string) (got string, ok bool) {
	for range 10 {
		switch now := c.next(); now {
		case rebootFirst:
			c.note("CPE: reboot")
			return "", false
		case neverLeft:
			c.connection = nil
			c.note("CPE: lost on the way")
		case answerLost:
			c.exchange(ctx, body, 0)
		case tooPatient:
			c.exchange(ctx, body, time.Second)
		case repeats:
			c.exchange(ctx, body, 0)
			return c.exchange(ctx, body, time.Hour)
		case emptyFirst:
			c.exchange(ctx, "", time.Hour)
			return c.exchange(ctx, body, time.Hour)
		case tellsFirst:
			c.exchange(ctx, envelope("t", transferComplete), time.Hour)
			return c.exchange(ctx, body, time.Hour)
		default:
			return c.exchange(ctx, body, time.Hour)
		}
		if !c.resumes {
			return "", false
		}
	}
	return "", false
}

// exchange posts a body. The connection breaks after patience; what the ACS has
// answered by then is read and, if it is an RPC, has reached the CPE.
func (c *scripted) exchange(ctx context.Context, body string, patience time.Duration) (got string, ok bool) {
	if c.connection == nil {
		c.connection = acs.ConnContext(ctx, nil)
	}
	posting, disconnect := context.WithCancel(c.connection)
	defer disconnect()
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { answered <- c.request(posting, body) }()
	select {
	case w := <-answered:
		return c.take(w), true
	case <-time.After(patience):
		disconnect()
		<-answered // what was written to a connection that is gone
		c.connection = nil
		c.note("CPE: connection lost")
		return "", false
	}
}

var jobPattern = regexp.MustCompile(`job(\d+)`)

// take reads an answer.
func (c *scripted) take(w *httptest.ResponseRecorder) string {
	text := w.Body.String()
	got := c.sum(w.Code, w.Body.Bytes())
	if set := w.Header().Get("Set-Cookie"); set != "" && c.script.cookie {
		c.direct.cookie, _, _ = strings.Cut(set, ";")
	}
	if m := jobPattern.FindStringSubmatch(text); m != nil && rpcs[got] != "" {
		job, err := strconv.Atoi(m[1])
		if err != nil {
			c.t.Error(err)
		}
		c.run.reached[job]++
		got += " " + m[0]
	}
	c.note("ACS: " + got)
	return strings.Fields(got)[0]
}

// rpcs are the answers to the RPCs of jobs.
var rpcs = map[string]string{
	"AddObject":          `<c:AddObjectResponse><InstanceNumber>5</InstanceNumber><Status>0</Status></c:AddObjectResponse>`,
	"Download":           `<c:DownloadResponse><Status>1</Status><StartTime>0001-01-01T00:00:00Z</StartTime><CompleteTime>0001-01-01T00:00:00Z</CompleteTime></c:DownloadResponse>`,
	"Reboot":             `<c:RebootResponse></c:RebootResponse>`,
	"GetParameterValues": getValues,
}

func (c *scripted) note(text string) { c.run.said = append(c.run.said, text) }
