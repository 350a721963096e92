package dialer

// queue has the pairs whose time has come, in order. Those of guests and the others
// take turns: however many guests there are, nobody else waits for more than as many
// of them as there are others before him.
type queue struct {
	own, guests []*entry
	turn        bool // of a guest
}

func (q *queue) add(e *entry) {
	if e.to.Guest {
		q.guests = append(q.guests, e)
	} else {
		q.own = append(q.own, e)
	}
}

// next takes the next pair, nil if there is none; guests reports whether it may be a
// guest's.
func (q *queue) next(guests bool) *entry {
	from := &q.own
	if guests && len(q.guests) > 0 && (q.turn || len(q.own) == 0) {
		from = &q.guests
	}
	if len(*from) == 0 {
		return nil
	}
	e := (*from)[0]
	(*from)[0] = nil
	*from = (*from)[1:]
	q.turn = from == &q.own
	return e
}

// waits reports whether there is anybody.
func (q *queue) waits() bool { return len(q.own)+len(q.guests) > 0 }
