package agent

import "github.com/uspbridge/uspbridge/usp/dm"

// Rows that a controller adds and deletes on the device are told by the Model, in
// the batch in which it stores them, if it does that; then the agent has nothing
// to tell when it stores what the message was. Values are told apart in the same
// way, see agent.news.

// rowEvent is a row that came or went. Schemas change while rows do: the path
// tells nodes apart.
type rowEvent struct {
	kind EventKind
	path string
	inst dm.Instance
}

// beginChange begins to remember which rows the Model tells of. The caller holds
// a.write.
func (a *agent) beginChange() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rows = map[rowEvent]bool{}
}

func (a *agent) endChange() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rows = nil
}

// told remembers the rows among events whose notifications are durable.
func (a *agent) told(events []Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ev := range events {
		if a.rows != nil && (ev.Kind == ObjectCreated || ev.Kind == ObjectDeleted) {
			a.rows[rowEvent{ev.Kind, ev.Ref.Node.Path, ev.Ref.Inst}] = true
		}
	}
}

// untold leaves out of events the rows that the Model has told of during the
// present change.
func (a *agent) untold(events []Event) (left []Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ev := range events {
		if !a.rows[rowEvent{ev.Kind, ev.Ref.Node.Path, ev.Ref.Inst}] {
			left = append(left, ev)
		}
	}
	return left
}
