package mqtt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// envelope is what a PUBLISH has besides its payload, at most: a topic and a
// response topic of full length and some properties. No other packet that a
// broker sends us needs more.
const envelope = 2*65535 + 4096

// oversized is a PUBLISH whose payload is beyond the bound: it has been skipped.
// 3.1.1 has no way to tell the broker a bound, and one that is never acknowledged
// would come again on each connection.
type oversized struct {
	topic string
	bytes int
}

// readPacket reads the next packet, of version 4 (3.1.1) or 5. MaxPayload bounds
// what is read of a PUBLISH; for a larger one too is not nil, and the packet has
// what is needed to acknowledge it.
func readPacket(r *bufio.Reader, version byte, maxPayload int) (pk packets.Packet, too *oversized, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return pk, nil, err
	}
	pk.ProtocolVersion = version
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, nil, fmt.Errorf("packet type 0x%02x: %w", first, err)
	}
	if pk.FixedHeader.Remaining, err = readLength(r); err != nil {
		return pk, nil, unexpectedEnd(err)
	}
	switch n := pk.FixedHeader.Remaining; {
	case n <= envelope:
	case pk.FixedHeader.Type != packets.Publish:
		return pk, nil, fmt.Errorf("packet of type %d with %d bytes", pk.FixedHeader.Type, n)
	case n > envelope+maxPayload:
		too, err = skip(r, &pk)
		return pk, too, unexpectedEnd(err)
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(r, body); err != nil {
		return pk, nil, unexpectedEnd(err)
	}
	return pk, nil, decode(&pk, body)
}

// readLength reads the remaining length, at most four bytes of seven bits.
func readLength(r io.ByteReader) (int, error) {
	n := 0
	for shift := 0; shift < 28; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n, nil
		}
	}
	return 0, errors.New("a packet's length has more than four bytes")
}

// skip reads the head of a PUBLISH and leaves out the rest.
func skip(r *bufio.Reader, pk *packets.Packet) (*oversized, error) {
	var short [2]byte
	if _, err := io.ReadFull(r, short[:]); err != nil {
		return nil, err
	}
	topic := make([]byte, binary.BigEndian.Uint16(short[:]))
	if _, err := io.ReadFull(r, topic); err != nil {
		return nil, err
	}
	left := pk.FixedHeader.Remaining - 2 - len(topic)
	if pk.FixedHeader.Qos > 0 {
		if _, err := io.ReadFull(r, short[:]); err != nil {
			return nil, err
		}
		pk.PacketID = binary.BigEndian.Uint16(short[:])
		left -= 2
	}
	_, err := io.CopyN(io.Discard, r, int64(left))
	return &oversized{string(topic), left}, err
}

// decode reads the packets that a broker sends.
func decode(pk *packets.Packet, body []byte) error {
	switch pk.FixedHeader.Type {
	case packets.Connack:
		return pk.ConnackDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback:
		return pk.PubackDecode(body)
	case packets.Pubrec:
		return pk.PubrecDecode(body)
	case packets.Pubcomp:
		return pk.PubcompDecode(body)
	case packets.Suback:
		return pk.SubackDecode(body)
	case packets.Unsuback:
		return pk.UnsubackDecode(body)
	case packets.Pingresp:
		return nil
	case packets.Disconnect:
		return pk.DisconnectDecode(body)
	}
	return fmt.Errorf("a broker sends no packets of type %d", pk.FixedHeader.Type)
}

// encode appends a packet's bytes to buf.
func encode(buf []byte, version byte, pk *packets.Packet) ([]byte, error) {
	pk.ProtocolVersion = version
	pk.Mods.AllowResponseInfo = true // a Response Topic is written
	b := bytes.NewBuffer(buf)
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connect:
		err = pk.ConnectEncode(b)
	case packets.Publish:
		err = pk.PublishEncode(b)
	case packets.Puback:
		err = pk.PubackEncode(b)
	case packets.Pubrel:
		pk.FixedHeader.Qos = 1 // the reserved bits of its header
		err = pk.PubrelEncode(b)
	case packets.Subscribe:
		pk.FixedHeader.Qos = 1
		err = pk.SubscribeEncode(b)
	case packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
		err = pk.UnsubscribeEncode(b)
	case packets.Pingreq:
		err = pk.PingreqEncode(b)
	case packets.Disconnect:
		err = pk.DisconnectEncode(b)
	default:
		err = fmt.Errorf("packets of type %d are not sent", pk.FixedHeader.Type)
	}
	if err != nil {
		return buf, err
	}
	return b.Bytes(), nil
}

// unexpectedEnd makes an end of file inside a packet tell from one between packets.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
