package e2e

import "time"

// overflow takes out the least recently used beyond most. Who uses the table is not
// made to tell their peers: those with a session are left to Run. It returns those
// for which there is no room there either; their peers learn of it when they next
// speak in the session.
func (sh *tableShard) overflow(most int) (gone []*entry) {
	for el := sh.used.Back(); el != nil && sh.used.Len() > most; {
		e := el.Value.(*entry)
		el = el.Prev()
		switch {
		case e.pins > 0:
		case count(e.status) > 0 && sh.leaving.Len() < most:
			sh.schedule(e, time.Time{})
			sh.unlist(e)
			e.element, e.leaving = sh.leaving.PushBack(e), true
		default:
			sh.drop(e)
			gone = append(gone, e)
		}
	}
	return gone
}

// forget ends the session of an entry that was taken out, without a word.
func (t *Table) forget(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.peer.Forget()
	t.note(e)
}

// part ends the session of an entry that is leaving, if it still is.
func (t *Table) part(sh *tableShard, e *entry) {
	sh.mu.Lock()
	leaves := e.leaving && e.pins == 0 && sh.byPair[e.pair] == e
	if leaves {
		sh.unlist(e)
		e.pins++
	}
	sh.mu.Unlock()
	if !leaves {
		return
	}
	defer t.release(sh, e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if res := e.peer.End(); res.Disconnect != 0 {
		t.cfg.Due(e.pair, e.peer, res)
	}
}

// stay leaves an entry that was not parted with to the next turn of Run.
func (sh *tableShard) stay(e *entry) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e.handed = false
}
