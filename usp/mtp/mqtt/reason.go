package mqtt

import (
	"context"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// reasons are what operators have to do something about, of the reason codes of
// MQTT 5 (2.4).
var reasons = map[byte]string{
	0x80: "unspecified error",
	0x84: "it does not speak this version of MQTT; set another",
	0x85: "it does not take the client id",
	0x86: "wrong user name or password",
	0x87: "not authorized; see its access rules",
	0x88: "it is unavailable",
	0x89: "it is busy",
	0x8a: "banned",
	0x8b: "it shuts down",
	0x8d: "keep-alive timeout",
	0x8e: "another client has connected with the same client id; give each its own",
	0x8f: "topic filter invalid",
	0x90: "topic name invalid",
	0x93: "more records in flight than it takes",
	0x95: "packet too large",
	0x97: "quota exceeded",
	0x9b: "it does not support this QoS",
	0x9e: "it does not support shared subscriptions",
	0xa2: "it does not support wildcard subscriptions",
}

// old are the return codes of CONNACK in 3.1.1, as MQTT 5 has them.
var old = map[byte]byte{1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}

// reasonError makes an error of a reason code, nil of one that is none.
func reasonError(code byte) error {
	if code < 0x80 {
		return nil
	}
	if text := reasons[code]; text != "" {
		return fmt.Errorf("%s (reason code 0x%02x)", text, code)
	}
	return fmt.Errorf("reason code 0x%02x", code)
}

// refused makes an error of a CONNACK that refuses us. A broker that does not take
// as ClientId the endpoint id, in 3.1.1, or what it has once assigned is asked to
// assign one next time.
func (t *Transport) refused(ctx context.Context, connack *packets.Packet) error {
	code := connack.ReasonCode
	if t.version != 5 {
		code = old[code]
	}
	if code == 0x85 && t.standing.Settings().ClientID == "" {
		t.anonymous = true
		t.assign(ctx, "")
	}
	err := reasonError(max(code, 0x80))
	if text := connack.Properties.ReasonString; text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return troubles[code].As(fmt.Errorf("the broker refuses: %w", err))
}

// troubles are the kinds of the reasons of a CONNACK.
var troubles = map[byte]mtp.Trouble{
	0x84: mtp.Misconfigured, 0x85: mtp.Misconfigured,
	0x86: mtp.Unauthorized, 0x87: mtp.Unauthorized, 0x8a: mtp.Unauthorized, 0x8c: mtp.Unauthorized,
	0x88: mtp.Unreachable, 0x89: mtp.Unreachable, 0x8b: mtp.Unreachable, 0x9c: mtp.Unreachable, 0x9d: mtp.Unreachable,
}
