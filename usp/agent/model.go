package agent

import (
	"context"
	"errors"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Model is a device as an agent sees it: a data model with instances and
// values, in USP terms only. Package translate implements it over a CPE; the
// agent's own objects implement it over the store; tests implement it over a
// map.
//
// The agent parses and resolves paths, checks roles and forms the messages; a
// Model is asked about concrete elements only, of nodes that are in its Schema.
// All methods may be called concurrently. Those that may have to ask the device
// end with ctx at the latest; errors are *usp.Error or are sent as 7003.
type Model interface {
	// Schema returns the supported data model. It may be another one after
	// the device changed its firmware; a Model works with the nodes of an
	// older Schema as far as they still exist.
	Schema() *dm.Schema

	// Instances returns the instance numbers of a table, ascending. The table
	// is a Ref for which IsTable holds. It never waits for the device.
	Instances(table dm.Ref) []uint32

	// Get reads parameters. The result has one Value for each of params, in
	// order. Freshness is the Model's business: it answers from its cache or
	// asks the device, once for all of params.
	Get(ctx context.Context, params []dm.Ref) []Value

	// Peek reads parameters as the cache has them, of whatever age, and never
	// waits: for search expressions' unique keys, notifications, CLI lists.
	Peek(params []dm.Ref) []Value

	// Set writes parameters. With allowPartial false all updates are applied
	// or none; with true each update is, apart from the others. Inside one
	// update a parameter not Required may fail alone; if a Required one fails
	// the whole update fails. The result has one for each update, in order.
	Set(ctx context.Context, updates []Update, allowPartial bool) []UpdateResult

	// Add creates rows with initial values, under the rules of Set: a Required
	// value that fails takes its row with it; without allowPartial one failed
	// row takes all.
	Add(ctx context.Context, rows []NewRow, allowPartial bool) []AddResult

	// Delete removes rows. Without allowPartial: all or none, as far as the
	// device can.
	Delete(ctx context.Context, rows []dm.Ref, allowPartial bool) []error

	// Operate runs a command and returns its output arguments. For an Async
	// command it returns when the command has ended, which can be long; the
	// agent runs it in the background and keeps the Request row. A command
	// that a reboot of the device completes returns when that has begun.
	//
	// An Async command that outlives a session of the device, and a restart of
	// the bridge, returns ErrDetached once the Model has it durably: from then
	// on Detached tells of it, and it ends as an event OperationEnded. A command
	// whose node is Durable does so without asking the device: the agent waits
	// for it before it answers.
	Operate(ctx context.Context, call Call) (map[string]string, error)

	// Detached reports whether the operation of a Request row is in the Model's
	// hands: taken over with ErrDetached, and not ended yet or not told yet.
	// It is asked after a restart; what no Model has is reported as failed.
	Detached(request uint32) bool

	// Cancel ends a detached operation. It returns nil when that is sure; the
	// operation then ends as an event OperationEnded with error 7023. An error
	// means that it goes on.
	Cancel(ctx context.Context, request uint32) error

	// Watch replaces the set of parameters and events that somebody wants to be
	// told about. It is kept, and brought to the device without the caller
	// waiting for it. Changes come back as events to the agent.
	Watch(params []dm.Ref) error
}

// Value is the outcome of reading one parameter.
type Value struct {
	Text string
	Err  *usp.Error // nil if Text holds
}

// ErrCollateral is the Cause of a result that is a failure only because another
// part of the request failed: an Error message does not blame it.
var ErrCollateral = errors.New("not done because another part of the request failed")

// Assignment is one parameter to write. Param's instance numbers are those of
// its object.
type Assignment struct {
	Param    *dm.Node
	Value    string
	Required bool
}

// Update is what is to be written to one object or row.
type Update struct {
	Object dm.Ref
	Params []Assignment
}

// UpdateResult tells how an Update fared. If Err is set nothing was written.
// Failed has, by index into Params, those that failed without failing the
// update; Values has what was written, as the device took it (index as Params;
// "" for failed ones).
type UpdateResult struct {
	Err    *usp.Error
	Failed map[int]*usp.Error
	Values []string
}

// NewRow is a row to be created. Table is a Ref for which IsTable holds.
type NewRow struct {
	Table  dm.Ref
	Params []Assignment
}

// AddResult tells how a NewRow fared, in the way of UpdateResult.
type AddResult struct {
	Row    dm.Ref
	Err    *usp.Error
	Failed map[int]*usp.Error
}

// Call is one execution of a command. Object-path of the command is in
// Command.Inst.
type Call struct {
	Command    dm.Ref
	Args       map[string]string
	Key        string         // command_key
	Controller usp.EndpointID // who asks
	Request    uint32         // instance number of the Request row; 0 for a command that is not Async
}

// ErrDetached is what Operate returns for an operation that goes on by itself.
var ErrDetached = errors.New("the operation goes on by itself")

// EventKind is what an Event tells.
type EventKind uint8

// The kinds of events that a device raises.
const (
	ValueChanged   EventKind = iota // Ref is the parameter, Value its new value
	ObjectCreated                   // Ref is the row
	ObjectDeleted                   // Ref is the row
	Occurred                        // Ref is the event node (Boot!, …), Args its arguments
	OperationEnded                  // a detached operation: Request is its row, Args its output arguments, Err why it failed
)

// Event is something that happened on a device, for those subscribed.
type Event struct {
	Kind    EventKind
	Ref     dm.Ref
	Value   string
	Args    map[string]string
	Request uint32
	Err     error
}
