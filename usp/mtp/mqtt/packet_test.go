package mqtt

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

func read(b []byte, version byte, max int) (packets.Packet, *oversized, error) {
	return readPacket(bufio.NewReader(bytes.NewReader(b)), version, max)
}

func TestReadPacket(t *testing.T) {
	tests := []struct {
		name    string
		bytes   string
		version byte
		kind    byte
		id      uint16
		topic   string
		payload string
		want    string // error
	}{
		{name: "CONNACK of 3.1.1", bytes: "\x20\x02\x01\x00", version: 4, kind: packets.Connack},
		{name: "CONNACK of 5", bytes: "\x20\x03\x00\x00\x00", version: 5, kind: packets.Connack},
		{name: "PUBLISH of 3.1.1, QoS 0", bytes: "\x30\x05\x00\x01ahi", version: 4, kind: packets.Publish, topic: "a", payload: "hi"},
		{name: "PUBLISH of 5, QoS 1", bytes: "\x32\x08\x00\x01a\x00\x07\x00hi", version: 5, kind: packets.Publish, id: 7, topic: "a", payload: "hi"},
		{name: "PUBACK", bytes: "\x40\x02\x00\x07", version: 5, kind: packets.Puback, id: 7},
		{name: "PINGRESP", bytes: "\xd0\x00", version: 4, kind: packets.Pingresp},
		{name: "nothing", bytes: "", version: 4, want: "EOF"},
		{name: "cut in the length", bytes: "\x30", version: 4, want: "unexpected EOF"},
		{name: "cut in the body", bytes: "\x40\x02\x00", version: 4, want: "unexpected EOF"},
		{name: "length of five bytes", bytes: "\x30\x80\x80\x80\x80\x01", version: 4, want: "four bytes"},
		{name: "reserved bits", bytes: "\x41\x02\x00\x07", version: 4, want: "malformed"},
		{name: "a packet of clients", bytes: "\xc0\x00", version: 4, want: "type 12"},
		{name: "large, and no PUBLISH", bytes: "\x90\xff\xff\xff\x7f", version: 4, want: "268435455 bytes"},
		{name: "property that is none of its", bytes: "\x20\x05\x00\x00\x02\x01\x01", version: 5, want: "property"},
		{name: "topic beyond the end", bytes: "\x30\x03\x00\x09a", version: 4, want: "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pk, too, err := read([]byte(tt.bytes), tt.version, 100)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error about %q", err, tt.want)
				}
				return
			}
			if err != nil || too != nil || pk.FixedHeader.Type != tt.kind || pk.PacketID != tt.id || pk.TopicName != tt.topic || string(pk.Payload) != tt.payload {
				t.Errorf("got %+v, %v, %v", pk, too, err)
			}
		})
	}
}

// An end between packets tells from one inside.
func TestEndOfStream(t *testing.T) {
	if _, _, err := read(nil, 4, 0); !errors.Is(err, io.EOF) {
		t.Errorf("between packets: %v", err)
	}
}

// A PUBLISH beyond the bound is skipped, never read whole, and can be acknowledged.
func TestOversizedPublishIsSkipped(t *testing.T) {
	b, err := encode(nil, 4, &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 9,
		TopicName: "a/b", Payload: make([]byte, envelope+200)})
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, 0xd0, 0) // PINGRESP
	r := bufio.NewReader(bytes.NewReader(b))
	pk, too, err := readPacket(r, 4, 100)
	if err != nil || too == nil || too.topic != "a/b" || pk.PacketID != 9 || pk.Payload != nil {
		t.Fatalf("got %+v, %+v, %v", pk, too, err)
	}
	if pk, _, err = readPacket(r, 4, 100); err != nil || pk.FixedHeader.Type != packets.Pingresp {
		t.Errorf("after it: %+v, %v", pk, err)
	}
}

func FuzzReadPacket(f *testing.F) {
	for _, s := range []string{"\x20\x02\x01\x00", "\x20\x03\x00\x00\x00", "\x32\x08\x00\x01a\x00\x07\x00hi", "\x30\xff\xff\xff\x7f\x00\x01a", "\xe0\x02\x8e\x00"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, five bool) {
		version := byte(4)
		if five {
			version = 5
		}
		r := bufio.NewReader(bytes.NewReader(b))
		for range 100 {
			pk, too, err := readPacket(r, version, 100)
			if err != nil {
				return
			}
			if len(pk.Payload) > envelope+100 || too != nil && pk.Payload != nil {
				t.Fatalf("%d bytes of payload were read", len(pk.Payload))
			}
		}
	})
}
