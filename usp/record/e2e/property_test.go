package e2e

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pipe is what lies between two ends: it loses, doubles and reorders records.
type pipe struct {
	w      *two
	flying []flight
}

type flight struct {
	to *end
	b  []byte
}

func (p *pipe) send(from *end, records [][]byte) {
	for _, b := range records {
		p.flying = append(p.flying, flight{p.w.other(from), b})
	}
}

// step has one thing happen to one record.
func (p *pipe) step(t *rapid.T) {
	if len(p.flying) == 0 {
		return
	}
	// Mostly the oldest: reordering within a few.
	i := rapid.IntRange(0, min(len(p.flying)-1, 3)).Draw(t, "which")
	f := p.flying[i]
	switch rapid.SampledFrom([]string{"deliver", "deliver", "deliver", "deliver", "lose", "double"}).Draw(t, "fate") {
	case "lose":
		p.flying = append(p.flying[:i:i], p.flying[i+1:]...)
	case "double":
		p.send(f.to, f.to.take(p.w.now, decode(p.w.t, f.b)))
	default:
		p.flying = append(p.flying[:i:i], p.flying[i+1:]...)
		p.send(f.to, f.to.take(p.w.now, decode(p.w.t, f.b)))
	}
}

// tick does what is due at both ends.
func (p *pipe) tick() {
	p.w.now = p.w.now.Add(10 * time.Second)
	for _, e := range []*end{p.w.agent, p.w.ctl} {
		p.send(e, e.came(e.peer.Tick(p.w.now)))
	}
}

// TestLossyPipe: two ends get every message exactly once and in order, whatever
// happens to records on the way, once the session stands.
func TestLossyPipe(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("secured=%v", secured), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { lossy(t, rt, secured) })
		})
	}
}

func lossy(t *testing.T, rt *rapid.T, secured bool) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: secured, MaxRecord: 3000 * rapid.IntRange(0, 1).Draw(rt, "bounded"), Retransmits: -1}, secured)
	w.agent.peer.limits.Asked, w.ctl.peer.limits.Asked = 1000, 1000
	w.tell(w.ctl, "begin")
	w.tell(w.agent, "begun")
	p := &pipe{w: w}
	want := map[*end][]string{w.agent: {"begin"}, w.ctl: {"begun"}}
	for n := range rapid.IntRange(1, 40).Draw(rt, "steps") {
		if rapid.Bool().Draw(rt, "talk") {
			from := []*end{w.agent, w.ctl}[rapid.IntRange(0, 1).Draw(rt, "who")]
			msg := fmt.Sprintf("%d:%0*d", n, rapid.SampledFrom([]int{1, 200, 7000}).Draw(rt, "size"), 0)
			want[w.other(from)] = append(want[w.other(from)], msg)
			p.send(from, from.say(w.now, msg))
		} else {
			p.step(rt)
		}
	}
	settle(p, want)
	for e, messages := range want {
		e.expect(messages...)
	}
}

// settle delivers what flies, and what is asked for, until nothing is missing. The
// last record of an end may be lost: one more without payload shows that.
func settle(p *pipe, want map[*end][]string) {
	for range 50 {
		for len(p.flying) > 0 {
			f := p.flying[0]
			p.flying = p.flying[1:]
			p.send(f.to, f.to.take(p.w.now, decode(p.w.t, f.b)))
		}
		if len(p.w.agent.got) >= len(want[p.w.agent]) && len(p.w.ctl.got) >= len(want[p.w.ctl]) {
			return
		}
		for _, e := range []*end{p.w.agent, p.w.ctl} {
			var res Result
			if err := e.peer.current.say(0, &res); err != nil {
				p.w.t.Fatal(err)
			}
			p.send(e, e.came(res))
		}
		p.tick()
	}
}
