package cpesim

import (
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Entry is one thing an ACS did to a CPE.
type Entry struct {
	Time    time.Time
	RPC     string       // name of the request
	Request cwmp.Message // as read
	Fault   *cwmp.Fault  // how the CPE refused it, nil if it did not
}

// record keeps the newest entries, up to the configured number. c.mu is held.
func (c *CPE) record(e Entry) {
	size := c.factory.JournalSize
	if size <= 0 {
		return
	}
	if len(c.journal) >= size {
		c.journal = append(c.journal[:0], c.journal[len(c.journal)-size+1:]...)
	}
	c.journal = append(c.journal, e)
}

// Journal returns what the ACS did to the CPE, oldest first, as far back as
// Config.JournalSize reaches.
func (c *CPE) Journal() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Entry(nil), c.journal...)
}

// Called returns how often an RPC is in the journal.
func (c *CPE) Called(rpc string) int {
	n := 0
	for _, e := range c.Journal() {
		if e.RPC == rpc {
			n++
		}
	}
	return n
}
