package record

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// WrapMsg encodes a message in a plaintext record without session context. An
// empty version stands for usp.RecordVersion. It fails on empty addresses and on
// text in msg that is not UTF-8.
func WrapMsg(from, to usp.EndpointID, version string, msg proto.Message) ([]byte, error) {
	return AppendMsg(nil, from, to, version, msg)
}

// AppendMsg is WrapMsg into a buffer that the caller uses again.
func AppendMsg(dst []byte, from, to usp.EndpointID, version string, msg proto.Message) ([]byte, error) {
	if err := checkAddresses(from, to); err != nil {
		return dst, err
	}
	if version == "" {
		version = usp.RecordVersion
	}
	// The record is written by hand around the message, so that the message is
	// encoded once and into its place. payload_security PLAINTEXT is 0, which is
	// not written.
	size := proto.Size(msg)
	inner := protowire.SizeTag(fieldPayload) + protowire.SizeBytes(size)
	if dst == nil {
		dst = make([]byte, 0, len(version)+len(to)+len(from)+inner+16)
	}
	out := appendString(dst, fieldVersion, version)
	out = appendString(out, fieldTo, string(to))
	out = appendString(out, fieldFrom, string(from))
	out = protowire.AppendTag(out, fieldNoSession, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(inner))
	out = protowire.AppendTag(out, fieldPayload, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	begin := len(out)
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(out, msg)
	if err != nil {
		return dst, fmt.Errorf("USP record from %q to %q: encode message: %w", string(from), string(to), err)
	}
	if len(out)-begin != size {
		return dst, fmt.Errorf("USP record from %q to %q: message was changed while it was encoded", string(from), string(to))
	}
	return out, nil
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func checkAddresses(from, to usp.EndpointID) error {
	switch {
	case from == "" || to == "": // R-MTP.4b
		return fmt.Errorf("USP record from %q to %q: both endpoint ids are required", string(from), string(to))
	case !utf8.ValidString(string(from)) || !utf8.ValidString(string(to)):
		return fmt.Errorf("USP record from %q to %q: an endpoint id is not UTF-8", string(from), string(to))
	}
	return nil
}

// WebSocketConnect encodes the record that opens the dialogue on a WebSocket
// (R-MTP.6).
func WebSocketConnect(from, to usp.EndpointID, version string) ([]byte, error) {
	return encode(from, to, version, &usppb.Record{
		RecordType: &usppb.Record_WebsocketConnect{WebsocketConnect: &usppb.WebSocketConnectRecord{}},
	})
}

// MQTTConnect encodes the record that tells a controller on which topic the
// agent listens. The topic has no wildcards.
func MQTTConnect(from, to usp.EndpointID, version string, mqtt usppb.MQTTConnectRecord_MQTTVersion, topic string) ([]byte, error) {
	if topic == "" {
		return nil, errors.New("MQTT connect record: subscribed_topic is required")
	}
	return encode(from, to, version, &usppb.Record{
		RecordType: &usppb.Record_MqttConnect{MqttConnect: &usppb.MQTTConnectRecord{Version: mqtt, SubscribedTopic: topic}},
	})
}

// STOMPConnect encodes the record that tells a controller on which destination
// the agent listens. The version is STOMP 1.2, the only one.
func STOMPConnect(from, to usp.EndpointID, version, destination string) ([]byte, error) {
	if destination == "" {
		return nil, errors.New("STOMP connect record: subscribed_destination is required")
	}
	return encode(from, to, version, &usppb.Record{
		RecordType: &usppb.Record_StompConnect{StompConnect: &usppb.STOMPConnectRecord{SubscribedDestination: destination}},
	})
}

// UDSConnect encodes the record that opens the dialogue on a Unix domain socket.
func UDSConnect(from, to usp.EndpointID, version string) ([]byte, error) {
	return encode(from, to, version, &usppb.Record{
		RecordType: &usppb.Record_UdsConnect{UdsConnect: &usppb.UDSConnectRecord{}},
	})
}

// Disconnect encodes the record that tells a controller that the agent ends the
// dialogue, and why (R-MTP.7, R-MTP.9). code is one of the 71xx, 0 for an
// orderly end.
func Disconnect(from, to usp.EndpointID, version string, code usp.ErrorCode, reason string) ([]byte, error) {
	return encode(from, to, version, &usppb.Record{
		RecordType: &usppb.Record_Disconnect{Disconnect: &usppb.DisconnectRecord{ReasonCode: uint32(code), Reason: reason}},
	})
}

// encode fills the addresses into r and encodes it.
func encode(from, to usp.EndpointID, version string, r *usppb.Record) ([]byte, error) {
	if err := checkAddresses(from, to); err != nil {
		return nil, err
	}
	if version == "" {
		version = usp.RecordVersion
	}
	r.Version, r.FromId, r.ToId = version, string(from), string(to)
	b, err := proto.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("USP record from %q to %q: encode: %w", string(from), string(to), err)
	}
	return b, nil
}
