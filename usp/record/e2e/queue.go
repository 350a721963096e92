package e2e

import (
	"bytes"
	"errors"
	"slices"
)

// queue are messages that wait to be sent.
type queue struct {
	messages [][]byte
	bytes    int
}

// errWaiting means that a message was not taken.
var errWaiting = errors.New("too many messages wait for the session to be established")

func (q *queue) full(msg []byte, lim *Limits) bool {
	return len(q.messages) >= lim.Waiting || q.bytes+len(msg) > lim.KeptBytes && len(q.messages) > 0
}

// put adds a message, or fails if there are as many as there may be. One that is
// there already, because its sender tries again, is not added.
func (q *queue) put(msg []byte, lim *Limits) error {
	if slices.ContainsFunc(q.messages, func(m []byte) bool { return bytes.Equal(m, msg) }) {
		return nil
	}
	if q.full(msg, lim) {
		return errWaiting
	}
	q.messages = append(q.messages, msg)
	q.bytes += len(msg)
	return nil
}

// push adds a message; the oldest go where there are too many.
func (q *queue) push(msg []byte, lim *Limits) {
	for q.full(msg, lim) {
		q.bytes -= len(q.messages[0])
		q.messages = q.messages[1:]
	}
	q.messages = append(q.messages, msg)
	q.bytes += len(msg)
}
