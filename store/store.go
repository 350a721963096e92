// Package store keeps what must survive a restart: devices, parameter trees and
// their templates, instance numbers, controllers, subscriptions, requests,
// pending notifications. It knows neither protocol: a record is a kind, an
// owner, a name and bytes; what the bytes mean is known to the package that
// writes them.
//
// bolt is the embedded driver, for one node; postgres serves many. Both keep
// the same promise: what Commit has returned nil for is on disk, and a batch is
// there whole or not at all.
package store

import (
	"context"
	"errors"
)

// Kind is a class of records.
type Kind uint8

// The kinds. New ones are added at the end: the numbers are on disk.
const (
	Meta         Kind = iota + 1 // schema version, node settings
	Device                       // owner: device key; one record "", the device's identity and state
	Tree                         // owner: device key; "", instances and values; "discovery", one that has not ended
	Instances                    // owner: device key; one record "", the map of USP instance numbers
	Template                     // owner: template id; one record ""
	Endpoint                     // owner: endpoint id; one record "", its device key
	Controller                   // owner: endpoint id of the agent; name: instance path
	Subscription                 // owner: endpoint id of the agent; name: instance number
	Request                      // owner: endpoint id of the agent; name: instance number
	Notification                 // owner: endpoint id of the agent; name: sequence number
	AgentState                   // owner: endpoint id of the agent; the rest of LocalAgent, by name
	Due                          // owner: 16 hex digits of unix milliseconds; name: what is due
	Audit                        // owner: device key; name: time and sequence
	Credential                   // owner: device key or rule; name: kind of credential
	Model                        // owner: hash of a model and firmware; one record "", what its devices have in common
	DeviceDue                    // owner: 16 hex digits of unix milliseconds; name: key of the device to be looked at then
	FileGrant                    // owner: SHA-256 of a token in hex; one record "", what the token opens
	Report                       // owner: endpoint id of the agent; name: profile instance "/" time; a bulk data report that was not delivered
	Certificate                  // owner: endpoint id of an agent, or "ca"; its keys and certificates, by name
	Native                       // owner: endpoint id; one record "", where a native agent or its controller was heard
	Held                         // owner: endpoint id of a native agent; name: sequence number; a record that waits for it
	kindEnd
)

// Kinds is the number of kinds plus one: valid kinds are 1 … Kinds-1.
const Kinds = kindEnd

// Key names a record.
type Key struct {
	Kind  Kind
	Owner string
	Name  string
}

// Op is one change of a Batch. Value nil deletes. If Check is set the whole
// batch fails with ErrConflict unless the record's present value equals
// Expect (nil: there is none).
type Op struct {
	Key    Key
	Value  []byte
	Check  bool
	Expect []byte
}

// Batch is a set of changes that are made together or not at all.
type Batch struct{ Ops []Op }

// Put adds a record or replaces it. The value must not be changed afterwards.
func (b *Batch) Put(k Key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	b.Ops = append(b.Ops, Op{Key: k, Value: value})
}

// Delete removes a record, if it is there.
func (b *Batch) Delete(k Key) { b.Ops = append(b.Ops, Op{Key: k}) }

// CompareAndSet replaces a record only if its value is still expect (nil: if it
// is still absent).
func (b *Batch) CompareAndSet(k Key, expect, value []byte) {
	b.Ops = append(b.Ops, Op{Key: k, Value: value, Check: true, Expect: expect})
}

// Len returns the number of changes.
func (b *Batch) Len() int { return len(b.Ops) }

// Store is an open store. All methods may be called concurrently.
type Store interface {
	// Get returns a copy of a record's value, ErrNotFound if it is not there.
	// It sees every batch committed before the call.
	Get(ctx context.Context, k Key) ([]byte, error)

	// Scan calls fn for the records of one kind whose owner and name have the
	// given prefixes, ordered by owner, then name. With whole set, owner must
	// be equal. The value is valid during the call only. fn ends the scan by
	// returning false; it must not call the store.
	Scan(ctx context.Context, q Query, fn func(k Key, value []byte) bool) error

	// Commit makes a batch durable. Batches of many callers share a disk sync.
	Commit(ctx context.Context, b *Batch) error

	// Enqueue is Commit without waiting: done is called (from the store's
	// goroutine, so it must be quick) when the batch is durable or has
	// failed. Batches enqueued and committed by one goroutine are applied in
	// order. done may be nil; a failure is then logged and counted.
	Enqueue(b *Batch, done func(error))

	// Close waits for what was enqueued, then closes.
	Close() error
}

// Query selects records for Scan.
type Query struct {
	Kind       Kind
	Owner      string // prefix, or the whole owner
	WholeOwner bool
	Name       string // prefix; only with WholeOwner
	After      *Key   // start behind this key (paging)
	Limit      int    // 0: no limit
}

// The failures a caller can act on.
var (
	ErrNotFound = errors.New("record not found")
	ErrConflict = errors.New("record was changed by another")
	ErrClosed   = errors.New("store is closed")
)
