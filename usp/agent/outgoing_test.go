package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

const friendly = "Device.DeviceInfo.FriendlyName"

func fullAccess(c *Config) { c.Controllers[1].Role = FullAccess }

// A controller that takes nothing, in a session or without, delays nobody but
// itself: not what the device tells, not what is due, not other controllers' changes
// of the same agent.
func TestSlowControllerDelaysNoOther(t *testing.T) {
	for name, use := range map[string]e2e.Use{"without a session": e2e.Forbid, "in a session": e2e.Require} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, fullAccess)
			b.subscribe(primary, "values", "ValueChange", friendly, kv{"NotifRetry", "true", true})
			b.subscribe(primary, "periodic", "Event", "Device.LocalAgent.Periodic!")
			b.subscribe(secondary, "values too", "ValueChange", friendly)
			b.set("Device.LocalAgent.Controller.1.", kv{"PeriodicNotifInterval", "60", true}, kv{"E2ESession.SessionMode", string(use), true})
			b.settle()
			free := b.net.stick(primary)
			for i := range 3 {
				b.change(friendly, fmt.Sprint(i))
				if n, _ := b.notify(secondary); n.GetValueChange().GetParamValue() != fmt.Sprint(i) {
					t.Errorf("got %v", n)
				}
			}
			b.clock.Advance(2 * time.Minute)
			b.due()
			if body := b.ask(secondary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"ProvisioningCode", "changed", true}))); body.GetResponse() == nil {
				t.Errorf("got %v", body)
			}
			free()
			b.settle()
		})
	}
}

// However many answers a controller does not take, there is room for others.
func TestAnswersNotTakenDelayNoOther(t *testing.T) {
	b := newBench(t, fullAccess)
	free := b.net.stick(primary)
	for range 100 {
		b.deliverRequest(primary, getReq(modelName))
	}
	answersGet(t, b.ask(secondary, getReq(modelName)))
	free()
	b.settle()
}

// Whoever has asked has the answer before the notifications of what it did; others
// do not wait for that. All have them in the order of the changes.
func TestNotificationsBehindTheAnswer(t *testing.T) {
	const code = "Device.LocalAgent.Controller.1.ProvisioningCode"
	b := newBench(t, fullAccess)
	b.subscribe(primary, "mine", "ValueChange", code)
	b.subscribe(secondary, "other", "ValueChange", code)
	b.settle()
	free := b.net.stick(primary)
	const changes = 5 // as many as one controller has in work at once
	for i := range changes {
		b.deliverRequest(primary, setReq(false, update("Device.LocalAgent.Controller.1.", kv{"ProvisioningCode", fmt.Sprint(i), true})))
	}
	var order []string
	for range changes {
		n, _ := b.notify(secondary)
		order = append(order, n.GetValueChange().GetParamValue())
	}
	free()
	b.settle()
	answered, told := 0, 0
	for range 2 * changes {
		s := b.next("what waited", func(s sentRecord) bool { return s.to == primary })
		if n := s.msg.GetBody().GetRequest().GetNotify(); n == nil {
			answered++
		} else if told++; n.GetValueChange().GetParamValue() != order[told-1] {
			t.Errorf("notification %d is %v, want %s", told, n, order[told-1])
		}
		if told > answered {
			t.Fatalf("%d notifications came with %d answers", told, answered)
		}
	}
}

// What one event has to tell is not too much, however much it is.
func TestLaneTakesAnEventWhole(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "values", "ValueChange", friendly)
	b.settle()
	free := b.net.stick(primary)
	events := make([]Event, laneRoom+10)
	for i := range events {
		events[i] = Event{Kind: ValueChanged, Ref: b.ref(friendly), Value: fmt.Sprint(i)}
	}
	b.raise(events...)
	free()
	for i := range events {
		if n, _ := b.notify(primary); n.GetValueChange().GetParamValue() != fmt.Sprint(i) {
			t.Fatalf("notification %d is %v", i, n)
		}
	}
}

// A lane that is full refuses; it and all that it had are gone when it is empty.
func TestLanesAreBounded(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "values", "ValueChange", friendly)
	b.settle()
	free := b.net.stick(primary)
	for i := range laneRoom + 10 {
		b.change(friendly, fmt.Sprint(i))
	}
	free()
	b.settle()
	counted := func(outcome string) float64 {
		return testutil.ToFloat64(b.host.metrics.notifications.WithLabelValues("ValueChange", outcome))
	}
	if sent, lost := counted("sent"), counted("lost"); sent != laneRoom || lost != 10 {
		t.Errorf("%v notifications were sent, %v lost", sent, lost)
	}
	for i := range b.host.outgoing.shards {
		if s := &b.host.outgoing.shards[i]; len(s.queues)+s.held+s.workers > 0 {
			t.Error("something is left")
		}
	}
}
