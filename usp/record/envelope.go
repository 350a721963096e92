package record

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/uspbridge/uspbridge/usp"
)

// Type is the member of record_type that a record has, by its field number in
// usp-record.proto. A newer version may have others.
type Type protowire.Number

// The types of records.
const (
	NoSessionContextType Type = 7
	SessionContextType   Type = 8
	WebSocketConnectType Type = 9
	MQTTConnectType      Type = 10
	STOMPConnectType     Type = 11
	DisconnectType       Type = 12
	UDSConnectType       Type = 13
)

// Connects reports whether a record of this type opens the dialogue on one
// transport, and so ends there (TR-369 R-MTP.6).
func (t Type) Connects() bool {
	switch t {
	case WebSocketConnectType, MQTTConnectType, STOMPConnectType, UDSConnectType:
		return true
	}
	return false
}

// Envelope is what those who pass a record on need of it. The endpoint ids are as
// they are written, not validated.
type Envelope struct {
	From, To usp.EndpointID
	Type     Type // 0: none that is known
	// Version is that of a Connect record, which is not passed on but made anew.
	Version string
	// Inbox is where the sender of an MQTT or STOMP Connect record listens.
	Inbox string
}

// subscribed is the field number of subscribed_topic and subscribed_destination.
const subscribed = 2

// ReadEnvelope reads the outermost fields of an encoded record, without copying
// or decoding what is in them. What it does not know it passes over.
func ReadEnvelope(b []byte) (Envelope, error) {
	var e Envelope
	var version []byte
	for rest := b; len(rest) > 0; {
		f, after, err := next(rest)
		if err != nil {
			return Envelope{}, fmt.Errorf("USP record of %d bytes: %w", len(b), err)
		}
		rest = after
		if f.typ != protowire.BytesType {
			continue
		}
		switch {
		case f.num == fieldVersion:
			version = f.value
		case f.num == fieldTo:
			e.To = usp.EndpointID(f.value)
		case f.num == fieldFrom:
			e.From = usp.EndpointID(f.value)
		case firstRecordType <= f.num && f.num <= lastRecordType:
			e.Type = Type(f.num)
			if e.Type == MQTTConnectType || e.Type == STOMPConnectType {
				e.Inbox = string(last(f.value, subscribed))
			}
		}
	}
	if e.Type.Connects() {
		e.Version = string(version)
	}
	return e, nil
}
