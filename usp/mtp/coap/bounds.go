package coap

import (
	"sync"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/udp/client"
)

// blockTimeout is how long the blocks of one record may take to come.
const blockTimeout = 30 * time.Second

// maxBlocks bounds the bytes of records that are put together of blocks, of all
// sources: what comes in a blockTimeout, which is as long as it is kept.
const maxBlocks = 64 << 20

// bounds limits what peers can make the CoAP library keep: it remembers sources,
// answers, to know duplicates, and the blocks of unfinished records.
type bounds struct {
	cfg *Config

	mu     sync.Mutex
	peers  map[*client.Conn]*share
	rate   window
	blocks window
}

// share is what one source has used.
type share struct{ rate, blocks window }

// window counts within spans of a fixed length.
type window struct {
	began time.Time
	count int
}

// take adds n unless that makes more than most within the span.
func (w *window) take(now time.Time, span time.Duration, n, most int) bool {
	if now.Sub(w.began) >= span {
		*w = window{began: now}
	}
	if w.count+n > most {
		return false
	}
	w.count += n
	return true
}

func newBounds(cfg *Config) *bounds { return &bounds{cfg: cfg, peers: map[*client.Conn]*share{}} }

// arrived takes a new source; false: there are too many.
func (b *bounds) arrived(cc *client.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.peers) >= b.cfg.MaxPeers {
		return false
	}
	b.peers[cc] = &share{}
	return true
}

func (b *bounds) left(cc *client.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.peers, cc)
}

// admit reports whether a message of a source is taken. One that is not is
// dropped without a word; who confirms messages sends it again later.
func (b *bounds) admit(cc *client.Conn, r *pool.Message) bool {
	now := time.Now()
	block, size := blockOf(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.peers[cc]
	if s == nil {
		return false // closed at its arrival
	}
	if !s.rate.take(now, time.Second, 1, b.cfg.PeerShare) || !b.rate.take(now, time.Second, 1, b.cfg.Requests) {
		return false
	}
	return !block || s.blocks.take(now, blockTimeout, size, 2*b.cfg.MaxRecord) && b.blocks.take(now, blockTimeout, size, maxBlocks)
}

// blockOf reports whether a message is one block of a record, and its bytes.
func blockOf(r *pool.Message) (block bool, size int) {
	if !r.HasOption(message.Block1) {
		return false, 0
	}
	n, err := r.BodySize()
	if err != nil {
		return true, 0 // a message of the wire has its body in memory
	}
	return true, int(n)
}
